"""The kit: runs a user's pipelines to their end in the test's own process, on real Postgres.

The engine is the real one: claims, leases, checkpoints, retries, recovery. Three things are the
test's: the clock jumps over every wait, a worker can die at a named step, and resources are given by
type. Between two calls nothing is open, so that any way of running async tests will do.

A registry counts whole: its schedules tick and its lanes expire and redrive on the test's clock, its handlers
get every event once over all workers of the kit. No call without a bound goes on for the sake of a tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rkyc.engine.client import Client
from rkyc.engine.schedules import declare_schedules
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.engine.worker import WorkerOptions
from rkyc.flow import payload
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import jobs, pipelines, trials
from rkyc.telemetry.metrics import Metrics
from rkyc.testing.clock import VirtualClock
from rkyc.testing.crash import Crash, MortalPool, MortalWorker
from rkyc.testing.runs import JobRun, Ran, StepRun, When

# Everything that the engine waits for in seconds takes hundredths here.
_QUICK = UpkeepOptions(beat_s=0.1, poll_s=0.05, deaf_poll_s=0.05, absence_s=0.05, restart_grace_s=0.5)
# Between two looks at the queue, and how long a standstill must last where something may still wake the tasks. Seconds.
_LOOK_S = 0.005
_SETTLE_S = 0.3


class Kit:
    """One migrated database and the workers that a test runs on it.

    `clock` is the time that the workers see. `patience_s`: real seconds after which a run that does
    not come to a standstill fails the test.
    """

    def __init__(self, dsn: str, *, patience_s: float = 30.0) -> None:
        self.dsn = dsn
        self.clock = VirtualClock()
        self.patience_s = patience_s
        self.attempts: list[Ran] = []
        self._resources: dict[type, Any] = {}
        self._limits: dict[str, int] = {}
        self._registry = Registry()
        self._crashes: list[Crash] = []
        # How far each listener of the registry has come, and what the database was told of the clock.
        self._places: list[int | None] = []
        self._told_offset_s = 0.0

    def add(self, *defined: Pipeline | Registry | Iterable[Pipeline]) -> None:
        """Serve these pipelines, or all that a registry declares, in every run from now on.

        Of one name and version, what was added last counts.
        """
        for one in defined:
            if isinstance(one, Registry):
                self._registry = self._registry.overlay(one)
            else:
                added = [one] if isinstance(one, Pipeline) else one
                self._registry = self._registry.overlay(Registry(added))

    def provide(self, resource: Any, *, as_type: type | None = None) -> None:
        """Give what steps get by `ctx.use(TYPE)`; `as_type` where a fake stands for another type."""
        self._resources[as_type or type(resource)] = resource

    def limit(self, **sizes: int) -> None:
        """Bound the steps that name a limit, as the settings of a worker do."""
        self._limits.update(sizes)

    def crash_at(self, step: str, when: When = "before_commit", *, times: int = 1) -> None:
        """Let the worker die when this step is about to commit, or just has; another worker goes on.

        A run in which it was not reached fails the test.
        """
        self._crashes.append(Crash(step, when, times))

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Lend a client on the kit's database."""
        if self.clock.offset_s != self._told_offset_s:
            async with self._open_pool() as pool, pool.connection() as conn:
                await self._tell_time(conn)
        async with Client(self.dsn) as client:
            yield client

    async def enqueue(self, pipeline: Pipeline | str, input: Any, **options: Any) -> UUID:
        """Enqueue a job and run nothing; options are those of `Client.enqueue`."""
        if isinstance(pipeline, Pipeline):
            self.add(pipeline)
        async with self._open_pool() as pool, pool.connection() as conn:
            await self._announce(conn)
        async with self.client() as client:
            name = pipeline if isinstance(pipeline, str) else pipeline.name
            return await client.enqueue(name, input, **options)

    async def run_inline(self, pipeline: Pipeline | str, input: Any, **options: Any) -> JobRun:
        """Enqueue a job, run it to its end, and return how it ended; options are those of `Client.enqueue`.

        A job that waits for something that no clock brings (a signal, a person) comes back pending.

        Raises:
            AssertionError: no standstill within `patience_s`, or a crash that was asked for did not come.
        """
        job_id = await self.enqueue(pipeline, input, **options)
        await self._run(job_id, None)
        return await self.read(job_id)

    async def drain(self, *, within_s: float | None = None) -> list[JobRun]:
        """Run all jobs of the database until none can go on by itself, and return those that had not ended before.

        The clock jumps from wait to wait; with `within_s` at most so far, and to that very moment. Only then it
        stops at what comes again and again: ticks of schedules, whose jobs are returned too, and redrives of dead
        letters. Without, those come that are due already, or that a jump passes over.

        Raises:
            AssertionError: as `run_inline`.
        """
        async with self._open_pool() as pool:
            async with pool.connection() as conn:
                await self._announce(conn)
                wanted, ticked = await trials.list_unfinished(conn), await trials.list_ticked(conn)
            limit = None if within_s is None else self.clock.now() + timedelta(seconds=within_s)
            await self._run(None, limit)
            async with pool.connection() as conn:
                known = {*wanted, *ticked}
                wanted += [job_id for job_id in await trials.list_ticked(conn) if job_id not in known]
            # One whose time to be kept is over is gone.
            runs = [await self._find(pool, job_id) for job_id in wanted]
        return [run for run in runs if run is not None]

    async def read(self, job_id: UUID) -> JobRun:
        """Return a job as it is now."""
        async with self._open_pool() as pool:
            run = await self._find(pool, job_id)
        assert run is not None, f"no job {job_id}"
        return run

    async def assert_enqueued(
        self, pipeline: Pipeline | str, input: Any = ..., *, lane: str | None = None, count: int | None = None
    ) -> None:
        """Fail unless a job of the pipeline was enqueued, with this input and lane where they are given.

        An input that is an object needs to hold what is given, and may hold more. `count`: so many, exactly.

        Raises:
            AssertionError: naming what was enqueued instead.
        """
        name = pipeline if isinstance(pipeline, str) else pipeline.name
        async with self._open_pool() as pool, pool.connection() as conn:
            rows = await trials.list_enqueued(conn, name)
        found = [(payload.decode(row["input"]), row["lane"]) for row in rows]
        wanted = None if input is ... else payload.decode(payload.encode(input))
        hits = [one for one in found if (input is ... or _holds(one[0], wanted)) and lane in (None, one[1])]
        if len(hits) == count or (count is None and hits):
            return
        asked = "" if input is ... else f" with {wanted!r}"
        asked += "" if lane is None else f" in lane {lane}"
        expected = "at least one job" if count is None else f"{count} job(s)"
        shown = "; ".join(f"{value!r} in {where}" for value, where in found[:10]) or "none"
        raise AssertionError(
            f"expected {expected} of {name}{asked}, found {len(hits)}; enqueued were: {shown}"
        )

    async def _announce(self, conn: Connection) -> None:
        """Write what the registry declares, as a worker does when it starts."""
        await self._tell_time(conn)
        await pipelines.register_pipelines(conn, self._registry)
        await declare_schedules(conn, self._registry)

    async def _tell_time(self, conn: Connection) -> None:
        """Have jobs be born at the kit's time, whoever enqueues them."""
        offset_s = self.clock.offset_s
        if offset_s != self._told_offset_s:
            await trials.shift_new_jobs(conn, offset_s)
            self._told_offset_s = offset_s

    async def _run(self, awaited: UUID | None, limit: datetime | None) -> None:
        """Run workers, one after the other, until the awaited job has ended or nothing can go on by itself."""
        give_up_at = time.monotonic() + self.patience_s
        async with self._open_pool() as looker:
            while not await self._run_worker(looker, awaited, limit, give_up_at):
                pass
            missed = [crash for crash in self._crashes if crash.left]
            self._crashes = []
            if missed:
                raise AssertionError(
                    f"crash_at({missed[0].step!r}, {missed[0].when!r}) was not reached: the run ended before"
                )

    async def _run_worker(
        self, looker: Pool, awaited: UUID | None, limit: datetime | None, give_up_at: float
    ) -> bool:
        """Run one worker until the standstill; False: it died, and another one must go on."""
        pool = await MortalPool.open(self.dsn, application_name="rkyc trial")
        try:
            worker = MortalWorker(
                on_outcome=self.attempts.append,
                take_crash=self._take_crash,
                places=self._places,
                pool=pool,
                registry=self._registry,
                resources={Pool: pool, **self._resources},
                metrics=Metrics(),
                options=WorkerOptions(slots=20, grace_s=1.0, limits=self._limits, upkeep=_QUICK),
                clock=self.clock,
            )
            running = asyncio.create_task(worker.run())
            try:
                return await self._watch(looker, worker, running, awaited, limit, give_up_at)
            finally:
                await _end(worker, running)
                if worker.listeners:
                    self._places = [listener.place for listener in worker.listeners]
        finally:
            await pool.close()

    async def _watch(
        self,
        looker: Pool,
        worker: MortalWorker,
        running: asyncio.Task[None],
        awaited: UUID | None,
        limit: datetime | None,
        give_up_at: float,
    ) -> bool:
        topics = [one.topic for one in self._registry.subscriptions]
        still_since: float | None = None
        while not worker.died.is_set():
            if running.done():
                running.result()
            await asyncio.sleep(_LOOK_S)
            async with looker.connection() as conn:
                # Before the look at events: those of its last step come with its end.
                has_ended = awaited is not None and await jobs.read_end(conn, awaited) is not None
                state = await trials.read_standstill(
                    conn,
                    lanes=worker.lanes,
                    wake_keys=worker.wake_keys,
                    topics=topics,
                    places=[one.place for one in worker.listeners] or [None] * len(topics),
                    now=self.clock.now(),
                )
                if has_ended and not state["has_untold"]:
                    return True
            if time.monotonic() > give_up_at:
                raise AssertionError(
                    f"no standstill after {self.patience_s:g} s of real time: does a body sleep by itself, or wait for ever, "
                    "or does a handler of events fail each time?"
                )
            if not worker.ready.is_set() or state["is_busy"] or state["has_parked"]:
                still_since = None
                continue
            still_since = still_since or time.monotonic()
            if state["has_waiting"] and time.monotonic() - still_since < _SETTLE_S:
                # What ended a moment ago may wake it.
                continue
            if not self._jump(state, limit):
                return True
            async with looker.connection() as conn:
                await self._tell_time(conn)
            worker.wake()
        return False

    def _jump(self, state: Record, limit: datetime | None) -> bool:
        """Set the clock forward to what is due next; False: nothing is, up to the limit."""
        # Ticks have no end: only a limit makes it stop at each.
        instants = [state["next_due_at"], state["next_tick_at"] if limit is not None else None]
        due_at = min((one for one in instants if one is not None), default=None)
        if due_at is None or (limit is not None and due_at > limit):
            if limit is not None:
                self.clock.advance_to(limit)
            return False
        self.clock.advance_to(due_at)
        return True

    def _take_crash(self, step: str, when: When) -> bool:
        for crash in self._crashes:
            if crash.left and (crash.step, crash.when) == (step, when):
                crash.left -= 1
                return True
        return False

    async def _find(self, pool: Pool, job_id: UUID) -> JobRun | None:
        async with pool.connection() as conn:
            row = await jobs.read_job(conn, job_id)
            steps = await jobs.read_steps(conn, job_id)
        if row is None:
            return None
        return _describe(row, steps, [one for one in self.attempts if one.job_id == job_id])

    @contextlib.asynccontextmanager
    async def _open_pool(self) -> AsyncIterator[Pool]:
        pool = await Pool.open(self.dsn, application_name="rkyc kit")
        try:
            yield pool
        finally:
            await pool.close()


async def _end(worker: MortalWorker, running: asyncio.Task[None]) -> None:
    """Let a living worker drain, and bury a dead one."""
    if worker.died.is_set():
        running.cancel()
        await worker.bury()
    else:
        worker.stop()
    await asyncio.gather(running, return_exceptions=True)


def _describe(row: Record, steps: Iterable[Record], attempts: list[Ran]) -> JobRun:
    groups = payload.decode(row["warnings"]) or []
    return JobRun(
        job_id=row["job_id"],
        pipeline=row["pipeline"],
        status=row["status"],
        result=payload.decode(row["result"]),
        error_code=row["error_code"],
        error_message=row["error_message"],
        wait_reason=row["wait_reason"],
        partial=row["partial"],
        warnings=[item for group in groups for item in group["items"]],
        metadata=payload.decode(row["metadata"]),
        steps={
            one["step"]: StepRun(one["step"], one["status"], one["attempt"], one["degraded"]) for one in steps
        },
        attempts=tuple(attempts),
    )


def _holds(value: Any, wanted: Any) -> bool:
    """Return whether a JSON value is the wanted one, or an object that holds it."""
    if isinstance(value, dict) and isinstance(wanted, dict):
        return all(name in value and _holds(value[name], inner) for name, inner in wanted.items())
    return bool(value == wanted)
