"""What happened to a job, in its order: derived from checkpoints, events, streams and history.

Numbers (`seq`) grow within a job in the order of the commits; a number may hold several rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from rkyc.store.pool import Connection, Record, fetch, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


async def read_plan(conn: Connection, uuid: UUID) -> Record | None:
    """Return (id, pipeline, graph as JSON text) of a job."""
    return await fetch_row(conn, _SQL["read_plan"], uuid=uuid)


async def read_events(conn: Connection, job_id: int, *, since: int, limit: int) -> list[Record]:
    """Return the rows from a number on, that number included; 0 for all.

    (seq, kind, type, step, at, attempt, degraded, data, result, next_step, branch, items, worker_id); `kind` is created,
    checkpoint, event, history (`type` is the state), started or stream; data and result are JSON text.
    """
    return await fetch(conn, _SQL["read_events"], job_id=job_id, since=since, limit=limit)


async def list_worker_names(conn: Connection, worker_ids: Sequence[int]) -> dict[int, str]:
    """Return the names of workers by their inner ids."""
    rows = await fetch(conn, _SQL["list_worker_names"], worker_ids=worker_ids)
    return {row["id"]: row["name"] for row in rows}


async def read_marks(conn: Connection, job_ids: Sequence[int]) -> dict[int, str]:
    """Return a mark per job that changes when something happens to it."""
    return {row["job_id"]: row["mark"] for row in await fetch(conn, _SQL["read_marks"], job_ids=job_ids)}
