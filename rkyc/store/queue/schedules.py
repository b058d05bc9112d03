"""Schedules and the ticks that started a job.

Firing is one transaction of the engine's: lock a due schedule, take each tick (its key makes a second job
impossible), enqueue, advance.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from rkyc.flow import payload
from rkyc.flow.schedule import Schedule
from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def declare_schedule(conn: Connection, schedule: Schedule, *, next_fire: datetime | None) -> bool:
    """Write a schedule of the code's; True: it is new or differs. A person's pause stays."""
    return await _write(conn, "declare_schedule", schedule, next_fire)


async def add_schedule(conn: Connection, schedule: Schedule, *, next_fire: datetime | None) -> bool:
    """Add a schedule of a person's; False: the name is taken."""
    return await _write(conn, "add_schedule", schedule, next_fire)


async def _write(conn: Connection, statement: str, schedule: Schedule, next_fire: datetime | None) -> bool:
    rows = await fetch(
        conn,
        _SQL[statement],
        name=schedule.name,
        pipeline=schedule.pipeline,
        input=payload.encode(schedule.input),
        lane=schedule.lane,
        cron=schedule.cron,
        interval_s=schedule.interval_s,
        time_zone=schedule.time_zone,
        catch_up=schedule.catch_up,
        catch_up_max=schedule.catch_up_max,
        overlap=schedule.overlap,
        next_fire=next_fire,
    )
    if rows and schedule.overlap == "queue":
        await fetch(conn, _SQL["give_turn_back"], name=schedule.name)
    return bool(rows)


async def read_clock(conn: Connection) -> datetime:
    """Return the database's time."""
    now: datetime = await fetch_value(conn, _SQL["read_clock"])
    return now


async def list_schedules(conn: Connection) -> list[Record]:
    """Return the rows of `schedule_status`, by name."""
    return await fetch(conn, _SQL["list_schedules"])


async def lock_due_schedule(conn: Connection, now: datetime) -> Record | None:
    """Lock the schedule that has been due for longest and that nobody else fires; None: none is."""
    return await fetch_row(conn, _SQL["lock_due_schedule"], now=now)


async def lock_schedule(conn: Connection, name: str) -> Record | None:
    """Lock a schedule by name, waiting for whoever fires it; None: there is none."""
    return await fetch_row(conn, _SQL["lock_schedule"], name=name)


async def lock_schedule_of_job(conn: Connection, job_id: int) -> str | None:
    """Return the name of the schedule whose turns a job takes, locked unless it was removed; None: it takes none."""
    name: str | None = await fetch_value(conn, _SQL["lock_schedule_of_job"], job_id=job_id)
    return name


async def find_next_fire(conn: Connection) -> datetime | None:
    """Return when the next schedule is due; None: none is active."""
    next_fire: datetime | None = await fetch_value(conn, _SQL["find_next_fire"])
    return next_fire


async def list_open_jobs(conn: Connection, schedule: str) -> list[UUID]:
    """Return the jobs of a schedule's last 20 ticks that have not ended."""
    return [row["job_uuid"] for row in await fetch(conn, _SQL["list_open_jobs"], schedule=schedule)]


async def take_tick(
    conn: Connection, *, schedule: str, tick: datetime, job_uuid: UUID, by_hand: bool
) -> bool:
    """Take a tick for a job that the same transaction enqueues; False: it has started one before."""
    rows = await fetch(
        conn, _SQL["take_tick"], schedule=schedule, tick=tick, job_uuid=job_uuid, by_hand=by_hand
    )
    return bool(rows)


async def hold_for_turn(conn: Connection, *, schedule: str, job_uuid: UUID, tick: datetime) -> None:
    """Let a job that this transaction enqueued wait until the one of the tick before has ended."""
    await fetch(
        conn,
        _SQL["hold_for_turn"],
        job_uuid=job_uuid,
        wake_key=_turn_key(schedule),
        detail=f"waits for the job of an earlier tick of schedule {schedule}",
        since=tick,
    )


async def pass_turn(conn: Connection, schedule: str) -> list[str]:
    """Start the job of the oldest tick that waits, if none runs; return its lane. The schedule must be locked."""
    if await fetch_value(conn, _SQL["is_turn_free"], schedule=schedule) is False:
        return []
    rows = await fetch(conn, _SQL["pass_turn"], schedule=schedule, wake_key=_turn_key(schedule))
    return [row["lane"] for row in rows]


def _turn_key(schedule: str) -> str:
    return f"schedule:{schedule}"


async def give_tick_back(conn: Connection, *, schedule: str, tick: datetime) -> None:
    """Undo `take_tick`: its job was refused."""
    await fetch(conn, _SQL["give_tick_back"], schedule=schedule, tick=tick)


async def advance_schedule(
    conn: Connection,
    *,
    name: str,
    next_fire: datetime | None,
    last_fire: datetime | None,
    last_error: str | None,
) -> None:
    """Go on to the next tick; `last_fire` is the newest that was looked at, None: it stays."""
    await fetch(
        conn,
        _SQL["advance_schedule"],
        name=name,
        next_fire=next_fire,
        last_fire=last_fire,
        last_error=last_error,
    )


async def drop_old_fires(conn: Connection, *, schedule: str, before: datetime) -> None:
    """Forget ticks from before an instant, all but the last 20."""
    await fetch(conn, _SQL["drop_old_fires"], schedule=schedule, before=before)


async def pause_schedule(conn: Connection, name: str) -> bool:
    """Let a schedule's ticks pass; False: there is none."""
    return bool(await fetch(conn, _SQL["pause_schedule"], name=name))


async def resume_schedule(conn: Connection, name: str, *, next_fire: datetime | None) -> bool:
    """Let a paused schedule go on at a tick to come; False: it was not paused."""
    return bool(await fetch(conn, _SQL["resume_schedule"], name=name, next_fire=next_fire))


async def remove_schedule(conn: Connection, name: str) -> bool:
    """Remove a schedule, its jobs stay; False: there is none."""
    return bool(await fetch(conn, _SQL["remove_schedule"], name=name))
