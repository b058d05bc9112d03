"""Ends the jobs that wait past their deadline: scheduled, between attempts, for a worker, in a queue.

A job that runs is ended by its worker at the very moment; one that waits, at the next look. Every
process looks; who comes second finds nothing. One that is being undone has no deadline any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from rkyc.engine import endings
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.endings import Letter
from rkyc.errors import DatabaseConnectionError, DeadlineExceededError
from rkyc.flow import payload
from rkyc.flow.undo import PREFIX
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import commits, deadlines, jobs
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)

# How far behind the last look the next one begins: a job may have been on its way between two tables.
LOOK_BACK_S = 3600.0
MESSAGE = "the job's deadline passed while it waited"


class Deadlines:
    """Looks for waiting jobs whose time is up."""

    def __init__(self, *, pool: Pool, clock: DatabaseClock, metrics: Metrics) -> None:
        self._pool = pool
        self._clock = clock
        self._metrics = metrics
        self._since: datetime | None = None

    async def run_once(self) -> None:
        """End at most 100 jobs; the first look goes back to the beginning."""
        looked_at = self._clock.now()
        async with self._pool.connection() as conn:
            expired = await deadlines.find_expired_jobs(conn, self._since)
        for job in expired:
            if await self._end(job):
                self._metrics.job_ended(job["pipeline"], "failed")
                _log.warning(
                    events.JOB_FAILED,
                    job_id=str(job["uuid"]),
                    pipeline=job["pipeline"],
                    error_code="DEADLINE_EXCEEDED",
                )
        if not expired:
            self._since = looked_at - timedelta(seconds=LOOK_BACK_S)

    async def _end(self, job: Record) -> bool:
        """Return whether the job has ended; one whose steps are undone first has not."""
        try:
            async with self._pool.transaction() as conn:
                if await commits.lock_leases(conn, job["id"]):
                    return False
                await jobs.lock_branching_row(conn, job["id"])
                swept = await commits.sweep_tasks(conn, job["id"])
                if swept is None or any(task["step"].startswith(PREFIX) for task in swept):
                    raise DatabaseConnectionError(f"job {job['uuid']}: a task is about to commit")
                if not swept:
                    return False
                first = min(swept, key=lambda task: task["branch"])
                code = DeadlineExceededError.error_code
                letter = Letter(first["lane"], first["step"], "ttl_expired", code, "permanent", MESSAGE)
                return await expire_job(conn, job["id"], swept, letter) is True
        except DatabaseConnectionError:
            # The next look finds it again, if it is still there.
            return False


async def expire_job(
    conn: Connection, job_id: int, swept: Sequence[dict[str, Any]], letter: Letter
) -> bool | None:
    """Fail a job whose tasks were swept in this transaction; False: what it did is undone first, None: it had no task."""
    is_written = await deadlines.expire_job(
        conn,
        job_id,
        open_tasks=payload.encode(swept),
        error_code=letter.error_code,
        error_class=letter.error_class,
        message=letter.error_message,
    )
    return await endings.settle_end(conn, job_id, letter) if is_written else None
