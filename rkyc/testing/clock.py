"""A clock that jumps: the database's time plus an offset that only grows.

The engine takes every instant that decides something from its `DatabaseClock`; given this one, a
week of sleep and the pauses between attempts pass at once. What a body awaits by itself
(`asyncio.sleep`) takes its real time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rkyc.engine.clock import DatabaseClock


class VirtualClock(DatabaseClock):
    """The database's clock, set forward by `offset_s` seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.offset_s = 0.0

    def set(self, now: datetime) -> None:
        """Take in an answer of `clock_timestamp()`, just received."""
        super().set(now + timedelta(seconds=self.offset_s))

    def advance(self, seconds: float) -> None:
        """Set the clock forward.

        Raises:
            ValueError: backwards.
        """
        if seconds < 0:
            raise ValueError(f"a clock can't be set back by {-seconds:g} s: advance it, or take a new kit")
        self.offset_s += seconds
        self._epoch += seconds

    def advance_to(self, instant: datetime) -> None:
        """Set the clock forward to an instant; one that has passed changes nothing."""
        self.advance(max(0.0, (instant - self.now()).total_seconds()))
