"""Which fiscal year and quarter a date or a span of days is.

Fiscal years end when the company says, and those of 52 or 53 weeks end on another date each year: days
are compared with a tolerance of half a month, well below the half quarter that would be ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

_YEAR_DAYS = 365.2425
_QUARTER_DAYS = _YEAR_DAYS / 4
_TOLERANCE_DAYS = 15
_FULL_YEAR = range(350, 381)  # 52 and 53 weeks, and years cut by a changed calendar day.
_QUARTER = range(80, 101)  # 12 to 14 weeks.


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, both days included; a balance-sheet date has no start."""

    start: date | None
    end: date

    @property
    def days(self) -> int | None:
        """Length in days, None for a date."""
        return None if self.start is None else (self.end - self.start).days + 1


@dataclass(frozen=True, slots=True)
class FiscalCalendar:
    """Fiscal year `year` ends on `year_end`; `is_stated` if the filing says so."""

    year: int
    year_end: date
    is_stated: bool

    def place(self, span: Span) -> tuple[int, str] | None:
        """Return fiscal year and FY or Q1-Q4, None for any other span (year to date, several years)."""
        years = round((span.end - self.year_end).days / _YEAR_DAYS)
        past_end = (span.end - self.year_end).days - years * _YEAR_DAYS
        if abs(past_end) <= _TOLERANCE_DAYS:
            if span.days is None or span.days in _FULL_YEAR:
                return (self.year + years, "FY")
            return (self.year + years, "Q4") if span.days in _QUARTER else None
        fiscal_year = self.year + years + (past_end > 0)
        days_in = past_end if past_end > 0 else past_end + _YEAR_DAYS
        quarter = round(days_in / _QUARTER_DAYS)
        if quarter not in (1, 2, 3) or abs(days_in - quarter * _QUARTER_DAYS) > _TOLERANCE_DAYS:
            return None
        return (fiscal_year, f"Q{quarter}") if span.days is None or span.days in _QUARTER else None


def calendar_of(stated: Mapping[str, str], spans: Iterable[Span]) -> FiscalCalendar | None:
    """Build the calendar from what the filing states, else from its latest full year; None without both.

    `stated` holds the DEI elements DocumentFiscalYearFocus, DocumentFiscalPeriodFocus and
    DocumentPeriodEndDate, as far as they are there.
    """
    focus = stated.get("DocumentFiscalPeriodFocus", "FY")
    quarters_left = {"Q1": 3, "Q2": 2, "Q3": 1}.get(focus, 0)
    try:
        year = int(stated["DocumentFiscalYearFocus"])
        period_end = date.fromisoformat(stated["DocumentPeriodEndDate"][:10])
    except (KeyError, ValueError):
        ends = [span.end for span in spans if span.days in _FULL_YEAR]
        return FiscalCalendar(max(ends).year, max(ends), is_stated=False) if ends else None
    year_end = period_end + timedelta(days=round(quarters_left * _QUARTER_DAYS))
    return FiscalCalendar(year, year_end, is_stated=True)
