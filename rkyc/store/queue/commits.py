"""Writes outcomes: many tasks' at once, or one task's inside its own transaction.

Every statement joins on the lease's (job, branch, fence) and locks it; what does not come back was
fenced: another worker holds the task, or it was cancelled. What many tasks do at once returns a count
only; which of them were fenced is asked where it matters (`find_checkpoints`, `find_ends`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rkyc.flow.outcome import Advance, Arrive, Fail, Finish, Fork, Retry, Spread
from rkyc.store.pool import Connection, count_written, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)

Key = tuple[int, int]
NO_BRANCH = -1
# A task moves between tables in milliseconds: a second sweep finds what the first one missed.
SWEEPS_MAX = 3


async def advance_tasks(conn: Connection, rows: Sequence[Advance], *, worker_id: int, now: datetime) -> int:
    """Write checkpoints of chains whose tasks stay under lease; return how many leases held."""
    if len(rows) == 1:
        (row,) = rows
        values = _done_values(row, row.claim.events + 1, worker_id, now)
        return await count_written(conn, _SQL["advance_task"], **values, next_step=row.next_step)
    return await count_written(
        conn,
        _SQL["advance_tasks"],
        **_done_columns(rows),
        next_steps=[row.next_step for row in rows],
        worker_id=worker_id,
        now=now,
    )


async def finish_tasks(conn: Connection, rows: Sequence[Finish], *, worker_id: int, now: datetime) -> int:
    """Complete jobs; return how many leases held."""
    if len(rows) == 1:
        (row,) = rows
        return await count_written(
            conn, _SQL["finish_task"], **_done_values(row, row.claim.events + 1, worker_id, now)
        )
    return await count_written(
        conn, _SQL["finish_tasks"], **_done_columns(rows), worker_id=worker_id, now=now
    )


def _done_columns(rows: Sequence[Advance | Finish | Arrive]) -> dict[str, list[Any]]:
    claims = [row.claim for row in rows]
    done = [row.done for row in rows]
    return {
        "job_ids": [c.job_id for c in claims],
        "branches": _sparse([c.branch for c in claims], 0),
        "fences": [c.fence for c in claims],
        "seqs": [c.events + 1 for c in claims],
        "steps": [d.step for d in done],
        "attempts": _sparse([d.attempt for d in done], 1),
        "outputs": [d.output for d in done],
        "degraded": _sparse([d.degraded for d in done], False),
        "warnings": _sparse([d.warnings for d in done], None),
        "metadata": _sparse([d.metadata for d in done], None),
        "started_ats": [d.started_at for d in done],
    }


def _sparse(values: list[Any], usual: Any) -> list[Any]:
    """Leave out a column that says the usual: `unnest` fills a shorter array up with NULL, at no cost of encoding."""
    return [] if values.count(usual) == len(values) else values


async def retry_tasks(conn: Connection, rows: Sequence[Retry], *, worker_id: int, now: datetime) -> set[Key]:
    """Schedule further attempts."""
    claims = [row.claim for row in rows]
    written = await fetch(
        conn,
        _SQL["retry_tasks"],
        job_ids=[c.job_id for c in claims],
        branches=[c.branch for c in claims],
        fences=[c.fence for c in claims],
        seqs=[c.events + 1 for c in claims],
        lanes=[c.lane for c in claims],
        steps=[row.step for row in rows],
        due_ats=[row.due_at for row in rows],
        reasons=[row.reason for row in rows],
        error_attempts=[row.error_attempts for row in rows],
        crash_attempts=[c.crash_attempts for c in claims],
        attempts=[row.attempt for row in rows],
        error_codes=[row.error_code for row in rows],
        error_messages=[row.error_message for row in rows],
        step_started_ats=[c.step_started_at for c in claims],
        worker_id=worker_id,
        now=now,
    )
    return set(map(tuple, written))


async def lock_lease(conn: Connection, *, job_id: int, branch: int, fence: int) -> bool:
    """Lock the lease for the transaction; False: it is lost."""
    return await fetch_value(conn, _SQL["lock_lease"], job_id=job_id, branch=branch, fence=fence) is not None


async def bound_transaction(conn: Connection, limit_ms: int) -> None:
    """Let Postgres end the transaction when one statement or one pause in it takes longer."""
    await fetch(conn, _SQL["bound_transaction"], limit_ms=str(limit_ms))


async def avoid_scans(conn: Connection) -> None:
    """Keep the rest of the transaction to indexes, as queue connections always do."""
    await fetch(conn, _SQL["avoid_scans"])


async def lock_branching(conn: Connection, job_id: int, events: int) -> int:
    """Lock a forked job and return the number of its next event; `events` is the first, if it has no row yet."""
    number: int = await fetch_value(conn, _SQL["lock_branching"], job_id=job_id, events=events)
    return number


async def count_branching(conn: Connection, job_id: int, events: int) -> int:
    """The same of a job that may have forked; `events` is the number where it has not."""
    number: int | None = await fetch_value(conn, _SQL["count_branching"], job_id=job_id, events=events)
    return events if number is None else number


async def drop_branching(conn: Connection, job_id: int) -> None:
    """Forget the branches of a job that completed."""
    await fetch(conn, _SQL["drop_branching"], job_id=job_id)


async def lock_leases(conn: Connection, job_id: int) -> set[tuple[int, int]]:
    """Lock all leases of a job for the transaction; return their (branch, fence)."""
    return {(row["branch"], row["fence"]) for row in await fetch(conn, _SQL["lock_leases"], job_id=job_id)}


async def sweep_tasks(
    conn: Connection, job_id: int, *, kept: int = NO_BRANCH, takes_leases: bool = True
) -> list[dict[str, Any]] | None:
    """Remove the tasks of a job but one branch's; return where each was: branch, step, lane.

    None: another commit holds one of them, or one runs and is not to be taken: give up the locks and come again.
    """
    values = {"job_id": job_id, "kept": kept, "takes_leases": takes_leases}
    swept: list[dict[str, Any]] = []
    for _ in range(SWEEPS_MAX):
        swept += [dict(row) for row in await fetch(conn, _SQL["sweep_tasks"], **values)]
        if not await fetch_value(conn, _SQL["has_tasks"], job_id=job_id, kept=kept):
            return swept
    return None


async def fail_task(
    conn: Connection,
    row: Fail,
    *,
    seq: int,
    open_tasks: str,
    warnings: str | None,
    worker_id: int,
    now: datetime,
) -> bool:
    """End a job as failed; `open_tasks` is the JSON list of its other tasks, for a retry by a person."""
    claim = row.claim
    written = await fetch(
        conn,
        _SQL["fail_task"],
        job_id=claim.job_id,
        branch=claim.branch,
        fence=claim.fence,
        seq=seq,
        lane=claim.lane,
        step=row.step,
        attempt=row.attempt,
        error_code=row.error_code,
        error_class=row.error_class,
        error_message=row.error_message,
        error_details=row.error_details,
        error_attempts=row.error_attempts,
        crash_attempts=claim.crash_attempts,
        warnings=warnings,
        metadata=None,
        open_tasks=open_tasks,
        step_started_at=claim.step_started_at,
        worker_id=worker_id,
        now=now,
    )
    return bool(written)


async def fork_task(conn: Connection, row: Fork, *, seq: int, worker_id: int, now: datetime) -> bool:
    """Write the checkpoint, end the task, start its members and set up their join."""
    written = await fetch(
        conn,
        _SQL["fork_task"],
        **_done_values(row, seq, worker_id, now),
        join_step=row.join_step,
        join_branch=row.join_branch,
        join_count=len(row.members),
        lane=row.job_lane,
        member_lanes=[member.lane for member in row.members],
        member_branches=[member.branch for member in row.members],
        member_steps=[member.step for member in row.members],
    )
    return bool(written)


async def advance_branches(
    conn: Connection, rows: Sequence[Advance], *, worker_id: int, now: datetime
) -> dict[Key, int]:
    """Write checkpoints of tasks beside which others of their job run; return the number of each (job, branch) that held."""
    written = await fetch(
        conn,
        _SQL["advance_branches"],
        **_done_columns(rows),
        next_steps=[row.next_step for row in rows],
        worker_id=worker_id,
        now=now,
    )
    return {(row["job_id"], row["branch"]): row["seq"] for row in written}


async def arrive_tasks(
    conn: Connection, rows: Sequence[Arrive], *, worker_id: int, now: datetime
) -> set[Key]:
    """Write the last checkpoints of branches and count them in at their joins; return those (job, branch) that held."""
    columns = _done_columns(rows) | {"branches": [row.claim.branch for row in rows]}
    written = await fetch(
        conn,
        _SQL["arrive_tasks"],
        **columns,
        join_steps=[row.join_step for row in rows],
        join_lanes=[row.join_lane for row in rows],
        maps=[row.map for row in rows],
        worker_id=worker_id,
        now=now,
    )
    return set(map(tuple, written))


def _done_values(
    row: Advance | Finish | Fork | Arrive, seq: int, worker_id: int, now: datetime
) -> dict[str, Any]:
    done = row.done
    return {
        "job_id": row.claim.job_id,
        "branch": row.claim.branch,
        "fence": row.claim.fence,
        "seq": seq,
        "step": done.step,
        "attempt": done.attempt,
        "output": done.output,
        "degraded": done.degraded,
        "warnings": done.warnings,
        "metadata": done.metadata,
        "step_started_at": done.started_at,
        "worker_id": worker_id,
        "now": now,
    }


async def find_checkpoints(conn: Connection, rows: Sequence[Advance | Fork | Spread | Arrive]) -> set[int]:
    """Return the positions of those whose checkpoint stands: their commit landed."""
    found = await fetch(
        conn,
        _SQL["find_checkpoint"],
        job_ids=[row.claim.job_id for row in rows],
        fences=[row.claim.fence for row in rows],
        steps=[row.done.step for row in rows],
    )
    return {row["number"] - 1 for row in found}


async def has_checkpoint(conn: Connection, job_id: int, fence: int, step: str) -> bool:
    """Return whether a checkpoint of this step stands that was reached under this lease."""
    found = await fetch(conn, _SQL["find_checkpoint"], job_ids=[job_id], fences=[fence], steps=[step])
    return bool(found)


async def find_leases(conn: Connection, keys: Sequence[tuple[int, int, int]]) -> set[int]:
    """Return the positions of the (job, branch, fence) whose lease still holds; waits for a commit under way.

    What such a commit wrote is seen by the next statement.
    """
    found = await fetch(
        conn,
        _SQL["find_leases"],
        job_ids=[key[0] for key in keys],
        branches=[key[1] for key in keys],
        fences=[key[2] for key in keys],
    )
    return {row["number"] - 1 for row in found}


async def find_ends(conn: Connection, keys: Sequence[tuple[int, int, int]]) -> set[int]:
    """Return the positions of the (job, branch, fence) whose lease ended its job."""
    found = await fetch(
        conn, _SQL["find_ends"], job_ids=[key[0] for key in keys], fences=[key[2] for key in keys]
    )
    return {row["number"] - 1 for row in found}
