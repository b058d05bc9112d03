"""What the test kit asks the queue: is it at a standstill, what was enqueued, what is left; and what time it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from rkyc.store.pool import Connection, Record, fetch, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


async def read_standstill(
    conn: Connection,
    *,
    lanes: Sequence[str],
    wake_keys: Sequence[str],
    topics: Sequence[str],
    places: Sequence[int | None],
    now: datetime,
) -> Record:
    """Return how things stand for a worker of these lanes and pipelines, whose listeners have come so far.

    Its columns: is_busy, has_parked, has_waiting, has_untold, next_due_at, next_tick_at.
    """
    row = await fetch_row(
        conn,
        _SQL["read_standstill"],
        lanes=lanes,
        wake_keys=wake_keys,
        topics=topics,
        places=places,
        now=now,
    )
    assert row is not None
    return row


async def list_enqueued(conn: Connection, pipeline: str) -> list[Record]:
    """Return (uuid, input as JSON text, lane) of a pipeline's jobs, in the order of their enqueue; at most 1,000."""
    return await fetch(conn, _SQL["list_enqueued"], pipeline=pipeline)


async def list_unfinished(conn: Connection) -> list[UUID]:
    """Return the jobs that have not ended, oldest first; at most 1,000."""
    return [row["uuid"] for row in await fetch(conn, _SQL["list_unfinished"])]


async def list_ticked(conn: Connection) -> list[UUID]:
    """Return the jobs that schedules started, oldest first; at most 10,000."""
    return [row["uuid"] for row in await fetch(conn, _SQL["list_ticked"])]


async def list_all(conn: Connection) -> list[UUID]:
    """Return all jobs, oldest first; at most 10,000."""
    return [row["uuid"] for row in await fetch(conn, _SQL["list_all"])]


async def shift_new_jobs(conn: Connection, offset_s: float) -> None:
    """Have jobs enqueued from now on be born so many seconds ahead of the server's clock."""
    async with conn.transaction():
        await fetch(conn, _SQL["say_offset"], offset_s=str(offset_s))
        await fetch(conn, _SQL["shift_new_jobs"])
