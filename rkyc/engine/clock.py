"""The database's time in this process: measured with every beat, carried on by the monotonic clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class DatabaseClock:
    """Tells the database's time without asking it."""

    def __init__(self) -> None:
        # Seconds from the start of the monotonic clock to the epoch.
        self._epoch = time.time() - time.monotonic()

    def set(self, now: datetime) -> None:
        """Take in an answer of `clock_timestamp()`, just received."""
        self._epoch = now.timestamp() - time.monotonic()

    def now(self) -> datetime:
        """Return the database's time, aware, in UTC."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def seconds(self) -> float:
        """Return the database's time in seconds since the epoch: a fifth of the cost, exact to a microsecond."""
        return self._epoch + time.monotonic()
