"""The database's time in this process: measured with every beat, carried on by the monotonic clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """Tells the database's time without asking it."""

    def __init__(self) -> None:
        self._at = datetime.now(UTC)
        self._mark = time.monotonic()

    def set(self, now: datetime) -> None:
        """Take in an answer of `clock_timestamp()`, just received."""
        self._at = now
        self._mark = time.monotonic()

    def now(self) -> datetime:
        """Return the database's time, aware, in UTC."""
        return self._at + timedelta(seconds=time.monotonic() - self._mark)
