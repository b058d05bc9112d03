"""Unique keys: who holds one, and on what terms.

`lock_unique_key` makes those who ask for one key come one by one; the look after it is a statement of its own,
so that it sees what the one before committed. Whether a holder still holds is read from its job.
"""

from __future__ import annotations

from uuid import UUID

from rkyc.store.pool import Connection, Record, fetch, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


async def lock_unique_key(conn: Connection, key: str) -> None:
    """Wait for whoever asks for the key, and keep others out until the transaction ends."""
    await fetch(conn, _SQL["lock_unique_key"], key=key)


async def find_unique_holder(conn: Connection, key: str) -> Record | None:
    """Return (uuid, job_id, is_pending) of the first job that holds a locked key; None: it is free."""
    return await fetch_row(conn, _SQL["find_unique_holder"], key=key)


async def hold_unique_key(
    conn: Connection, *, key: str, job_uuid: UUID, held_while: str, for_s: float | None
) -> None:
    """Let a job that this transaction enqueued hold a locked key; `for_s` in seconds from now."""
    await fetch(conn, _SQL["hold_unique_key"], key=key, job_uuid=job_uuid, held_while=held_while, for_s=for_s)


async def take_key_again(conn: Connection, job_id: int) -> UUID | None:
    """Let a job hold its key that this transaction starts again; not None: the job that holds it meanwhile."""
    asked = await fetch_row(conn, _SQL["find_key_of_job"], job_id=job_id)
    if asked is None or asked["key"] is None:
        return None
    await lock_unique_key(conn, asked["key"])
    holder = await find_unique_holder(conn, asked["key"])
    if holder is not None and holder["job_id"] != job_id:
        uuid: UUID = holder["uuid"]
        return uuid
    await fetch(conn, _SQL["hold_key_again"], job_id=job_id, **asked)
    return None


async def let_go_of_key(conn: Connection, *, key: str, job_id: int) -> None:
    """Let a job hold a locked key no longer."""
    await fetch(conn, _SQL["let_go_of_key"], key=key, job_id=job_id)


async def sweep_unique_keys(conn: Connection, *, after: str, limit: int) -> Record:
    """Forget the free ones among the next `limit` keys; return (last, looked, removed), last None at the end."""
    row = await fetch_row(conn, _SQL["sweep_unique_keys"], after=after, limit=limit)
    assert row is not None
    return row
