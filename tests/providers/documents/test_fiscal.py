"""Fiscal years and quarters of dates and spans."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.providers.documents.fiscal import FiscalCalendar, Span, calendar_of

_DECEMBER = FiscalCalendar(2024, date(2024, 12, 31), is_stated=True)
_JANUARY = FiscalCalendar(2023, date(2024, 2, 3), is_stated=True)  # A retailer's 53 weeks.


def _span(text: str) -> Span:
    start, _, end = text.rpartition("/")
    return Span(date.fromisoformat(start) if start else None, date.fromisoformat(end))


@pytest.mark.parametrize(
    ("calendar", "span", "place"),
    [
        (_DECEMBER, "2024-01-01/2024-12-31", (2024, "FY")),
        (_DECEMBER, "2022-01-01/2022-12-31", (2022, "FY")),
        (_DECEMBER, "2024-12-31", (2024, "FY")),
        (_DECEMBER, "2023-12-31", (2023, "FY")),
        (_DECEMBER, "2024-03-31", (2024, "Q1")),
        (_DECEMBER, "2024-01-01/2024-03-31", (2024, "Q1")),
        (_DECEMBER, "2024-04-01/2024-06-30", (2024, "Q2")),
        (_DECEMBER, "2025-07-01/2025-09-30", (2025, "Q3")),
        (_DECEMBER, "2023-10-01/2023-12-31", (2023, "Q4")),
        (_DECEMBER, "2024-01-01/2024-06-30", None),
        (_DECEMBER, "2024-01-01/2024-09-30", None),
        (_DECEMBER, "2022-01-01/2024-12-31", None),
        (_DECEMBER, "2024-08-15", None),
        (_DECEMBER, "2025-02-28", None),
        (_JANUARY, "2023-01-29/2024-02-03", (2023, "FY")),
        (_JANUARY, "2022-01-30/2023-01-28", (2022, "FY")),
        (_JANUARY, "2023-01-28", (2022, "FY")),
        (_JANUARY, "2023-01-29/2023-04-29", (2023, "Q1")),
        (_JANUARY, "2024-02-04/2024-05-04", (2024, "Q1")),
    ],
)
def test_places(calendar: FiscalCalendar, span: str, place: tuple[int, str] | None) -> None:
    assert calendar.place(_span(span)) == place


@given(year_end=st.dates(date(2000, 1, 1), date(2050, 12, 31)), years=st.integers(-10, 10))
def test_each_anniversary_of_a_year_end_is_a_year_end(year_end: date, years: int) -> None:
    calendar = FiscalCalendar(year_end.year, year_end, is_stated=True)
    end = year_end + timedelta(days=round(years * 365.2425))
    assert calendar.place(Span(None, end)) == (year_end.year + years, "FY")
    assert calendar.place(Span(end - timedelta(days=364), end)) == (year_end.year + years, "FY")


@pytest.mark.parametrize(
    ("period", "period_end", "year_end"),
    [
        ("FY", "2024-12-31", date(2024, 12, 31)),
        ("Q1", "2024-03-31", date(2024, 12, 30)),
        ("Q3", "2024-09-30", date(2024, 12, 30)),
    ],
)
def test_calendar_is_what_the_filing_states(period: str, period_end: str, year_end: date) -> None:
    stated = {
        "DocumentFiscalYearFocus": "2024",
        "DocumentFiscalPeriodFocus": period,
        "DocumentPeriodEndDate": period_end,
    }
    calendar = calendar_of(stated, [])
    assert calendar is not None
    assert calendar.year == 2024
    assert abs(calendar.year_end - year_end) <= timedelta(days=1)
    assert calendar.is_stated


def test_calendar_falls_back_to_the_latest_full_year() -> None:
    spans = [_span("2022-01-01/2022-12-31"), _span("2023-01-01/2023-12-31"), _span("2024-01-01/2024-03-31")]
    assert calendar_of({}, spans) == FiscalCalendar(2023, date(2023, 12, 31), is_stated=False)
    assert calendar_of({}, spans[2:]) is None
