"""Figures → the geometry of small charts: bars for amounts, lines for ratios; pure numbers, no markup.

Axes always hold zero, so negative values lie below a visible line and bars are never cut. Labels are
rounded to the chart's unit, three digits at most; they never show more digits than the value has.
A chart draws years where there are any, quarters otherwise: the two are not comparable side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from rkyc.report.amounts import to_decimal
from rkyc.report.figures import RatioName, list_periods, ratio_values
from rkyc.report.labels import Labels
from rkyc.report.types import FigureSeries

WIDTH, HEIGHT = 340, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 18, 28
_TICKS_MAX = 4
_PERIOD_LABELS_MAX = 6
_VALUE_LABELS_MAX = 6
_AMOUNTS = ("revenue", "operating_income", "net_income")
_BALANCE = ("assets", "liabilities", "equity")

Point = tuple[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class Unit:
    name: str
    divisor: Decimal

    def show(self, value: Decimal) -> str:
        """Return the value in this unit, at most three significant digits after rounding."""
        scaled = value / self.divisor
        places = max(0, 2 - scaled.adjusted()) if scaled else 0
        rounded = scaled.quantize(Decimal(1).scaleb(-min(places, 4)))
        text = f"{rounded:,f}" if rounded else "0"
        return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Shape:
    """A bar or a point: `kind` picks its colour, `text` is its tool tip."""

    x: float
    y: float
    width: float
    height: float
    kind: int
    text: str


@dataclass(frozen=True, slots=True)
class Caption:
    """A value written in the chart, centred on x, its base line at y."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Coordinates in a WIDTH × HEIGHT box; `legend` names the kinds when there are several."""

    anchor: str
    title: str
    unit: str
    description: str
    ticks: tuple[tuple[float, str, bool], ...]
    period_labels: tuple[tuple[float, str], ...]
    bars: tuple[Shape, ...]
    dots: tuple[Shape, ...]
    lines: tuple[str, ...]
    value_labels: tuple[Caption, ...]
    legend: tuple[str, ...]


def build_charts(figures: tuple[FigureSeries, ...], labels: Labels) -> tuple[Chart, ...]:
    """Return the charts that the figures allow; none is drawn without a value."""
    periods = _chart_periods(figures)
    by_concept = {series.concept: series for series in figures}
    charts = [
        _bar_chart(concept, labels.value("concept", concept), [by_concept[concept]], periods, labels)
        for concept in _AMOUNTS
        if concept in by_concept
    ]
    balance = [by_concept[concept] for concept in _BALANCE if concept in by_concept]
    if balance:
        charts.append(_bar_chart("balance", labels.text("balance"), balance, periods, labels))
    names: tuple[RatioName, ...] = ("debt_ratio", "current_ratio")
    charts += [_line_chart(name, ratio_values(figures, name), periods, labels) for name in names]
    return tuple(chart for chart in charts if chart is not None)


def pick_unit(currency: str, largest: Decimal, labels: Labels) -> Unit:
    """Choose the unit of a currency's charts from its largest amount."""
    if currency == "KRW":
        return _pick_won(largest, labels)
    if largest >= 10**6:
        name = "$M" if currency == "USD" else f"{currency} M".strip()
        return Unit(name, Decimal(10**6))
    return Unit("$" if currency == "USD" else currency, Decimal(1))


def _pick_won(largest: Decimal, labels: Labels) -> Unit:
    is_korean = labels.lang == "ko"
    if largest >= 10**9:
        return Unit("억원" if is_korean else "KRW 100M", Decimal(10**8))
    if largest >= 10**6:
        return Unit("백만원" if is_korean else "KRW M", Decimal(10**6))
    return Unit("원" if is_korean else "KRW", Decimal(1))


def _chart_periods(figures: tuple[FigureSeries, ...]) -> tuple[str, ...]:
    periods = list_periods(figures)
    return tuple(one for one in periods if one.startswith("FY")) or periods


def _points(series: FigureSeries, periods: Sequence[str]) -> list[Point]:
    texts = dict(series.points)
    return [(period, to_decimal(texts[period]) if period in texts else None) for period in periods]


def _bar_chart(
    name: str, title: str, group: list[FigureSeries], periods: tuple[str, ...], labels: Labels
) -> Chart | None:
    rows = [_points(series, periods) for series in group]
    values = [value for row in rows for _, value in row if value is not None]
    # Amounts in several currencies have no common axis.
    if not values or len({series.currency for series in group}) > 1:
        return None
    unit = pick_unit(group[0].currency, max(abs(value) for value in values), labels)
    names = [labels.value("concept", series.concept) for series in group]
    scale = _Scale(values)
    return Chart(
        anchor=f"chart-{name.replace('_', '-')}",
        title=title,
        unit=unit.name,
        description=_describe(rows, names, unit, labels),
        ticks=scale.ticks(unit),
        period_labels=_period_labels(periods),
        bars=_draw_bars(rows, names, unit, scale),
        dots=(),
        lines=(),
        value_labels=_label_bars(rows[0], unit, scale) if len(rows) == 1 else (),
        legend=tuple(names) if len(names) > 1 else (),
    )


def _line_chart(
    name: RatioName, values: dict[str, Decimal | None], periods: tuple[str, ...], labels: Labels
) -> Chart | None:
    row: list[Point] = [(period, values.get(period)) for period in periods]
    drawn = [value for _, value in row if value is not None]
    if not drawn:
        return None
    unit, title, scale = Unit("%", Decimal(1)), labels.text(name), _Scale(drawn)
    dots = [_dot(index, point, len(row), unit, scale) for index, point in enumerate(row)]
    return Chart(
        anchor=f"chart-{name.replace('_', '-')}",
        title=title,
        unit=unit.name,
        description=_describe([row], [title], unit, labels),
        ticks=scale.ticks(unit),
        period_labels=_period_labels(periods),
        bars=(),
        dots=tuple(dot for dot in dots if dot is not None),
        lines=_segments(dots),
        value_labels=_label_bars(row, unit, scale, gap=8),
        legend=(),
    )


class _Scale:
    """Maps values to y; its ends are round numbers and enclose zero."""

    def __init__(self, values: Sequence[Decimal]) -> None:
        low, high = min(Decimal(0), *values), max(Decimal(0), *values)
        if low == high:
            high = Decimal(1)
        self._step = _round_step((high - low) / _TICKS_MAX)
        self._first = (low / self._step).to_integral_value(ROUND_FLOOR)
        self._last = (high / self._step).to_integral_value(ROUND_CEILING)

    def y(self, value: Decimal) -> float:
        share = (value / self._step - self._first) / (self._last - self._first)
        return round(HEIGHT - _BOTTOM - float(share) * (HEIGHT - _TOP - _BOTTOM), 1)

    def ticks(self, unit: Unit) -> tuple[tuple[float, str, bool], ...]:
        """Return (y, label, is the zero line) from the lowest to the highest."""
        values = [self._step * index for index in range(int(self._first), int(self._last) + 1)]
        return tuple((self.y(value), unit.show(value), value == 0) for value in values)


def _round_step(step: Decimal) -> Decimal:
    power = Decimal(1).scaleb(step.adjusted())
    return next(power * one for one in (1, 2, 5, 10) if power * one >= step)


def _centre(index: int, count: int) -> float:
    return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * (index + 0.5) / count, 1)


def _draw_bars(rows: list[list[Point]], names: list[str], unit: Unit, scale: _Scale) -> tuple[Shape, ...]:
    count = len(rows[0])
    width = min((WIDTH - _LEFT - _RIGHT) / count * 0.72 / len(rows), 44.0)
    bars = []
    for kind, row in enumerate(rows):
        for index, (period, value) in enumerate(row):
            if value is None:
                continue
            left = _centre(index, count) + width * (kind - len(rows) / 2)
            top, bottom = sorted((scale.y(value), scale.y(Decimal(0))))
            # A bar of no height still shows where its value lies.
            height = max(round(bottom - top, 1), 0.8)
            text = f"{period} {names[kind]}: {unit.show(value)} {unit.name}"
            bars.append(Shape(round(left, 1), top, round(width * 0.92, 1), height, kind, text))
    return tuple(bars)


def _label_bars(row: Sequence[Point], unit: Unit, scale: _Scale, gap: int = 4) -> tuple[Caption, ...]:
    """Write each value above its bar or dot, below it where negative; nothing where they would touch."""
    if len(row) > _VALUE_LABELS_MAX:
        return ()
    return tuple(
        Caption(
            _centre(index, len(row)),
            round(scale.y(value) + (-gap if value >= 0 else gap + 9), 1),
            unit.show(value),
        )
        for index, (_, value) in enumerate(row)
        if value is not None
    )


def _dot(index: int, point: Point, count: int, unit: Unit, scale: _Scale) -> Shape | None:
    period, value = point
    if value is None:
        return None
    text = f"{period}: {unit.show(value)} {unit.name}"
    return Shape(_centre(index, count), scale.y(value), 0, 0, 0, text)


def _segments(dots: Sequence[Shape | None]) -> tuple[str, ...]:
    """Return one polyline per run of known values: a gap in the data is a gap in the line."""
    runs: list[list[str]] = [[]]
    for dot in dots:
        if dot is None:
            runs.append([])
        else:
            runs[-1].append(f"{dot.x},{dot.y}")
    return tuple(" ".join(run) for run in runs if len(run) > 1)


def _period_labels(periods: Sequence[str]) -> tuple[tuple[float, str], ...]:
    every = -(-len(periods) // _PERIOD_LABELS_MAX)
    return tuple(
        (_centre(index, len(periods)), period)
        for index, period in enumerate(periods)
        if (len(periods) - 1 - index) % every == 0
    )


def _describe(rows: list[list[Point]], names: list[str], unit: Unit, labels: Labels) -> str:
    parts: list[Any] = []
    for name, row in zip(names, rows, strict=True):
        shown = (
            f"{period} {labels.text('no_value') if value is None else unit.show(value)}"
            for period, value in row
        )
        parts.append(f"{name} ({unit.name}): {', '.join(shown)}")
    return "; ".join(parts) + "."
