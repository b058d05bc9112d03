"""Figures → a table of exact values with an id per cell, and the ratios calculated from them.

The table shows the digits that were supplied, only grouped in thousands. Ratios are calculated here
from exact decimals and shown to one place; where the divisor is zero or negative they say so instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rkyc.report.amounts import group_digits, read_money, to_decimal
from rkyc.report.labels import Labels
from rkyc.report.types import FigureSeries

_RATIO_PLACE = Decimal("0.1")

RatioName = Literal["debt_ratio", "current_ratio"]
_RATIOS: dict[RatioName, tuple[str, str]] = {
    "debt_ratio": ("liabilities", "equity"),
    "current_ratio": ("current_assets", "current_liabilities"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """`anchor` is the cell's id; `pointer` the place in the snapshot that it shows, None for a ratio.

    `reading` is the amount rounded to its unit, to be shown beside the exact text.
    """

    text: str
    anchor: str
    pointer: str | None
    is_negative: bool = False
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    currency: str
    cells: tuple[Cell, ...]
    is_calculated: bool = False


@dataclass(frozen=True, slots=True)
class FigureTable:
    """`rows` hold one cell per period, in the order of `periods`."""

    periods: tuple[str, ...]
    rows: tuple[Row, ...]

    def anchors(self) -> dict[str, str]:
        """Return the cell id of each snapshot pointer that the table shows."""
        cells = [cell for row in self.rows for cell in row.cells if cell.pointer and cell.text]
        return {str(cell.pointer): cell.anchor for cell in cells}

    def columns(self) -> dict[str, str]:
        """Return the id of each period's column head, by the pointer of the period."""
        return {
            f"/statements/{period}": f"period-{place}" for place, period in enumerate(self.periods, start=1)
        }


def build_table(figures: tuple[FigureSeries, ...], labels: Labels) -> FigureTable:
    """Lay the series out by period; rows in the order they come, the calculated ratios last."""
    periods = list_periods(figures)
    rows = [_value_row(index, series, periods, labels) for index, series in enumerate(figures)]
    for name in _RATIOS:
        values = ratio_values(figures, name)
        if values:
            rows.append(_ratio_row(name, values, periods, labels))
    return FigureTable(periods, tuple(rows))


def list_periods(figures: Iterable[FigureSeries]) -> tuple[str, ...]:
    """Return every period of the series, oldest first; a year stands after its quarters."""
    seen = dict.fromkeys(period for series in figures for period, _ in series.points)
    return tuple(sorted(seen, key=_period_key))


def ratio_values(figures: tuple[FigureSeries, ...], name: RatioName) -> dict[str, Decimal | None]:
    """Return period → per cent, None where the divisor is not positive; only periods that have both parts."""
    above, below = (_values(figures, concept) for concept in _RATIOS[name])
    return {
        period: (above[period] / below[period] * 100 if below[period] > 0 else None)
        for period in above
        if period in below
    }


def _values(figures: tuple[FigureSeries, ...], concept: str) -> dict[str, Decimal]:
    series = next((one for one in figures if one.concept == concept), None)
    points = ((period, to_decimal(text)) for period, text in series.points) if series else ()
    return {period: value for period, value in points if value is not None}


def _value_row(index: int, series: FigureSeries, periods: tuple[str, ...], labels: Labels) -> Row:
    points = dict(series.points)
    cells = tuple(
        Cell(
            text=group_digits(points.get(period, "")),
            anchor=f"figure-{index + 1}-{place + 1}",
            pointer=f"/statements/{period}/{series.concept}",
            is_negative=points.get(period, "").startswith("-"),
            reading=read_money(points.get(period, ""), series.currency, labels),
        )
        for place, period in enumerate(periods)
    )
    return Row(series.label or labels.value("concept", series.concept), series.currency, cells)


def _ratio_row(
    name: RatioName, values: dict[str, Decimal | None], periods: tuple[str, ...], labels: Labels
) -> Row:
    cells = tuple(
        Cell(_ratio_text(period, values, labels), f"{name.replace('_', '-')}-{place + 1}", None)
        for place, period in enumerate(periods)
    )
    return Row(labels.text(name), "%", cells, is_calculated=True)


def _ratio_text(period: str, values: dict[str, Decimal | None], labels: Labels) -> str:
    if period not in values:
        return ""
    value = values[period]
    return labels.text("not_meaningful") if value is None else f"{value.quantize(_RATIO_PLACE):,f}"


def _period_key(period: str) -> tuple[str, str]:
    year = "".join(char for char in period if char.isdigit())[:4]
    quarter = period[-2:] if period[-2:-1] == "Q" else "Z"
    return year, quarter
