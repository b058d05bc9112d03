"""What else happens when a job ends: what it did is undone first, then its parent is told and its turn passed on.

Whoever ends a job that does not complete writes its end, and settles it here in the same transaction. Where completed
steps declare `compensate`, the end is taken back: the job goes on at its first compensator, and `undo:end` writes the
end again when all is undone. So a job has one way into its compensation, whoever ends it: a step, a person, a time.

A job asks for more by its traits: `{"on_end": ["NAME", …]}` names hooks of `HOOKS`. They run inside the transaction
that ends the job, whichever way it ends: completed, failed (poison and expiry too), cancelled. So that nobody
can see the one without the other, whatever is killed. A hook is SQL only, short, and locks nothing that a task
under lease holds. A job that asks for nothing completes in a group, as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from rkyc.flow import payload
from rkyc.flow.fingerprint import fingerprint_of
from rkyc.flow.job import Claim
from rkyc.flow.outcome import EndUndone
from rkyc.store.pool import Connection
from rkyc.store.queue import children, dead_letters, endings, restarts, schedules, undo

# (conn, the job's inner id, completed | failed | cancelled, the time) -> lanes in which tasks became ready.
EndHook: TypeAlias = Callable[[Connection, int, str, datetime], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Letter:
    """The dead letter of a job that fails; `at` None: the database's time."""

    lane: str
    step: str
    reason: str
    error_code: str
    error_class: str
    error_message: str
    at: datetime | None = None


async def pass_turn(conn: Connection, job_id: int, state: str, now: datetime) -> Sequence[str]:
    """Start the job of the schedule's next tick that waits for this one."""
    schedule = await schedules.lock_schedule_of_job(conn, job_id)
    return [] if schedule is None else await schedules.pass_turn(conn, schedule)


HOOKS: dict[str, EndHook] = {"turn": pass_turn, "parent": children.end_child}


def asks_ending(claim: Claim) -> bool:
    """Return whether a job may not complete in a group with others."""
    return claim.traits_json is not None and bool((claim.traits or {}).get("on_end"))


async def complete_job(conn: Connection, claim: Claim, now: datetime, *, goes_on: bool = False) -> None:
    """Run the hooks of a job that completed in this transaction; one that goes on as another run keeps its turn."""
    if not (goes_on and "schedule" in (claim.traits or {})):
        await _run_hooks(conn, claim.job_id, claim.traits, "completed", now)


async def settle_end(
    conn: Connection, job_id: int, letter: Letter | None, *, order: str | None = None
) -> bool:
    """Settle the end that this transaction has just written: failed with its letter, cancelled without one.

    False: it is taken back, and what the job did is undone first. `order` is what `Graph.describe_undo` gives, as JSON text;
    without it, what the workers said when they started.
    """
    reason, lane, step = (letter.reason, letter.lane, letter.step) if letter else (None, None, None)
    if await undo.begin_undo(conn, job_id, order=order, reason=reason, lane=lane, step=step):
        return False
    await end_job(conn, job_id, letter)
    return True


async def end_job(conn: Connection, job_id: int, letter: Letter | None) -> None:
    """Bury a job that failed in this transaction, and run the hooks; without a letter it was cancelled."""
    if letter is not None:
        await dead_letters.bury_job(
            conn,
            job_id=job_id,
            lane=letter.lane,
            step=letter.step,
            reason=letter.reason,
            error_code=letter.error_code,
            error_class=letter.error_class,
            error_message=letter.error_message,
            fingerprint=fingerprint_of(letter.step, letter.error_code, letter.error_message),
            now=letter.at,
        )
    row = await endings.read_ending(conn, job_id)
    if row is None:
        return
    traits = payload.decode(row["traits"]) if row["traits"] is not None else None
    await _run_hooks(conn, job_id, traits, "cancelled" if letter is None else "failed", row["now"])


async def end_undone(
    conn: Connection, outcome: EndUndone, *, seq: int, worker_id: int, now: datetime
) -> None:
    """End a job whose steps are all undone; its lease is locked, and it has no other task."""
    job_id = outcome.claim.job_id
    await undo.end_undone(conn, outcome, seq=seq, worker_id=worker_id, now=now)
    if outcome.restart is not None:
        told = payload.encode({"compensated": outcome.undone})
        await restarts.reopen_undone(conn, job_id, outcome.restart, metadata=told)
    letter = None
    if outcome.state == "failed":
        letter = Letter(
            outcome.lane,
            outcome.step,
            outcome.reason or "task_failed",
            outcome.error_code or "WORKER_ERROR",
            outcome.error_class or "permanent",
            outcome.error_message or "",
            now,
        )
    await end_job(conn, job_id, letter)


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
