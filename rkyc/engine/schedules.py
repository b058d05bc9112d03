"""What people and programs do with schedules: declare, add, list, run now, pause, resume, remove.

The workers fire them (scheduler.py); everything here is one short transaction by the client's pool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from rkyc.engine.payloads import Payloads
from rkyc.engine.scheduler import enqueue_tick, new_job_id, timing_of
from rkyc.errors import ConflictError, NotFoundError, UnknownLaneError, UnknownPipelineError
from rkyc.flow.pipeline import Registry
from rkyc.flow.schedule import Schedule
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import audit, jobs, pipelines, schedules


async def declare_schedules(conn: Connection, registry: Registry) -> None:
    """Write the schedules of a registry; a person's pause stays, and so does the next tick of what did not change."""
    for schedule in registry.schedules:
        now = await schedules.read_clock(conn)
        await schedules.declare_schedule(conn, schedule, next_fire=schedule.timing.next_after(now))


class Schedules:
    """The schedules of a database; `Client.schedules`. `by` names who acts, for the audit trail."""

    def __init__(self, open_pool: Callable[[], Awaitable[Pool]], payloads: Payloads) -> None:
        self._open_pool = open_pool
        self._payloads = payloads

    async def list(self) -> list[Record]:
        """Return the rows of `schedule_status`, by name."""
        async with (await self._open_pool()).connection() as conn:
            return await schedules.list_schedules(conn)

    async def add(self, schedule: Schedule, *, by: str = "client") -> None:
        """Add a schedule; its first tick is the next one.

        Raises:
            ConflictError: the name is taken.
            UnknownPipelineError, UnknownLaneError
        """
        async with (await self._open_pool()).transaction() as conn:
            await _check_target(conn, schedule)
            next_fire = schedule.timing.next_after(await schedules.read_clock(conn))
            if not await schedules.add_schedule(conn, schedule, next_fire=next_fire):
                raise ConflictError(
                    f"a schedule {schedule.name!r} is there already: remove it first, or take another name"
                )
            await _note(conn, by, "add", schedule.name)

    async def run(self, name: str, *, by: str = "client") -> UUID:
        """Start a job of a schedule now, whatever else of it runs, and return its id; the ticks stay as they are.

        Raises:
            NotFoundError
            UnknownPipelineError: or its lane is not known on this database.
        """
        async with (await self._open_pool()).transaction() as conn:
            row = await schedules.lock_schedule(conn, name)
            if row is None:
                raise _not_found(name)
            job_id, now = new_job_id(), await schedules.read_clock(conn)
            await schedules.take_tick(conn, schedule=name, tick=now, job_uuid=job_id, by_hand=True)
            if not await enqueue_tick(conn, self._payloads, row, now, job_id, by_hand=True):
                raise UnknownPipelineError(
                    f"schedule {name}: no pipeline {row['pipeline']!r}, or no lane {row['lane']!r}, on this database"
                )
            await _note(conn, by, "run", name)
            return job_id

    async def pause(self, name: str, *, by: str = "client") -> None:
        """Let the ticks pass until `resume`.

        Raises:
            NotFoundError
        """
        async with (await self._open_pool()).transaction() as conn:
            if not await schedules.pause_schedule(conn, name):
                raise _not_found(name)
            await _note(conn, by, "pause", name)

    async def resume(self, name: str, *, by: str = "client") -> None:
        """Go on at the next tick; those that passed during the pause are not caught up.

        Raises:
            NotFoundError
        """
        async with (await self._open_pool()).transaction() as conn:
            row = await schedules.lock_schedule(conn, name)
            if row is None:
                raise _not_found(name)
            next_fire = timing_of(row).next_after(await schedules.read_clock(conn))
            if await schedules.resume_schedule(conn, name, next_fire=next_fire):
                await _note(conn, by, "resume", name)

    async def remove(self, name: str, *, by: str = "client") -> None:
        """Remove a schedule; its jobs stay, and those that wait for a turn still begin one after the other.

        One that code declares comes back with the next worker: pause it.

        Raises:
            NotFoundError
        """
        async with (await self._open_pool()).transaction() as conn:
            if not await schedules.remove_schedule(conn, name):
                raise _not_found(name)
            await _note(conn, by, "remove", name)


async def _check_target(conn: Connection, schedule: Schedule) -> None:
    await pipelines.read_graph(conn, schedule.pipeline)
    lanes = await jobs.list_lanes(conn)
    if schedule.lane not in lanes:
        raise UnknownLaneError(f"no lane is called {schedule.lane!r}: expected one of {', '.join(lanes)}")


async def _note(conn: Connection, by: str, action: str, name: str) -> None:
    await audit.write_entry(conn, who=by, action=f"schedule.{action}", kind="schedule", object=name)


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(f"no schedule is called {name!r}: `rkyc schedules list` shows those that there are")
