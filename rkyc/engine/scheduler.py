"""Starts the jobs of schedules: one per tick in the fleet, by whichever process comes first.

Every process hears of the next tick with its beat and wakes exactly then. Firing is one transaction:
lock a due schedule that nobody else has locked, take its ticks, enqueue their jobs, advance to the next
tick. A process that dies in between leaves nothing behind, and another one fires. There is no leader.
What is to be fired is decided in flow/schedule.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.payloads import Payloads, hold_blobs
from rkyc.flow import payload
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.flow.schedule import Timing, choose_starts, decide_firing
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import jobs, schedules
from rkyc.store.queue.jobs import NewJobs
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# How long a tick that was fired is known by name.
FIRES_KEPT_DAYS = 30
# The least pause before a look at a tick that another process is just firing. Seconds.
LOOK_PAUSE_S = 0.05
# Where a tick stays due it doubles up to this: what the job before did may take long to be undone. Seconds.
LOOK_PAUSE_S_MAX = 1.0
# Without any schedule: the beat says when there is one. Seconds.
IDLE_S = 3600.0


class Scheduler:
    """The schedules as one worker serves them; `wake` has `run_once` called, `cancel` ends a job for a reason."""

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        payloads: Payloads,
        cancel: Callable[..., Awaitable[Any]],
    ) -> None:
        self._pool = pool
        self._payloads = payloads
        self._clock = clock
        self._cancel = cancel
        self._alarm: asyncio.TimerHandle | None = None
        self._pause_s = LOOK_PAUSE_S
        # By the loop's clock: beats that come meanwhile must not put the look off.
        self._look_at = 0.0
        # Before the first beat the clock is this machine's own.
        self._has_clock = False
        self.wake: Callable[[], None] = lambda: None

    def note(self, next_fire: datetime | None) -> None:
        """Wake when the next tick is due; told with every beat."""
        self._has_clock = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if next_fire is not None:
            loop = asyncio.get_running_loop()
            due_s = (next_fire - self._clock.now()).total_seconds()
            self._alarm = loop.call_later(max(LOOK_PAUSE_S, due_s, self._look_at - loop.time()), self.wake)

    def close(self) -> None:
        """Wake no more."""
        if self._alarm is not None:
            self._alarm.cancel()

    async def run_once(self) -> float:
        """Fire all that is due and set the alarm for what comes next."""
        if not self._has_clock:
            return IDLE_S
        has_fired = False
        while await self.fire_next(self._clock.now()):
            has_fired = True
        async with self._pool.connection() as conn:
            next_fire = await schedules.find_next_fire(conn)
        is_stuck = not has_fired and next_fire is not None and next_fire <= self._clock.now()
        self._pause_s = min(2 * self._pause_s, LOOK_PAUSE_S_MAX) if is_stuck else LOOK_PAUSE_S
        self._look_at = asyncio.get_running_loop().time() + self._pause_s
        self.note(next_fire)
        return IDLE_S

    async def fire_next(self, now: datetime) -> bool:
        """Fire the schedule that has been due for longest; False: none is due that nobody else fires."""
        async with self._pool.transaction() as conn:
            row = await schedules.lock_due_schedule(conn, now)
            if row is None:
                return False
            open_jobs = []
            if row["overlap"] in ("skip", "cancel"):
                open_jobs = await schedules.list_open_jobs(conn, row["name"])
            if not open_jobs or row["overlap"] != "cancel":
                await self._fire(conn, row, now, is_busy=bool(open_jobs))
                return True
        # A cancel takes transactions of its own. Whoever comes next finds no open job, and fires; one that is being undone
        # is waited for (`lock_due_schedule`).
        for job_id in open_jobs:
            reason = f"the next tick of schedule {row['name']} is due"
            await self._cancel(job_id, reason, stops_undo=False)
        return True

    async def _fire(self, conn: Connection, row: Record, now: datetime, *, is_busy: bool) -> None:
        name: str = row["name"]
        firing = decide_firing(
            timing_of(row),
            due_at=row["next_fire"],
            now=now,
            catch_up=row["catch_up"],
            catch_up_max=row["catch_up_max"],
        )
        refusal = None
        for tick in choose_starts(firing.ticks, row["overlap"], is_busy=is_busy):
            job_id = new_job_id()
            if not await schedules.take_tick(conn, schedule=name, tick=tick, job_uuid=job_id, by_hand=False):
                continue
            if await enqueue_tick(conn, self._payloads, row, tick, job_id):
                if row["overlap"] == "queue":
                    await schedules.hold_for_turn(conn, schedule=name, job_uuid=job_id, tick=tick)
                _log.debug(events.SCHEDULE_FIRED, schedule=name, tick=tick.isoformat(), job_id=str(job_id))
                continue
            await schedules.give_tick_back(conn, schedule=name, tick=tick)
            refusal = f"no pipeline {row['pipeline']!r}, or no lane {row['lane']!r}, on this database"
            _log.warning(events.SCHEDULE_REFUSED, schedule=name, tick=tick.isoformat(), error=refusal)
        if row["overlap"] == "queue":
            await schedules.pass_turn(conn, name)
        await schedules.advance_schedule(
            conn,
            name=name,
            next_fire=firing.next_at,
            last_fire=firing.ticks[-1] if firing.ticks else None,
            last_error=refusal,
        )
        await schedules.drop_old_fires(conn, schedule=name, before=now - timedelta(days=FIRES_KEPT_DAYS))


async def enqueue_tick(
    conn: Connection, payloads: Payloads, row: Record, tick: datetime, job_id: UUID, **metadata: Any
) -> bool:
    """Enqueue the job of a tick; False: pipeline or lane are not known."""
    told = {"schedule": row["name"], "tick": tick.astimezone(UTC).isoformat(), **metadata}
    # A person's own start takes no turn.
    takes_turn = row["overlap"] == "queue" and not metadata
    traits = {"on_end": ["turn"], "schedule": row["name"]} if takes_turn else None
    new = NewJobs(
        row["pipeline"],
        row["lane"],
        metadata=payload.encode(told),
        traits=payload.encode(traits) if traits else None,
    )
    wrapped = await payloads.wrap(row["input"], "")
    _, count = await jobs.enqueue_jobs(conn, new, [job_id], [wrapped.text], tells=True)
    if count == 1:
        await hold_blobs(conn, [(job_id, wrapped.blob)])
    return count == 1


def timing_of(row: Record) -> Timing:
    """Return the ticks of a stored schedule."""
    return Timing(row["cron"], row["interval_s"], row["time_zone"])


def new_job_id() -> UUID:
    """Return a fresh public id."""
    return make_uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES))
