"""Tasks that wait without a slot: into `waiting`, and out of it when woken or due.

A row has a kind and a key that a waker names, and perhaps a time that wakes it anyway. What a task waits for
is checked by whoever runs it again: to be woken once too often costs a claim, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rkyc.flow.outcome import Wait
from rkyc.store.pool import Connection, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


async def hold_tasks(conn: Connection, rows: Sequence[Wait], now: datetime) -> set[tuple[int, int]]:
    """Take tasks out of their slots until they are woken; return (job, branch) of those whose lease held."""
    claims = [row.claim for row in rows]
    moved = await fetch(
        conn,
        _SQL["hold_tasks"],
        job_ids=[c.job_id for c in claims],
        branches=[c.branch for c in claims],
        fences=[c.fence for c in claims],
        kinds=[row.kind for row in rows],
        wake_keys=[row.wake_key for row in rows],
        due_ats=[row.due_at for row in rows],
        details=[row.detail for row in rows],
        matches=[row.match for row in rows],
        lanes=[c.lane for c in claims],
        steps=[row.step for row in rows],
        events=[c.events for c in claims],
        error_attempts=[c.error_attempts for c in claims],
        crash_attempts=[c.crash_attempts for c in claims],
        alone_crashes=[c.alone_crashes for c in claims],
        step_started_ats=[c.step_started_at for c in claims],
        now=now,
    )
    return {(row["job_id"], row["branch"]) for row in moved}


async def wake_tasks(conn: Connection, kind: str, wake_key: str, limit: int) -> list[str]:
    """Make at most `limit` tasks ready that wait under this key, oldest first; return their lanes, one each.

    The caller tells the workers of those lanes (`jobs.notify`) after the commit.
    """
    rows = await fetch(conn, _SQL["wake_tasks"], kind=kind, wake_key=wake_key, limit=limit)
    return [row["lane"] for row in rows]


async def wake_task(conn: Connection, job_id: int, branch: int) -> None:
    """Make one waiting task ready and tell its workers when the transaction commits."""
    await fetch(conn, _SQL["wake_task"], job_id=job_id, branch=branch)


async def promote_due_waits(conn: Connection, now: datetime) -> list[str]:
    """Make waiting tasks ready whose time has come (at most 1,000); return their lanes."""
    return [row["lane"] for row in await fetch(conn, _SQL["promote_due_waits"], now=now)]
