"""Instants as the report shows them: in Seoul, to the minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

# Korea has had no daylight saving time since 1988.
_SEOUL = timezone(timedelta(hours=9), "KST")


def write_instant(at: datetime) -> str:
    """Return `2025-03-13 16:02 KST`; an instant without a zone is taken for UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return aware.astimezone(_SEOUL).strftime("%Y-%m-%d %H:%M KST")


def show_instant(text: str) -> str:
    """Return an ISO 8601 instant likewise; a day alone, and what is no instant, as it is."""
    try:
        at = datetime.fromisoformat(text)
        return write_instant(at) if at.tzinfo else text
    except (ValueError, OverflowError):
        return text
