"""Dead letters by policy: started again on the lane's clock, archived after enough tries, dropped when old.

Every process looks, and there is no leader: a lane's run belongs to whoever moves its clock on, and run and
moves are one transaction, so that a process that is killed in it has done nothing and the next look does it.
"""

from __future__ import annotations

from datetime import datetime

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.notices import Notices
from rkyc.store.pool import Pool
from rkyc.store.queue import dead_letters
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)
# Dead letters dropped by one statement.
DROP_ROWS = 500
# Where no lane starts dead letters again, this many looks are one.
IDLE_LOOKS = 4


class Redrive:
    """The dead letters' share of a worker's upkeep."""

    def __init__(
        self, *, pool: Pool, clock: DatabaseClock, notices: Notices, metrics: Metrics, interval_s: float
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._notices = notices
        self._metrics = metrics
        self._interval_s = interval_s

    async def run_once(self) -> float:
        """Do what is due and return the seconds until the next look."""
        now = self._clock.now()
        async with self._pool.connection() as conn:
            chores = await dead_letters.find_chores(conn)
        if chores["expires_at"] is not None and chores["expires_at"] <= now:
            await self._drop(now)
        next_run_at: datetime | None = chores["redrive_at"]
        if next_run_at is None:
            # No lane starts dead letters again; they are kept for days.
            return IDLE_LOOKS * self._interval_s
        if next_run_at <= now:
            await self.redrive(now)
            return min(1.0, self._interval_s)
        return min(self._interval_s, max(0.01, (next_run_at - now).total_seconds()))

    async def redrive(self, now: datetime) -> int:
        """Make the runs that are due; return how many jobs were started again."""
        lanes: set[str] = set()
        started: dict[str, int] = {}
        async with self._pool.transaction() as conn:
            for run in await dead_letters.take_due_runs(conn, now):
                ids = await dead_letters.find_due_dead_letters(
                    conn,
                    lane=run["lane"],
                    at_most=run["redrive_at_most"],
                    times=run["redrive_times"],
                    now=now,
                )
                done = await dead_letters.requeue_dead_letters(conn, ids, counts=True)
                started[f"dlq.{run['lane']}"] = len(done.ids)
                lanes |= set(done.lanes)
        for queue, count in started.items():
            if count:
                self._metrics.redriven(queue, count)
                _log.info(events.DEAD_LETTERS_REDRIVEN, queue=queue, jobs=count)
        for lane in lanes:
            self._notices.wake_lane(lane)
        return sum(started.values())

    async def _drop(self, now: datetime) -> None:
        async with self._pool.connection() as conn:
            queues = await dead_letters.drop_expired_dead_letters(conn, now=now, limit=DROP_ROWS)
        for queue in sorted(set(queues)):
            count = queues.count(queue)
            self._metrics.dead_letters_dropped(queue, count)
            _log.info(events.DEAD_LETTERS_DROPPED, queue=queue, count=count)
