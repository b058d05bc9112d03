"""A clock that stands where a test puts it."""

from __future__ import annotations

import datetime as dt

from rkyc.engine.clock import DatabaseClock


class FixedClock(DatabaseClock):
    """Tells the instant `at`."""

    def __init__(self, at: dt.datetime) -> None:
        super().__init__()
        self.at = at

    def now(self) -> dt.datetime:
        return self.at

    def seconds(self) -> float:
        return self.at.timestamp()
