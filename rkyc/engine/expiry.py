"""Ends the jobs whose task has waited too long to start: the lane's TTL, or the step's schedule-to-start.

Expired is not failed: the job ends with the code TTL_EXPIRED and leaves a dead letter with the reason
ttl_expired, which the lane's policy may start again. What its steps did is undone first. Every process looks at all
lanes, also at those that it does not serve: when the workers of one lane are gone, the others end what nobody will start.

What counts is every wait that more capacity would end: in `ready`, for the turn of a fairness key, for a worker that
serves the version, for a place of a limit. What does not: what a body asked for (a sleep, a signal, a child), what a
person holds back (a paused job, a spent budget), the order that a map or a schedule asked for, and suspects, which have
been started and are judged by their crashes. Nor the time of a start by a rate: it is reserved, and those behind it would
not get it back. Each wait counts by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.deadlines import expire_job
from rkyc.engine.endings import Letter
from rkyc.engine.notices import Notices
from rkyc.errors import DatabaseConnectionError
from rkyc.flow.lane import TTL_EXPIRED
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import commits, expiry, jobs
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)
# Tasks of one look at a lane.
PAGE_ROWS = 500
# A limit is seen to be passed within a twentieth of itself, or in this time. Seconds.
LIMIT_SHARE = 20.0
PAUSE_S_MIN = 0.05
# Marks are kept for the longest limit, and so much longer. Seconds.
KEPT_S = 3600.0
# Before all waits.
FIRST_WAIT: expiry.WaitPlace = (datetime(1970, 1, 1, tzinfo=UTC), 0, 0)

# (conn, a task of a look, its lane) -> whether it is locked, and waits as it did then.
_Lock: TypeAlias = Callable[[Connection, Record, str], Awaitable[bool]]


class Expiry:
    """Looks for tasks beyond their limits. `has_looked` is set after the first look."""

    def __init__(
        self, *, pool: Pool, clock: DatabaseClock, notices: Notices, metrics: Metrics, interval_s: float
    ) -> None:
        self.has_looked = asyncio.Event()
        self._pool = pool
        self._clock = clock
        self._notices = notices
        self._metrics = metrics
        self._interval_s = interval_s
        # Lane -> behind what the next look begins.
        self._after_task: dict[str, int] = {}
        self._after_wait: dict[str, expiry.WaitPlace] = {}

    async def run_once(self) -> float:
        """Look at all lanes once; return the seconds until the next look."""
        now = self._clock.now()
        async with self._pool.connection() as conn:
            lanes = await expiry.find_limited_lanes(conn)
            if not lanes:
                self.has_looked.set()
                return self._interval_s
            pause_s = min(lane["seconds"] for lane in lanes) / LIMIT_SHARE
            pause_s = min(self._interval_s, max(PAUSE_S_MIN, pause_s))
            await expiry.write_mark(conn, now=now, every_s=pause_s / 2)
            longest_s = max(lane["longest_s"] for lane in lanes)
            await expiry.drop_marks(conn, now - timedelta(seconds=2 * longest_s + KEPT_S))
        has_more = [
            await look(lane, now) for lane in lanes for look in (self._look_at_ready, self._look_at_waits)
        ]
        self.has_looked.set()
        return 0.0 if any(has_more) else pause_s

    async def _look_at_ready(self, lane: Record, now: datetime) -> bool:
        """End what is beyond its limit in one page of a lane's ready tasks; True: there is more of it at once."""
        name = lane["lane"]
        async with self._pool.connection() as conn:
            page = await expiry.find_stale_tasks(
                conn, lane=name, after=self._after_task.get(name, 0), limit=PAGE_ROWS, now=now
            )
        goes_on, has_more = await self._end_stale(page, lane, now, _lock_ready)
        self._after_task[name] = page[-1]["seq"] if goes_on else 0
        return has_more

    async def _look_at_waits(self, lane: Record, now: datetime) -> bool:
        """The same of those that wait for capacity elsewhere."""
        name = lane["lane"]
        async with self._pool.connection() as conn:
            page = await expiry.find_stale_waits(
                conn,
                lane=name,
                seconds=lane["seconds"],
                after=self._after_wait.get(name, FIRST_WAIT),
                limit=PAGE_ROWS,
                now=now,
            )
        goes_on, has_more = await self._end_stale(page, lane, now, _lock_wait)
        last = page[-1] if goes_on else None
        self._after_wait[name] = (
            FIRST_WAIT if last is None else (last["since"], last["job_id"], last["branch"])
        )
        return has_more

    async def _end_stale(
        self, page: Sequence[Record], lane: Record, now: datetime, lock: _Lock
    ) -> tuple[bool, bool]:
        """End the jobs of a page that are beyond their limits.

        Return whether the next look goes on behind the page, and whether it should do so at once.
        """
        stale = [row for row in page if row["is_stale"]]
        for row in stale:
            has_ended = await self._end(row, lane["lane"], now, lock)
            if has_ended:
                self._metrics.job_ended(row["pipeline"], "expired")
            if has_ended is not None:
                _log.warning(
                    events.TASK_EXPIRED,
                    job_id=str(row["uuid"]),
                    pipeline=row["pipeline"],
                    step=row["step"],
                    lane=lane["lane"],
                )
        has_more = len(page) == PAGE_ROWS and bool(stale)
        # Behind a page of tasks that may wait on, others of steps with a limit of their own may stand.
        return has_more or (len(page) == PAGE_ROWS and lane["has_steps"]), has_more

    async def _end(self, row: Record, lane: str, now: datetime, lock: _Lock) -> bool | None:
        """End the job with all its tasks; False: what it did is undone first, None: the task is not there any more."""
        message = f"step {row['step']} was not started within {row['seconds']:g} s in lane {lane}"
        letter = Letter(lane, row["step"], "ttl_expired", TTL_EXPIRED, "retryable", message, now)
        try:
            async with self._pool.transaction() as conn:
                leases = await commits.lock_leases(conn, row["job_id"])
                await jobs.lock_branching_row(conn, row["job_id"])
                if not await lock(conn, row, lane):
                    return None
                swept = await commits.sweep_tasks(conn, row["job_id"])
                if swept is None:
                    raise DatabaseConnectionError(f"job {row['uuid']}: a task is about to commit")
                has_ended = await expire_job(conn, row["job_id"], swept, letter)
        except DatabaseConnectionError:
            # The next look finds it again, if it is still there.
            return None
        if leases:
            self._notices.wake_lane(f"cancel:{row['job_id']}")
        return has_ended


async def _lock_ready(conn: Connection, row: Record, lane: str) -> bool:
    return await expiry.lock_ready_task(conn, lane=lane, seq=row["seq"], job_id=row["job_id"])


async def _lock_wait(conn: Connection, row: Record, lane: str) -> bool:
    return await expiry.lock_stale_wait(conn, job_id=row["job_id"], branch=row["branch"], since=row["since"])
