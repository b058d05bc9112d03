"""What is paused: lanes, pipelines and tenants by a row, jobs by where their tasks stand.

Functions take the connection first; the caller opens the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from rkyc.store.pool import Connection, Record, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def add_pause(conn: Connection, *, kind: str, name: str, reason: str | None, paused_by: str) -> bool:
    """Pause a lane, pipeline or tenant; False: it was paused already."""
    added = await fetch_value(
        conn, _SQL["add_pause"], kind=kind, name=name, reason=reason, paused_by=paused_by
    )
    return added is not None


async def end_pause(conn: Connection, *, kind: str, name: str) -> bool:
    """Resume it; False: it was not paused. Its tasks are woken apart, in groups."""
    return await fetch_value(conn, _SQL["end_pause"], kind=kind, name=name) is not None


async def list_pauses(conn: Connection) -> list[Record]:
    """Return (kind, name, reason, paused_by, since) of what is paused."""
    return await fetch(conn, _SQL["list_pauses"])


async def list_names(conn: Connection, kind: str) -> list[str] | None:
    """Return the lanes or pipelines there are; None: any name may be a tenant's."""
    names: list[str] | None = await fetch_value(conn, _SQL["list_names"], kind=kind)
    return names


async def forget_pauses(conn: Connection, kept_s: float) -> None:
    """Remove the rows of what was resumed so long ago that nobody can believe in it any more."""
    await fetch(conn, _SQL["forget_pauses"], kept_s=kept_s)


async def pause_job(
    conn: Connection, job_id: int, uuid: UUID, *, fences: Sequence[int], detail: str
) -> int | None:
    """Take all tasks of a job out of the way; return how many. None: one moved meanwhile, roll back and come again.

    `fences` are the job's leases, which were locked before in this transaction.
    """
    moved = await fetch(conn, _SQL["pause_job"], job_id=job_id, uuid=uuid, fences=fences, detail=detail)
    if await fetch(conn, _SQL["find_unpaused"], job_id=job_id, uuid=uuid):
        return None
    return len(moved)


async def find_kept_place(conn: Connection, job_id: int) -> str | None:
    """Return the kind of a line in which the job stands and which it must not leave, or None."""
    kind: str | None = await fetch_value(conn, _SQL["list_kept_places"], job_id=job_id)
    return kind


async def resume_job(conn: Connection, job_id: int, uuid: UUID) -> list[str]:
    """Put a paused job's tasks back, their attempts uncharged; return the lanes to wake, none if it was not paused."""
    return [row["lane"] for row in await fetch(conn, _SQL["resume_job"], job_id=job_id, uuid=uuid)]
