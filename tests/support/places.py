"""Jobs brought to each place that a job can stand in, by the store's own functions."""

from __future__ import annotations

import datetime as dt

from rkyc.store.pool import Connection
from rkyc.store.queue import commits, jobs, waits
from tests.support.moves import NOW, add_job, add_worker, claim, fail, finish, park, retry

LATER = dt.datetime(2040, 1, 1, tzinfo=dt.UTC)
# Place -> status and reason to wait, as the view tells them.
WHERE = {
    "ready": ("pending", "queued"),
    "scheduled": ("pending", "scheduled"),
    "backoff": ("pending", "retry_backoff"),
    "waiting": ("pending", "no_worker"),
    "running": ("running", None),
    "completed": ("completed", None),
    "failed": ("failed", None),
    "cancelled": ("cancelled", None),
}


async def cancel(conn: Connection, number: int, reason: str | None) -> bool:
    """Cancel as the client does: the leases are locked first."""
    fences = [fence for _, fence in await commits.lock_leases(conn, number)]
    return await jobs.cancel_chain(conn, job_id=number, fences=fences, reason=reason)


async def put(conn: Connection, where: str) -> int:
    """Enqueue a job and bring it to a state; return its number."""
    if where == "scheduled":
        return await add_job(conn, "chained", run_at=LATER)
    number = await add_job(conn, "chained")
    if where == "ready":
        return number
    (held,) = await claim(conn, await add_worker(conn))
    if where == "backoff":
        await commits.retry_tasks(conn, [retry(held)], worker_id=1, now=NOW)
    elif where == "waiting":
        await waits.hold_tasks(conn, [park(held)], NOW)
    elif where == "completed":
        await commits.finish_tasks(conn, [finish(held)], worker_id=1, now=NOW)
    elif where == "failed":
        await commits.fail_task(conn, fail(held), seq=1, open_tasks="[]", warnings=None, worker_id=1, now=NOW)
    elif where == "cancelled":
        await cancel(conn, number, "no")
    return number
