"""Removes jobs that were kept long enough after their end, a bounded number at a time, oldest first.

Every process does a page now and then, from a cursor of its own; what one holds the others pass over. A job that
is live has no history, and what has none is never touched.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from rkyc.engine.clock import DatabaseClock
from rkyc.store.connections import OwnConnection
from rkyc.store.pool import Pool
from rkyc.store.queue import retention
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)
# Ends of one look, and jobs of one transaction.
PAGE_ROWS = 1000
GROUP_ROWS = 200
# Between two pages, and between two walks over all ends. Seconds.
PAGE_PAUSE_S = 0.2
WALK_PAUSE_S = 900.0
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_NEXT = timedelta(microseconds=1)


class Retire:
    """The retention of one worker; `default_days` for pipelines that declare none, None keeps theirs for ever."""

    def __init__(self, *, pool: Pool, clock: DatabaseClock, default_days: float | None) -> None:
        self._pool = pool
        self._clock = clock
        self._default_days = default_days
        self._after = _BEGINNING

    async def run_once(self) -> float:
        """Remove what is over in one page; return the seconds until the next one."""
        now = self._clock.now()
        async with self._pool.connection() as conn:
            days = await retention.find_shortest(conn, self._default_days)
            if days is None:
                return WALK_PAUSE_S
            page = await retention.find_ended_jobs(
                conn,
                after=self._after,
                before=now - timedelta(days=days),
                now=now,
                default_days=self._default_days,
                limit=PAGE_ROWS,
            )
        over = [row["job_id"] for row in page if row["is_over"]]
        if over and (deleted := await self._delete(over)):
            _log.info(events.JOBS_RETIRED, jobs=deleted)
        if len(page) < PAGE_ROWS:
            self._after = _BEGINNING
            return WALK_PAUSE_S * random.uniform(0.5, 1.0)
        # Those that stay lie behind the cursor until the next walk.
        last: datetime = page[-1]["finished_at"]
        self._after = last if last > self._after else last + _NEXT
        return PAGE_PAUSE_S

    async def _delete(self, job_ids: list[int]) -> int:
        # A connection that plans by indexes: the plan of a lent one may be from a time when the tables were empty.
        own = OwnConnection(self._pool, application_name="rkyc retention")
        deleted = 0
        try:
            for start in range(0, len(job_ids), GROUP_ROWS):
                async with own.connection() as conn, conn.transaction():
                    deleted += await retention.delete_jobs(conn, job_ids[start : start + GROUP_ROWS])
        finally:
            await own.close()
        return deleted
