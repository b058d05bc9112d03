"""Ends the jobs whose task has waited too long to start: the lane's TTL, or the step's schedule-to-start.

Expired is not failed: the job ends with the code TTL_EXPIRED and leaves a dead letter with the reason
ttl_expired, which the lane's policy may start again. Every process looks at all lanes, also at those that it
does not serve: when the workers of one lane are gone, the others end what nobody will start.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from rkyc.engine import endings
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.notices import Notices
from rkyc.errors import DatabaseConnectionError
from rkyc.flow import payload
from rkyc.flow.fingerprint import fingerprint_of
from rkyc.flow.lane import TTL_EXPIRED
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import commits, dead_letters, deadlines, expiry, jobs
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
        # Lane -> where the next look begins.
        self._after: dict[str, int] = {}

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
        is_full = [await self._look(lane["lane"], lane["has_steps"], now) for lane in lanes]
        self.has_looked.set()
        return 0.0 if any(is_full) else pause_s

    async def _look(self, lane: str, has_steps: bool, now: datetime) -> bool:
        """End what is beyond its limit in one page of a lane; True: there is more of it at once."""
        async with self._pool.connection() as conn:
            page = await expiry.find_stale_tasks(
                conn, lane=lane, after=self._after.get(lane, 0), limit=PAGE_ROWS, now=now
            )
        stale = [row for row in page if row["is_stale"]]
        for row in stale:
            if await self._end(row, lane, now):
                self._metrics.job_ended(row["pipeline"], "expired")
                _log.warning(
                    events.TASK_EXPIRED,
                    job_id=str(row["uuid"]),
                    pipeline=row["pipeline"],
                    step=row["step"],
                    lane=lane,
                )
        # Behind a page of tasks that may wait on, others of steps with a limit of their own may stand.
        goes_on = len(page) == PAGE_ROWS and (has_steps or bool(stale))
        self._after[lane] = page[-1]["seq"] if goes_on else 0
        return len(page) == PAGE_ROWS and bool(stale)

    async def _end(self, row: Record, lane: str, now: datetime) -> bool:
        try:
            async with self._pool.transaction() as conn:
                leases = await commits.lock_leases(conn, row["job_id"])
                await jobs.lock_branching_row(conn, row["job_id"])
                if not await expiry.lock_ready_task(conn, lane=lane, seq=row["seq"], job_id=row["job_id"]):
                    return False
                is_ended = await _expire(conn, row, lane, now)
        except DatabaseConnectionError:
            # The next look finds it again, if it is still there.
            return False
        if leases:
            self._notices.wake_lane(f"cancel:{row['job_id']}")
        return is_ended


async def _expire(conn: Connection, row: Record, lane: str, now: datetime) -> bool:
    """End the job with all its tasks, and leave its dead letter."""
    swept = await commits.sweep_tasks(conn, row["job_id"])
    if swept is None:
        raise DatabaseConnectionError(f"job {row['uuid']}: a task is about to commit")
    message = f"step {row['step']} was not started within {row['seconds']:g} s in lane {lane}"
    is_ended = await deadlines.expire_job(
        conn,
        row["job_id"],
        open_tasks=payload.encode(swept),
        error_code=TTL_EXPIRED,
        error_class="retryable",
        message=message,
    )
    if is_ended:
        await dead_letters.bury_job(
            conn,
            job_id=row["job_id"],
            lane=lane,
            step=row["step"],
            reason="ttl_expired",
            error_code=TTL_EXPIRED,
            error_class="retryable",
            error_message=message,
            fingerprint=fingerprint_of(row["step"], TTL_EXPIRED, message),
            now=now,
        )
        await endings.end_job(conn, row["job_id"], "failed")
    return is_ended
