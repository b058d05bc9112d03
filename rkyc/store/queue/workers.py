"""Workers: their registration, their beat, and what becomes of the tasks of the dead."""

from __future__ import annotations

from collections.abc import Sequence

from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def register_worker(
    conn: Connection,
    *,
    name: str,
    host: str,
    pid: int,
    version: str,
    lanes: Sequence[str],
    slots: int,
    for_suspects: bool,
) -> int:
    """Add a worker and return its id, which is never used again."""
    worker_id: int = await fetch_value(
        conn,
        _SQL["register_worker"],
        name=name,
        host=host,
        pid=pid,
        version=version,
        lanes=lanes,
        slots=slots,
        for_suspects=for_suspects,
    )
    return worker_id


async def restore_worker(
    conn: Connection,
    *,
    worker_id: int,
    name: str,
    host: str,
    pid: int,
    version: str,
    lanes: Sequence[str],
    slots: int,
    for_suspects: bool,
    has_presence: bool,
) -> None:
    """Put back the row of a worker that slept for so long that it was removed: without, nobody watches it."""
    await fetch(
        conn,
        _SQL["restore_worker"],
        worker_id=worker_id,
        name=name,
        host=host,
        pid=pid,
        version=version,
        lanes=lanes,
        slots=slots,
        for_suspects=for_suspects,
        has_presence=has_presence,
    )


async def end_worker(conn: Connection, worker_id: int) -> None:
    """Say that a worker went away in good order."""
    await fetch(conn, _SQL["end_worker"], worker_id=worker_id)


async def mark_presence(conn: Connection, worker_id: int) -> None:
    """Say that the worker's presence connection stands."""
    await fetch(conn, _SQL["mark_presence"], worker_id=worker_id)


async def beat(
    conn: Connection,
    *,
    worker_id: int,
    busy: int,
    lanes: Sequence[str],
    afters: Sequence[int],
    wake_keys: Sequence[str],
    beat_s: float,
    looks_deep: bool,
    looks_at_horizon: bool,
) -> Record:
    """Renew the beat and return, in one row, all that an idle process wants to know.

    `afters` are the cursors of the lanes; with `looks_deep` the counts of leases are there, else None.

    now, next_due_at, next_fire (of a schedule), last_broadcast, ready_lanes, others_running, parked, suspects, workers, held (leases of this worker),
    pauses and resumed (`kind:name`), is_known (False: its row was removed), horizon_holder (None: nobody, or not looked).
    """
    row = await fetch_row(
        conn,
        _SQL["beat"],
        worker_id=worker_id,
        busy=busy,
        lanes=lanes,
        afters=afters,
        wake_keys=wake_keys,
        beat_s=beat_s,
        looks_deep=looks_deep,
        looks_at_horizon=looks_at_horizon,
    )
    assert row is not None
    return row


async def watch_workers(
    conn: Connection, *, worker_id: int, restart_grace_s: float, looks_deep: bool
) -> list[Record]:
    """Return the other workers: id, name, is_present, has_presence, may_judge, beat_age_s.

    Those that ended and left tasks behind are among them only with `looks_deep`.
    """
    return await fetch(
        conn,
        _SQL["watch_workers"],
        worker_id=worker_id,
        restart_grace_s=restart_grace_s,
        looks_deep=looks_deep,
    )


async def find_running_of_others(conn: Connection, worker_id: int) -> bool:
    """Return whether any other worker holds a task."""
    return bool(await fetch_value(conn, _SQL["find_running_of_others"], worker_id=worker_id))


async def reclaim_tasks(
    conn: Connection, *, worker_ids: Sequence[int], frozen_after_s: float
) -> list[Record]:
    """Take the tasks of workers that are gone; return (worker_id, worker, tasks, suspects) of each.

    It looks again whether they are gone, by presence or by a beat older than `frozen_after_s`. Call it
    in a transaction: it locks the tasks first.
    """
    locked = await fetch(conn, _SQL["lock_tasks_of_workers"], worker_ids=worker_ids)
    return await fetch(
        conn,
        _SQL["reclaim_tasks"],
        worker_ids=worker_ids,
        frozen_after_s=frozen_after_s,
        job_ids=[row["job_id"] for row in locked],
        branches=[row["branch"] for row in locked],
    )


async def read_horizon_holder(conn: Connection, holder: str) -> Record | None:
    """Return the row of `horizon_holder` that a beat named; None: it is gone."""
    return await fetch_row(conn, _SQL["read_horizon_holder"], holder=holder)


async def prune_workers(conn: Connection, *, kept_days: int) -> int:
    """Remove the rows of workers that are long gone and that no kept job names; return how many."""
    return len(await fetch(conn, _SQL["prune_workers"], kept_days=kept_days))


async def ping(conn: Connection) -> None:
    """Find out whether the connection still leads anywhere."""
    await fetch(conn, _SQL["ping"])
