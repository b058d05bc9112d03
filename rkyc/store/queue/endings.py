"""What the end of a job asks for, and the hint to the workers that rides on it."""

from __future__ import annotations

from collections.abc import Sequence

from rkyc.store.pool import Connection, Record, fetch, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


async def read_ending(conn: Connection, job_id: int) -> Record | None:
    """Return (traits as JSON text, the database's time) of a job by its inner id, and note whom its end orphans."""
    return await fetch_row(conn, _SQL["read_ending"], job_id=job_id)


async def tell_lanes(conn: Connection, lanes: Sequence[str]) -> None:
    """Wake the workers of these lanes when the caller's transaction commits."""
    await fetch(conn, _SQL["tell_lanes"], lanes=lanes)
