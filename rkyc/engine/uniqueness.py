"""Unique jobs: takes a key for a new job, or finds the job that holds it.

One transaction: lock the key's row, so that producers of one key come one by one; look who holds it; cancel a
pending holder where the terms say so, unless it has done what must be undone; enqueue; hold. A holder's end frees the
key with the very commit that ends it, since the look reads the job's own rows; the sweep only tidies up. A job that is
started again asks for its key again.
"""

from __future__ import annotations

from uuid import UUID

from rkyc.engine.cancelling import try_cancel
from rkyc.errors import ConflictError
from rkyc.flow.unique import Unique
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import uniques

# A holder that moves just now is looked at again; more than one may hold a key while running.
LOOKS_MAX = 50
# How often a process looks for keys that nobody holds any more, and how many it looks at in a statement. Seconds.
SWEEP_S = 300.0
SWEEP_KEYS = 1000


async def find_keeper(conn: Connection, unique: Unique) -> UUID | None:
    """Lock the key and return the job that keeps it; None: it is free for the job that this transaction enqueues.

    Raises:
        ConflictError: the holder moves too fast to be replaced; ask again.
    """
    await uniques.lock_unique_key(conn, unique.key)
    for _ in range(LOOKS_MAX):
        holder = await uniques.find_unique_holder(conn, unique.key)
        if holder is None:
            return None
        keeper: UUID = holder["uuid"]
        if unique.on_conflict == "keep" or not holder["is_pending"]:
            return keeper
        reason = f"replaced by a newer job of the unique key {unique.key}"
        try:
            async with conn.transaction():
                done = await try_cancel(conn, holder["job_id"], reason, only_pending=True)
                if done == "blocked":
                    raise _Blocked
        except _Blocked:
            continue
        if done == "left":
            # What it did would be undone beside the new job.
            return keeper
        if done == "cancelled":
            await uniques.let_go_of_key(conn, key=unique.key, job_id=holder["job_id"])
    raise ConflictError(f"unique key {unique.key!r}: its job moves too fast to be replaced: enqueue again")


class _Blocked(Exception):
    """A task of the holder has just begun: what was swept of its others is rolled back."""


async def hold_key(conn: Connection, unique: Unique, job_id: UUID) -> None:
    """Let the job that this transaction enqueued hold the locked key."""
    await uniques.hold_unique_key(
        conn, key=unique.key, job_uuid=job_id, held_while=unique.held_while, for_s=unique.for_s
    )


async def take_key_again(conn: Connection, job_id: int, uuid: UUID) -> None:
    """Let a job hold its key that this transaction starts again.

    Raises:
        ConflictError: another job holds it.
    """
    if (holder := await uniques.take_key_again(conn, job_id)) is not None:
        raise ConflictError(
            f"job {uuid} can't be started again while job {holder} holds its unique key: wait for its end, or cancel it"
        )


async def sweep_keys(pool: Pool) -> None:
    """Forget the keys that nobody holds any more."""
    last: str | None = ""
    while last is not None:
        async with pool.connection() as conn:
            row = await uniques.sweep_unique_keys(conn, after=last, limit=SWEEP_KEYS)
        last = row["last"] if row["looked"] == SWEEP_KEYS else None
