"""The move that ends a job from outside: one try, inside the caller's transaction."""

from __future__ import annotations

from rkyc.engine import endings
from rkyc.flow import payload
from rkyc.store.pool import Connection
from rkyc.store.queue import commits, jobs


async def try_cancel(
    conn: Connection, job_id: int, reason: str | None, *, only_pending: bool = False
) -> bool | None:
    """End a job; False: it had ended, runs (with `only_pending`), or is between two tables: look again.

    None: a branch of it is about to commit; roll back, and come again.
    """
    # Each in its own statement: the sweep must see what committed while this waited for the locks.
    leases = await commits.lock_leases(conn, job_id)
    if only_pending and leases:
        return False
    if not await jobs.lock_branching_row(conn, job_id):
        fences = [fence for _, fence in leases]
        ended = await jobs.cancel_chain(conn, job_id=job_id, fences=fences, reason=reason)
    else:
        swept = await commits.sweep_tasks(conn, job_id)
        if swept is None:
            return None
        open_tasks = payload.encode(swept)
        ended = await jobs.cancel_branched(conn, job_id=job_id, open_tasks=open_tasks, reason=reason)
    if ended:
        await endings.end_job(conn, job_id, "cancelled")
    return ended
