"""Ends the jobs that wait past their deadline: scheduled, between attempts, for a worker, in a queue.

A job that runs is ended by its worker at the very moment; one that waits, at the next look. Every
process looks; who comes second finds nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rkyc.engine import endings
from rkyc.engine.clock import DatabaseClock
from rkyc.errors import DatabaseConnectionError
from rkyc.flow import payload
from rkyc.store.pool import Pool, Record
from rkyc.store.queue import commits, deadlines, jobs
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)

# How far behind the last look the next one begins: a job may have been on its way between two tables.
LOOK_BACK_S = 3600.0


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
        try:
            async with self._pool.transaction() as conn:
                if await commits.lock_leases(conn, job["id"]):
                    return False
                await jobs.lock_branching_row(conn, job["id"])
                swept = await commits.sweep_tasks(conn, job["id"])
                if swept is None:
                    raise DatabaseConnectionError(f"job {job['uuid']}: a task is about to commit")
                is_ended = await deadlines.expire_job(
                    conn,
                    job["id"],
                    open_tasks=payload.encode(swept),
                    message="the job's deadline passed while it waited",
                )
                if is_ended:
                    await endings.end_job(conn, job["id"], "failed")
                return is_ended
        except DatabaseConnectionError:
            # The next look finds it again, if it is still there.
            return False
