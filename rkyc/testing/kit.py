"""The kit: runs a user's pipelines to their end in the test's own process, on real Postgres.

The engine is the real one: claims, leases, checkpoints, retries, recovery. Three things are the
test's: the clock jumps over every wait, a worker can die at a named step, and resources are given by
type. Between two calls nothing is open, so that any way of running async tests will do.
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
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.engine.worker import WorkerOptions
from rkyc.flow import payload
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.store.pool import Pool, Record
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

    def add(self, *defined: Pipeline | Iterable[Pipeline]) -> None:
        """Serve these pipelines, or all of a registry, in every run from now on."""
        for one in defined:
            for pipeline in [one] if isinstance(one, Pipeline) else one:
                known = self._registry.get(pipeline.name, pipeline.version)
                if known is None:
                    self._registry.add(pipeline)
                elif known is not pipeline:
                    self._registry = Registry([*(p for p in self._registry if p is not known), pipeline])

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
        async with Client(self.dsn) as client:
            yield client

    async def enqueue(self, pipeline: Pipeline | str, input: Any, **options: Any) -> UUID:
        """Enqueue a job and run nothing; options are those of `Client.enqueue`."""
        await self._announce(pipeline)
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
        return (await self._run([job_id], None))[0]

    async def drain(self, *, within_s: float | None = None) -> list[JobRun]:
        """Run all jobs of the database until none can go on by itself, and return those that had not ended before.

        The clock jumps from wait to wait; with `within_s` at most so far, and to that very moment.

        Raises:
            AssertionError: as `run_inline`.
        """
        async with self._open_pool() as pool, pool.connection() as conn:
            wanted = await trials.list_unfinished(conn)
        limit = None if within_s is None else self.clock.now() + timedelta(seconds=within_s)
        return await self._run(None, limit, wanted)

    async def read(self, job_id: UUID) -> JobRun:
        """Return a job as it is now."""
        async with self._open_pool() as pool:
            return await self._read(pool, job_id)

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

    async def _announce(self, pipeline: Pipeline | str) -> None:
        if isinstance(pipeline, Pipeline):
            self.add(pipeline)
        async with self._open_pool() as pool, pool.connection() as conn:
            await pipelines.register_pipelines(conn, self._registry)

    async def _run(
        self, awaited: list[UUID] | None, limit: datetime | None, wanted: list[UUID] | None = None
    ) -> list[JobRun]:
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
            return [await self._read(looker, job_id) for job_id in awaited or wanted or ()]

    async def _run_worker(
        self, looker: Pool, awaited: list[UUID] | None, limit: datetime | None, give_up_at: float
    ) -> bool:
        """Run one worker until the standstill; False: it died, and another one must go on."""
        pool = await MortalPool.open(self.dsn, application_name="rkyc trial")
        try:
            worker = MortalWorker(
                on_outcome=self.attempts.append,
                take_crash=self._take_crash,
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
        finally:
            await pool.close()

    async def _watch(
        self,
        looker: Pool,
        worker: MortalWorker,
        running: asyncio.Task[None],
        awaited: list[UUID] | None,
        limit: datetime | None,
        give_up_at: float,
    ) -> bool:
        still_since: float | None = None
        while not worker.died.is_set():
            if running.done():
                running.result()
            await asyncio.sleep(_LOOK_S)
            async with looker.connection() as conn:
                if awaited is not None and not await _has_unfinished(conn, awaited):
                    return True
                state = await trials.read_standstill(conn, lanes=worker.lanes, wake_keys=worker.wake_keys)
            if time.monotonic() > give_up_at:
                raise AssertionError(
                    f"no standstill after {self.patience_s:g} s of real time: does a body sleep by itself, or wait for ever?"
                )
            if not worker.ready.is_set() or state["is_busy"] or state["has_parked"]:
                still_since = None
                continue
            still_since = still_since or time.monotonic()
            if state["has_waiting"] and time.monotonic() - still_since < _SETTLE_S:
                # What ended a moment ago may wake it.
                continue
            if not self._jump(state["next_due_at"], limit):
                return True
            worker.wake()
        return False

    def _jump(self, due_at: datetime | None, limit: datetime | None) -> bool:
        """Set the clock forward to what is due next; False: nothing is, up to the limit."""
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

    async def _read(self, pool: Pool, job_id: UUID) -> JobRun:
        async with pool.connection() as conn:
            row = await jobs.read_job(conn, job_id)
            steps = await jobs.read_steps(conn, job_id)
        assert row is not None, f"no job {job_id}"
        return _describe(row, steps, [one for one in self.attempts if one.job_id == job_id])

    @contextlib.asynccontextmanager
    async def _open_pool(self) -> AsyncIterator[Pool]:
        pool = await Pool.open(self.dsn, application_name="rkyc kit")
        try:
            yield pool
        finally:
            await pool.close()


async def _has_unfinished(conn: Any, awaited: list[UUID]) -> bool:
    for job_id in awaited:
        if await jobs.read_end(conn, job_id) is None:
            return True
    return False


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
