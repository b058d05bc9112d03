"""Jobs that wait past their deadline: who they are, and their end."""

from __future__ import annotations

from datetime import datetime

from rkyc.store.pool import Connection, Record, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def find_expired_jobs(conn: Connection, since: datetime | None) -> list[Record]:
    """Return (id, uuid, pipeline) of at most 100 waiting jobs whose deadline passed after `since`."""
    return await fetch(conn, _SQL["find_expired_jobs"], since=since)


async def find_passed_deadline(conn: Connection, job_id: int) -> datetime | None:
    """Return the deadline of an ended job that would fail by it at once if it were started again, or None."""
    passed_at: datetime | None = await fetch_value(conn, _SQL["find_passed_deadline"], job_id=job_id)
    return passed_at


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
