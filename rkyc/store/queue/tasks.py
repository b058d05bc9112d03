"""Moves of tasks between the hot tables; each statement names its move in `tasks.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """What one claim took; `xmin` of its snapshot and the `bound` that a later one must reach (flow/cursor.py)."""

    claims: list[Claim]
    xmin: int
    bound: int


async def claim_tasks(
    conn: Connection, *, lane: str, after: int, slots: int, worker_id: int, now: datetime
) -> ClaimAnswer:
    """Take at most `slots` ready tasks of a lane, oldest first, those above the cursor `after`."""
    rows = await fetch(
        conn, _SQL["claim_tasks"], lane=lane, after=after, slots=slots, worker_id=worker_id, now=now
    )
    # The cursor's two columns come first; then those of Claim, in their order.
    first = rows[0]
    return ClaimAnswer(
        [Claim(*row[2:]) for row in rows if row[2] is not None], first[0], max(row[1] for row in rows)
    )


async def claim_parked_tasks(
    conn: Connection,
    *,
    wake_keys: Sequence[str],
    lanes: Sequence[str],
    slots: int,
    worker_id: int,
    now: datetime,
) -> list[Claim]:
    """Take tasks that other workers could not serve and this one can (`pipeline@version`)."""
    rows = await fetch(
        conn,
        _SQL["claim_parked_tasks"],
        wake_keys=wake_keys,
        lanes=lanes,
        slots=slots,
        worker_id=worker_id,
        now=now,
    )
    return [Claim(*row) for row in rows]


async def claim_suspect(
    conn: Connection, *, wake_keys: Sequence[str], lanes: Sequence[str], worker_id: int, now: datetime
) -> Claim | None:
    """Take one task that was seen in two crashes, to run it alone."""
    row = await fetch_row(
        conn, _SQL["claim_suspect"], wake_keys=wake_keys, lanes=lanes, worker_id=worker_id, now=now
    )
    if row is None:
        return None
    claim = Claim(*row)
    claim.is_alone = True
    return claim


async def release_tasks(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[Record]:
    """Give tasks back uncharged; a row holds job_id, branch, fence, lane, step, events and both attempts.

    Return (job_id, branch) of those whose lease still held.
    """
    columns = ("job_id", "branch", "fence", "lane", "step", "events", "error_attempts", "crash_attempts")
    plural = ("job_ids", "branches", "fences", "lanes", "steps", "events", "error_attempts", "crash_attempts")
    values = {name: [row[column] for row in rows] for name, column in zip(plural, columns, strict=True)}
    return await fetch(conn, _SQL["release_tasks"], **values)


async def release_orphans(conn: Connection, worker_id: int, orphans: Sequence[tuple[int, int, int]]) -> int:
    """Give back leases (job, branch, fence) that this worker holds without knowing; return how many.

    Call it in a transaction: it locks the leases first.
    """
    keys = {
        "job_ids": [orphan[0] for orphan in orphans],
        "branches": [orphan[1] for orphan in orphans],
        "fences": [orphan[2] for orphan in orphans],
    }
    await fetch(conn, _SQL["lock_orphans"], **keys)
    moved = await fetch(
        conn,
        _SQL["release_orphans"],
        worker_id=worker_id,
        **keys,
    )
    return len(moved)


async def promote_due_tasks(conn: Connection, now: datetime) -> list[str]:
    """Make scheduled tasks ready whose time has come (at most 1,000); return their lanes."""
    return [row["lane"] for row in await fetch(conn, _SQL["promote_due_tasks"], now=now)]


async def find_oldest_lane(conn: Connection, lanes: Sequence[str], afters: Sequence[int]) -> str | None:
    """Return the lane whose first task above its cursor has waited longest, or None when all are empty."""
    lane: str | None = await fetch_value(conn, _SQL["find_oldest_lane"], lanes=lanes, afters=afters)
    return lane


async def list_held_tasks(conn: Connection, worker_id: int) -> set[tuple[int, int, int]]:
    """Return (job, branch, fence) of every lease of a worker."""
    rows = await fetch(conn, _SQL["list_held_tasks"], worker_id=worker_id)
    return {(row["job_id"], row["branch"], row["fence"]) for row in rows}
