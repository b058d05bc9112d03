"""Figures keep their digits in the table, and charts draw what is there."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rkyc.report.amounts import group_digits
from rkyc.report.charts import HEIGHT, WIDTH, Chart, build_charts, pick_unit
from rkyc.report.figures import build_table, list_periods
from rkyc.report.labels import Labels
from rkyc.report.types import FigureSeries
from tests.support.report_sample import sample_figures

KO, EN = Labels("ko"), Labels("en")


def series(concept: str, *values: str, currency: str = "KRW") -> FigureSeries:
    points = tuple((f"FY{2020 + index}", value) for index, value in enumerate(values))
    return FigureSeries(concept, "", currency, points)


def chart_of(*figures: FigureSeries, anchor: str) -> Chart:
    return next(one for one in build_charts(figures, KO) if one.anchor == anchor)


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("1234567.50", "1,234,567.50"),
        ("-1000", "-1,000"),
        ("0", "0"),
        ("1E+9", "1,000,000,000"),
        ("n/a", "n/a"),
    ],
)
def test_table_groups_digits_and_changes_none(given_text: str, shown: str) -> None:
    assert group_digits(given_text) == shown


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_grouping_keeps_the_exact_number(value: Decimal) -> None:
    assert Decimal(group_digits(str(value)).replace(",", "")) == value


@pytest.mark.parametrize("text", ["1e400", "NaN", "Infinity", "-", ""])
def test_what_cannot_be_drawn_is_shown_but_not_drawn(text: str) -> None:
    figures = (series("revenue", text, "5"),)
    assert build_table(figures, KO).rows[0].cells[0].text == text
    assert len(chart_of(*figures, anchor="chart-revenue").bars) == 1


def test_every_statement_pointer_has_a_cell() -> None:
    anchors = build_table(sample_figures(), KO).anchors()
    assert len(set(anchors.values())) == len(anchors) == 36
    assert "/statements/FY2024/liabilities" in anchors


def test_missing_figure_has_no_cell_to_link_to() -> None:
    figures = (series("revenue", "1", "2"), FigureSeries("equity", "", "KRW", (("FY2021", "3"),)))
    assert "/statements/FY2020/equity" not in build_table(figures, KO).anchors()


def test_ratios_are_calculated_from_exact_figures() -> None:
    rows = {row.label: [cell.text for cell in row.cells] for row in build_table(sample_figures(), KO).rows}
    assert rows["부채비율"] == ["161.8", "176.4", "218.0", "382.7"]
    assert rows["유동비율"] == ["121.7", "110.8", "88.6", "63.4"]


def test_ratio_over_negative_equity_is_not_meaningful() -> None:
    figures = (series("liabilities", "10", "10"), series("equity", "5", "-1"))
    ratio = build_table(figures, EN).rows[-1]
    assert [cell.text for cell in ratio.cells] == ["200.0", "n/m"]
    assert len(chart_of(*figures, anchor="chart-debt-ratio").dots) == 1


def test_periods_are_ordered_with_the_year_after_its_quarters() -> None:
    figures = (
        FigureSeries(
            "revenue", "", "KRW", (("FY2021", "1"), ("2021Q2", "1"), ("2021Q1", "1"), ("FY2020", "1"))
        ),
    )
    assert list_periods(figures) == ("FY2020", "2021Q1", "2021Q2", "FY2021")


def test_charts_draw_years_and_leave_quarters_to_the_table() -> None:
    figures = (FigureSeries("revenue", "", "KRW", (("FY2020", "1"), ("2021Q1", "9"))),)
    assert [label for _, label in chart_of(*figures, anchor="chart-revenue").period_labels] == ["FY2020"]


def test_negative_bar_lies_below_the_zero_line() -> None:
    chart = chart_of(series("net_income", "400", "-300"), anchor="chart-net-income")
    (zero,) = [y for y, _, is_zero in chart.ticks if is_zero]
    above, below = chart.bars
    assert above.y + above.height == pytest.approx(zero, abs=0.2)
    assert below.y == pytest.approx(zero, abs=0.2)
    assert below.height > 0


amounts = st.lists(st.one_of(st.none(), st.integers(-(10**16), 10**16)), min_size=1, max_size=12)


@settings(deadline=None)
@given(amounts)
def test_everything_drawn_lies_inside_the_chart(values: list[int | None]) -> None:
    points = tuple(
        (f"FY{2000 + index}", str(value)) for index, value in enumerate(values) if value is not None
    )
    for chart in build_charts((FigureSeries("revenue", "", "KRW", points),), KO):
        for bar in chart.bars:
            assert bar.x >= 0
            assert bar.x + bar.width <= WIDTH
            assert 0 <= bar.y <= bar.y + bar.height <= HEIGHT
        assert len({y for y, _, _ in chart.ticks}) == len(chart.ticks) <= 8


def test_all_six_charts_are_drawn_from_full_figures() -> None:
    assert [chart.anchor for chart in build_charts(sample_figures(), KO)] == [
        "chart-revenue",
        "chart-operating-income",
        "chart-net-income",
        "chart-balance",
        "chart-debt-ratio",
        "chart-current-ratio",
    ]


def test_no_chart_without_figures() -> None:
    assert build_charts((), KO) == ()


def test_amounts_in_two_currencies_share_no_axis() -> None:
    figures = (series("assets", "1"), series("equity", "1", currency="USD"))
    assert build_charts(figures, KO) == ()


@pytest.mark.parametrize(
    ("currency", "largest", "name"),
    [
        ("KRW", 10**12, "억원"),
        ("KRW", 10**8, "백만원"),
        ("KRW", 900, "원"),
        ("USD", 10**9, "$M"),
        ("USD", 5, "$"),
        ("EUR", 10**7, "EUR M"),
    ],
)
def test_unit_follows_currency_and_size(currency: str, largest: int, name: str) -> None:
    assert pick_unit(currency, Decimal(largest), KO).name == name


@pytest.mark.parametrize(
    ("amount", "label"),
    [("61250000000", "612"), ("1200000000", "12"), ("-4100000000", "-41"), ("4000000", "0.04"), ("-1", "0")],
)
def test_chart_labels_never_show_more_than_the_value_has(amount: str, label: str) -> None:
    assert pick_unit("KRW", Decimal(10**10), KO).show(Decimal(amount)) == label


def test_description_names_missing_values() -> None:
    figures = (
        series("assets", "1000000000", "2000000000"),
        FigureSeries("equity", "", "KRW", (("FY2021", "5"),)),
    )
    assert "FY2020 값 없음" in chart_of(*figures, anchor="chart-balance").description
