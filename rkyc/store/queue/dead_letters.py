"""Dead letters: jobs that failed for good, expired or were poison; kept, started again, archived, dropped.

One row per job, so that its next failure finds how often it was started again. The policy of a lane stands
in its row of `lane` (flow/lane.py). Moves are single statements: whoever is killed in one has done nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.queue import deadlines, jobs, uniques
from rkyc.store.statements import load

_SQL = load(__file__)

# Dead letters that a person may still move.
OPEN_STATES = ("dead", "archived")
COUNTED_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; None: any. `ids` are their numbers."""

    states: tuple[str, ...] = OPEN_STATES
    ids: tuple[int, ...] | None = None
    queue: str | None = None
    fingerprint: str | None = None
    error_code: str | None = None
    reason: str | None = None
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class Requeued:
    """What was started again: dead letters by number, and the lanes of the tasks."""

    ids: list[int]
    lanes: list[str]


async def bury_job(
    conn: Connection,
    *,
    job_id: int,
    lane: str,
    step: str,
    reason: str,
    error_code: str,
    error_class: str,
    error_message: str,
    fingerprint: str,
    now: datetime | None,
) -> str:
    """Write the dead letter of a job that failed in this transaction (`now`: the database's time unless told).

    Return its state: dead or archived.
    """
    state: str = await fetch_value(
        conn,
        _SQL["bury_job"],
        job_id=job_id,
        lane=lane,
        step=step,
        reason=reason,
        error_code=error_code,
        error_class=error_class,
        error_message=error_message,
        fingerprint=fingerprint,
        now=now,
    )
    return state


async def list_dead_letters(
    conn: Connection,
    *,
    state: str = "dead",
    queue: str | None = None,
    fingerprint: str | None = None,
    error_code: str | None = None,
    reason: str | None = None,
    pipeline: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Record]:
    """Return rows of the view `dead_letters` in one state, the last failure first; `before` ends the page before."""
    return await fetch(
        conn,
        _SQL["list_dead_letters"],
        state=state,
        queue=queue,
        fingerprint=fingerprint,
        error_code=error_code,
        reason=reason,
        pipeline=pipeline,
        before=before,
        limit=limit,
    )


async def list_groups(
    conn: Connection, *, state: str = "dead", queue: str | None = None, limit: int = 50
) -> list[Record]:
    """Return one row for each fingerprint: queue, step, error_code, count, first_at, last_at, error_message, …"""
    return await fetch(conn, _SQL["list_groups"], state=state, queue=queue, limit=limit)


async def count_matching(conn: Connection, wanted: Filter) -> int:
    """Return how many dead letters a filter fits (at most a million are counted)."""
    count: int = await fetch_value(conn, _SQL["list_matching"], **asdict(wanted), limit=COUNTED_MAX)
    return count


async def list_ids(conn: Connection, wanted: Filter, *, after: int, limit: int) -> list[int]:
    """Return the numbers of dead letters that a filter fits, ascending, above `after`."""
    rows = await fetch(conn, _SQL["list_ids"], **asdict(wanted), after=after, limit=limit)
    return [row["id"] for row in rows]


async def find_of_job(conn: Connection, uuid: UUID) -> int | None:
    """Return the number of a job's dead letter."""
    number: int | None = await fetch_value(conn, _SQL["find_of_job"], uuid=uuid)
    return number


async def read_dead_letter(conn: Connection, id: int) -> Record | None:
    """Return a dead letter with its job's input, error_details and open_tasks (JSON text)."""
    return await fetch_row(conn, _SQL["read_dead_letter"], id=id)


async def lock_of_job(conn: Connection, job_id: int) -> None:
    """Lock the dead letter of a job for this transaction, if it has one."""
    await fetch(conn, _SQL["lock_of_job"], job_id=job_id)


async def requeue_dead_letters(conn: Connection, ids: Sequence[int], *, counts: bool = False) -> Requeued:
    """Start failed jobs again at the steps that were left; `counts`: it is one of the lane's tries.

    Call it in a transaction. What is no longer dead or archived, or held by another process, is left out, and so is a job
    whose deadline has passed or whose unique key another one holds: for the lane that is a try too, or such jobs would
    take the place of others.
    """
    done = Requeued([], [])
    letters = await fetch(conn, _SQL["lock_dead_letters"], ids=ids)
    passed = await deadlines.find_passed_deadlines(conn, [row["job_id"] for row in letters])
    for row in letters:
        may_start = row["job_id"] not in passed and await uniques.take_key_again(conn, row["job_id"]) is None
        lanes = await jobs.retry_job(conn, job_id=row["job_id"]) if may_start else []
        if lanes:
            done.ids.append(row["id"])
            done.lanes.extend(lanes)
        if counts and (lanes or not may_start):
            await fetch(conn, _SQL["count_try"], id=row["id"])
    return done


async def discard_dead_letters(conn: Connection, ids: Sequence[int]) -> list[int]:
    """Set dead letters aside for good; return the numbers of those that were. Call it in a transaction."""
    locked = [row["id"] for row in await fetch(conn, _SQL["lock_dead_letters"], ids=ids)]
    for number in locked:
        await fetch(conn, _SQL["discard_dead_letter"], id=number)
    return locked


async def find_chores(conn: Connection) -> Record:
    """Return (redrive_at, expires_at): the next run of any lane, the first end of a dead letter's time."""
    row = await fetch_row(conn, _SQL["find_chores"])
    assert row is not None
    return row


async def take_due_runs(conn: Connection, now: datetime) -> list[Record]:
    """Take the runs that are due, for this transaction: lane, redrive_at_most, redrive_times."""
    return await fetch(conn, _SQL["take_due_runs"], now=now)


async def find_due_dead_letters(
    conn: Connection, *, lane: str, at_most: int, times: int, now: datetime
) -> list[int]:
    """Lock the oldest dead letters of a lane for this transaction and return their numbers."""
    rows = await fetch(conn, _SQL["find_due_dead_letters"], lane=lane, at_most=at_most, times=times, now=now)
    return [row["id"] for row in rows]


async def drop_expired_dead_letters(conn: Connection, *, now: datetime, limit: int) -> list[str]:
    """Remove dead letters that were kept long enough; return the queue of each."""
    rows = await fetch(conn, _SQL["drop_expired_dead_letters"], now=now, limit=limit)
    return [row["queue"] for row in rows]
