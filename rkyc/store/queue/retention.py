"""Ended jobs that were kept long enough: who they are, and their removal with all that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rkyc.flow.pipeline import Pipeline
from rkyc.store.pool import Connection, Record, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def declare_retention(conn: Connection, pipelines: Sequence[Pipeline]) -> None:
    """Write how long the jobs of these pipelines are kept; of a name's versions the last one counts."""
    told = {pipeline.name: pipeline.retention for pipeline in pipelines if pipeline.retention is not None}
    await fetch(
        conn,
        _SQL["declare_retention"],
        names=sorted({pipeline.name for pipeline in pipelines}),
        pipelines=list(told),
        completed=[one.completed_days for one in told.values()],
        failed=[one.failed_days for one in told.values()],
        cancelled=[one.cancelled_days for one in told.values()],
    )


async def find_shortest(conn: Connection, default_days: float | None) -> float | None:
    """Return the fewest days that any job is kept; None: all are kept for ever."""
    days: float | None = await fetch_value(conn, _SQL["find_shortest"], default_days=default_days)
    return days


async def find_ended_jobs(
    conn: Connection,
    *,
    after: datetime,
    before: datetime,
    now: datetime,
    default_days: float | None,
    limit: int,
) -> list[Record]:
    """Return (job_id, finished_at, is_over) of the jobs that ended first, from `after` on."""
    return await fetch(
        conn,
        _SQL["find_ended_jobs"],
        after=after,
        before=before,
        now=now,
        default_days=default_days,
        limit=limit,
    )


async def delete_jobs(conn: Connection, job_ids: Sequence[int]) -> int:
    """Remove ended jobs with all that belongs to them; return how many. Call it in a transaction.

    A job that was started again meanwhile, whose dead letter is kept or whose parent has not ended stays.
    """
    rows = await fetch(conn, _SQL["lock_ended_jobs"], job_ids=job_ids)
    locked = [row["job_id"] for row in rows]
    if not locked:
        return 0
    deleted: int = await fetch_value(conn, _SQL["delete_jobs"], job_ids=locked)
    return deleted
