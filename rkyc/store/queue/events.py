"""What happened to a job, in its order: derived from checkpoints, events and history."""

from __future__ import annotations

from rkyc.store.pool import Connection, Record, fetch, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


async def read_events(conn: Connection, job_id: int, after: int) -> list[Record]:
    """Return (seq, type, step, next_step, at, attempt, data) above a number; -1 for all."""
    return await fetch(conn, _SQL["read_events"], job_id=job_id, after=after)


async def read_start(conn: Connection, job_id: int) -> Record | None:
    """Return (started_at or None, graph as JSON text) of a job."""
    return await fetch_row(conn, _SQL["read_start"], job_id=job_id)
