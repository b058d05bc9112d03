"""Child jobs: started by a step of another job, and what the end of either means for the other.

Locks are taken from child to parent: a child's end locks its own row here, then the parent's job. A parent's
end locks no child: it leaves a note, and the children are cancelled afterwards, each in its own transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.queue import signals
from rkyc.store.statements import load

_SQL = load(__file__)

# A parent that waits under this key waits for all children of its step.
ALL = "*"


async def find_child(conn: Connection, *, parent_id: int, step: str, branch: int, name: str) -> UUID | None:
    """Return the child that a step started under a name; call it after `commits.lock_lease`."""
    child: UUID | None = await fetch_value(
        conn, _SQL["find_child"], parent_id=parent_id, step=step, branch=branch, name=name
    )
    return child


async def add_child(
    conn: Connection,
    *,
    parent_id: int,
    step: str,
    branch: int,
    name: str,
    child_uuid: UUID,
    on_parent_end: str,
    worker_id: int,
    now: datetime,
) -> None:
    """Make a job that this transaction enqueued the child of a step, and let the step's journal remember it."""
    await fetch(
        conn,
        _SQL["add_child"],
        parent_id=parent_id,
        step=step,
        branch=branch,
        name=name,
        child_uuid=child_uuid,
        on_parent_end=on_parent_end,
        worker_id=worker_id,
        now=now,
    )


async def read_child(conn: Connection, child_uuid: UUID) -> Record | None:
    """Return (state or None, result, error_code, error_message) of a child."""
    return await fetch_row(conn, _SQL["read_child"], child_uuid=child_uuid)


async def list_open_children(conn: Connection, *, parent_id: int, branch: int, step: str) -> set[UUID]:
    """Return the children of a step that have not ended."""
    rows = await fetch(conn, _SQL["list_open_children"], parent_id=parent_id, branch=branch, step=step)
    return {row["child_uuid"] for row in rows}


async def has_come(conn: Connection, *, parent_id: int, branch: int, step: str, wake_key: str) -> bool:
    """Return whether what a parent waits for has come; call it after the parent's job was locked."""
    if wake_key == ALL:
        return not await list_open_children(conn, parent_id=parent_id, branch=branch, step=step)
    return bool(await fetch_value(conn, _SQL["has_child_ended"], child_uuid=UUID(wake_key)))


async def end_child(conn: Connection, job_id: int, state: str, now: datetime) -> list[str]:
    """Tell the parent how this job ended, in the transaction that ends it; return the lanes of who was woken."""
    child = await fetch_row(conn, _SQL["end_child"], child_id=job_id, state=state, now=now)
    if child is None:
        return []
    await signals.lock_job(conn, child["parent_id"])
    woken = await fetch(conn, _SQL["wake_parent"], **dict(child))
    return [row["lane"] for row in woken]


async def list_orphans(conn: Connection, limit: int) -> Sequence[UUID]:
    """Return children, at most so many, whose parent's end is to be theirs."""
    return [row["child_uuid"] for row in await fetch(conn, _SQL["list_orphans"], limit=limit)]


async def has_orphaned(conn: Connection) -> bool:
    """Return whether any parent ended whose children may be left."""
    return bool(await fetch_value(conn, _SQL["has_orphaned"]))


async def drop_orphaned(conn: Connection) -> None:
    """Forget the ended parents whose children have all ended."""
    await fetch(conn, _SQL["drop_orphaned"])
