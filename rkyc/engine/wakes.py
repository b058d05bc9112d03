"""Waits whose waker may come at the very moment that the task leaves its slot.

Both lock one common row, the job's or the topic's, and look afterwards in a statement of their own. Whoever
comes second sees the other: the waker finds the task in `waiting`, or the task finds what it waited for. So such
a wait takes a transaction of its own; all others are written in groups.
"""

from __future__ import annotations

from datetime import datetime

from rkyc.engine.budgets import has_more
from rkyc.flow.outcome import Wait
from rkyc.store.pool import Connection
from rkyc.store.queue import children, signals, topics, waits

# Waits that a message, another job or money ends; of all others the waker looks by itself.
LOOKED_AT = frozenset({"signal", "event", "child", "budget"})


async def hold_task(conn: Connection, row: Wait, now: datetime) -> None:
    """Let a task wait, or make it ready at once if what it waits for has come; its lease is locked before."""
    has_come = await _has_come(conn, row)
    await waits.hold_tasks(conn, [row], now)
    if has_come:
        await waits.wake_task(conn, row.claim.job_id, row.claim.branch)


async def _has_come(conn: Connection, row: Wait) -> bool:
    match row.kind:
        case "signal":
            await signals.lock_job(conn, row.claim.job_id)
            return await signals.has_signal(conn, row.claim.job_id, row.wake_key)
        case "event":
            await topics.watch_topic(conn, row.wake_key)
            found = await topics.find_event(conn, row.wake_key, after=row.after, match=row.match)
            return found is not None
        case "child":
            await signals.lock_job(conn, row.claim.job_id)
            return await children.has_come(
                conn,
                parent_id=row.claim.job_id,
                branch=row.claim.branch,
                step=row.step,
                wake_key=row.wake_key,
            )
        case "budget":
            await signals.lock_job(conn, row.claim.job_id)
            return await has_more(conn, row)
        case _:
            raise AssertionError(f"nobody looks whether a wait for {row.kind} is over")
