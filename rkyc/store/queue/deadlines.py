"""Jobs that wait past their deadline: who they are, and their end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rkyc.store.pool import Connection, Record, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


async def find_expired_jobs(conn: Connection, since: datetime | None) -> list[Record]:
    """Return (id, uuid, pipeline) of at most 100 waiting jobs whose deadline passed after `since`."""
    return await fetch(conn, _SQL["find_expired_jobs"], since=since)


async def find_passed_deadlines(conn: Connection, job_ids: Sequence[int]) -> dict[int, datetime]:
    """Return the deadlines of those ended jobs that would fail by it at once if they were started again."""
    rows = await fetch(conn, _SQL["find_passed_deadlines"], job_ids=job_ids)
    return {row["job_id"]: row["deadline_at"] for row in rows}


async def expire_job(
    conn: Connection, job_id: int, *, open_tasks: str, error_code: str, error_class: str, message: str
) -> bool:
    """End a job as failed; `open_tasks` is the JSON list of its tasks, swept in this transaction."""
    ended = await fetch(
        conn,
        _SQL["expire_job"],
        job_id=job_id,
        open_tasks=open_tasks,
        error_code=error_code,
        error_class=error_class,
        message=message,
    )
    return bool(ended)
