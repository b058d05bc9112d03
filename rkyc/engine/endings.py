"""What else happens when a job ends: its parent is told, a key is freed, slots are given back.

A job asks for it by its traits: `{"on_end": ["NAME", …]}` names hooks of `HOOKS`. They run inside the transaction
that ends the job, whichever way it ends: completed, failed (poison and expiry too), cancelled. So that nobody
can see the one without the other, whatever is killed. A hook is SQL only, short, and locks nothing that a task
under lease holds. A job that asks for nothing completes in a group, as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from rkyc.flow import payload
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection
from rkyc.store.queue import children, endings, schedules

# (conn, the job's inner id, completed | failed | cancelled, the time) -> lanes in which tasks became ready.
EndHook: TypeAlias = Callable[[Connection, int, str, datetime], Awaitable[Sequence[str]]]


async def pass_turn(conn: Connection, job_id: int, state: str, now: datetime) -> Sequence[str]:
    """Start the job of the schedule's next tick that waits for this one."""
    schedule = await schedules.lock_schedule_of_job(conn, job_id)
    return [] if schedule is None else await schedules.pass_turn(conn, schedule)


HOOKS: dict[str, EndHook] = {"turn": pass_turn, "parent": children.end_child}


def asks_ending(claim: Claim) -> bool:
    """Return whether a job may not complete in a group with others."""
    return claim.traits_json is not None and bool((claim.traits or {}).get("on_end"))


async def complete_job(conn: Connection, claim: Claim, now: datetime) -> None:
    """Run the hooks of a job that completed in this transaction."""
    await _run_hooks(conn, claim.job_id, claim.traits, "completed", now)


async def end_job(conn: Connection, job_id: int, state: str) -> None:
    """Run the hooks of a job that failed or was cancelled in this transaction, by whomever."""
    row = await endings.read_ending(conn, job_id)
    if row is None:
        return
    traits = payload.decode(row["traits"]) if row["traits"] is not None else None
    await _run_hooks(conn, job_id, traits, state, row["now"])


async def _run_hooks(
    conn: Connection, job_id: int, traits: dict[str, Any] | None, state: str, now: datetime
) -> None:
    lanes: set[str] = set()
    for name in (traits or {}).get("on_end", ()):
        hook = HOOKS.get(name)
        # A newer program may have asked for what this one does not know: its own sweep makes up for it.
        if hook is not None:
            lanes.update(await hook(conn, job_id, state, now))
    if lanes:
        await endings.tell_lanes(conn, sorted(lanes))
