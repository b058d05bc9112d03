"""Runs claimed tasks: a step's body, its outcome, the commit, the next step of the chain.

A task keeps its slot from step to step. User code is called in one place here, and this is the only
module that catches every exception: what it raises becomes an outcome. Nothing is open in the
database while a body runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from rkyc.engine.attempt import check_start, complete, deadline_of, is_suspect, unknown_step
from rkyc.engine.batches import Batches
from rkyc.engine.children import ChildProcesses
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.commit import Committer
from rkyc.engine.context import Context, Surroundings
from rkyc.engine.execution import LIMITS, Execution, judge, name_memory_error, uncancel
from rkyc.engine.executor_threads import Threads
from rkyc.engine.inputs import Inputs, Unopened
from rkyc.engine.items import borrow_outputs
from rkyc.engine.migrating import move_blocked
from rkyc.engine.notices import Notices
from rkyc.engine.pausing import Pauses
from rkyc.engine.payloads import Payloads
from rkyc.engine.pulse import Pulses
from rkyc.engine.slots import Slots
from rkyc.engine.stream import StreamWriter
from rkyc.engine.suspend import Suspend, bound_wait, find_suspend
from rkyc.engine.telling import tell_outcome
from rkyc.errors import LeaseLostError, RkycError, WorkerBaseException
from rkyc.flow.decide import decide_failure, decide_skip, decide_success, error_code_of, make_fail, message_of
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import (
    Advance,
    Continue,
    EndUndone,
    Fail,
    Finish,
    Outcome,
    Release,
    Undo,
    Wait,
    lanes_begun,
)
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.undo import decide_undo
from rkyc.store.pool import Pool
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)


class Executor:
    """The tasks of this process, by (job, branch)."""

    def __init__(
        self,
        *,
        registry: Registry,
        resources: Mapping[type, Any],
        slots: Slots,
        lanes: frozenset[str],
        pool: Pool,
        clock: DatabaseClock,
        committer: Committer,
        notices: Notices,
        streams: StreamWriter,
        children: ChildProcesses,
        threads: Threads,
        payloads: Payloads,
        metrics: Metrics,
        on_scheduled: Callable[[Outcome], None],
    ) -> None:
        self.executions: dict[tuple[int, int], Execution] = {}
        self.is_draining = False
        # The worker has ended: whatever is cancelled now is cancelled with the program.
        self.is_closing = False
        # Whoever wants to know of a slot that became free; set by the worker.
        self.on_free: Callable[[], None] = lambda: None
        # Whoever wants to know of tasks that a commit from here made ready, by lane; set by the worker.
        self.on_ready: Callable[[str], None] = lambda lane: None
        # Kept: asking for the running loop costs a system call.
        self._loop = asyncio.get_running_loop()
        self._registry = registry
        self._slots = slots
        self._concurrency: dict[tuple[str, str], asyncio.Semaphore] = {}
        self.pauses = Pauses(lanes=lanes, on_change=self._open)
        # The lanes served here that are not paused.
        self.open_lanes = lanes
        self._clock = clock
        self._committer = committer
        self._notices = notices
        self._metrics = metrics
        self._payloads = payloads
        self._surroundings = Surroundings(
            resources=resources,
            pool=pool,
            clock=clock,
            worker_id=committer.worker_id,
            flusher=committer.flusher,
            notices=notices,
            streams=streams,
            children=children,
            threads=threads,
            payloads=payloads,
            make_log=_log.bind,
        )
        self._on_scheduled = on_scheduled
        self.batches = Batches(
            committer=committer, surroundings=self._surroundings, take_place=self._take_place
        )
        self.pulses = Pulses(pool=pool, clock=clock)

    @property
    def busy(self) -> int:
        """How many slots are taken; who gathers for a batch holds none."""
        return len(self.executions) - self.batches.gathering

    def start(self, claim: Claim) -> None:
        """Run a claimed task in the background until it leaves this process."""
        execution = Execution(claim)
        if older := self.executions.get((claim.job_id, claim.branch)):
            # Its lease was taken away while this process stood still, and came back as another one.
            older.cancel("fenced")
        self.executions[claim.job_id, claim.branch] = execution
        execution.task = self._loop.create_task(self._run(execution))

    def describe_task(self, task: asyncio.Task[Any]) -> str:
        """Name the step that a task of the loop runs; for the stall watch's thread."""
        for execution in tuple(self.executions.values()):
            if execution.task is task:
                return f"step {execution.claim.step} of job {execution.claim.uuid}"
        return task.get_name()

    async def give_back(self, claim: Claim) -> bool:
        """Release a task where it is, the attempt uncharged."""
        return await self._committer.commit(Release(claim, claim.step, claim.lane), is_branched=False)

    async def _run(self, execution: Execution) -> None:
        claim = execution.claim
        try:
            await self._run_chain(execution)
        except asyncio.CancelledError:
            if execution.stop is None:
                raise
            if execution.stop == "drain":
                # The grace is over: release the task at its last checkpoint.
                uncancel()
                execution.is_committing = True
                await self.give_back(execution.claim)
        except LeaseLostError:
            self._metrics.lease_lost()
        except Exception:
            _log.error(events.EXECUTOR_FAILED, job_id=str(claim.uuid), step=claim.step, exc_info=True)
            await self._bury(claim)
        finally:
            # Another claim of the same task may stand here already, if this one was fenced.
            if self.executions.get((claim.job_id, claim.branch)) is execution:
                del self.executions[claim.job_id, claim.branch]
            if execution.scopes:
                self._slots.leave(execution)
            self.on_free()

    async def _bury(self, claim: Claim) -> None:
        """The engine itself failed on a task: end its job for all to see, rather than leave it running."""
        pipeline = self._registry.get(claim.pipeline, claim.version)
        error = WorkerBaseException(
            f"step {claim.step}: the engine could not go on; the worker's log says why"
        )
        fail = make_fail(claim, claim.step, error, claim.error_attempts + 1)
        # A version that is not here may have branches, and is undone in the order that was announced.
        outcome = Undo(claim, fail, None) if pipeline is None else decide_undo(pipeline.graph, fail)
        is_branched = pipeline is None or pipeline.graph.is_forked
        try:
            await self._committer.commit(outcome, is_branched=is_branched)
        except Exception:
            _log.error(events.EXECUTOR_FAILED, job_id=str(claim.uuid), step=claim.step, exc_info=True)

    async def _run_chain(self, execution: Execution) -> None:
        """Run step after step under one lease until the task leaves."""
        claim = execution.claim
        pipeline = self._registry.get(claim.pipeline, claim.version)
        if pipeline is None:
            pool = self._surroundings.pool
            is_moved, why_not = await move_blocked(pool, self._payloads, self._registry, claim)
            if not is_moved:
                kind = "version_blocked" if self._serves_other_version(claim.pipeline) else "no_worker"
                await self._park(execution, kind, why_not)
            return
        if is_suspect(claim) and not claim.is_alone:
            # By a retry or a release it came back to where neighbours run.
            await self._park(execution, "suspect")
            return
        if self.pauses.keys and (key := self.pauses.find(claim)) is not None:
            await self._hold(execution, key)
            return
        place = pipeline.graph.find(claim.step)
        if place is None:
            lost = decide_undo(pipeline.graph, make_fail(claim, claim.step, unknown_step(claim), 1))
            await self._committer.commit(lost, is_branched=pipeline.graph.is_forked)
            return
        inputs = Inputs(claim, place)
        if place.borrows:
            inputs.add(await borrow_outputs(self._surroundings.pool, claim, place))
        now = self._clock.seconds()
        while (place.step.lane or claim.job_lane) in self.open_lanes:
            outcome = await self._attempt(execution, pipeline, place, inputs, now)
            landed = await self._end(execution, pipeline, place, outcome)
            if execution.scopes:
                self._slots.leave(execution)
            if type(landed) is not Advance:
                return
            place = self._move_on(claim, pipeline, landed, inputs)
            now = claim.step_started_at
            if self.is_draining or claim.is_alone:
                break
            if self.pauses.keys and (key := self.pauses.find(claim)) is not None:
                await self._hold(execution, key)
                return
        # Drained, or the step's lane is served by others.
        await self._release(execution, place.step.lane or claim.job_lane)

    async def _release(self, execution: Execution, lane: str) -> None:
        claim = execution.claim
        execution.is_committing = True
        await self._committer.commit(Release(claim, claim.step, lane), is_branched=False)
        self._notices.wake_lane(lane)

    async def _park(self, execution: Execution, kind: str, detail: str | None = None) -> None:
        execution.is_committing = True
        claim = execution.claim
        wait = Wait(claim, claim.step, kind, claim.wake_key, None, detail)
        await self._committer.commit(wait, is_branched=False)
        self._notices.wake_lane("parked")

    async def _hold(self, execution: Execution, key: str) -> None:
        """What it belongs to is paused: wait, uncharged, until it is resumed."""
        execution.is_committing = True
        claim = execution.claim
        detail = f"{key.replace(':', ' ')} is paused"
        await self._committer.commit(Wait(claim, claim.step, "paused", key, None, detail), is_branched=False)

    def _open(self, lanes: frozenset[str]) -> None:
        self.open_lanes = lanes

    def _serves_other_version(self, name: str) -> bool:
        return any(pipeline.name == name for pipeline in self._registry)

    def _move_on(self, claim: Claim, pipeline: Pipeline, landed: Advance, inputs: Inputs) -> Place:
        """The checkpoint stands: a clean record for the next step, its input read back as any process would."""
        claim.events += 1
        claim.error_attempts = claim.crash_attempts = claim.alone_crashes = 0
        claim.step = landed.next_step
        claim.step_started_at = self._clock.seconds()
        try:
            place = pipeline.graph.places[landed.next_step]
        except KeyError:
            place = pipeline.graph.undo[landed.next_step]
        claim.lane = place.step.lane or claim.job_lane
        inputs.move_on(place, landed.done.step, landed.done.output)
        return place

    async def _attempt(
        self, execution: Execution, pipeline: Pipeline, place: Place, inputs: Inputs, now: float
    ) -> Outcome:
        """Run a body once and decide what follows."""
        claim, step = execution.claim, place.step
        ctx = Context(execution, step, started_at=now, surroundings=self._surroundings)
        began = execution.began = time.monotonic()
        error: BaseException
        try:
            check_start(claim, place, ctx)
            output = step.check_output(await self._call_body(execution, pipeline, place, ctx, inputs))
            if execution.stop in LIMITS:
                # It finished all the same: what it did counts.
                uncancel()
                execution.stop = None
            if ctx.stream is not None:
                await ctx.stream.close(completed=True)
            done = complete(place, ctx, output)
            self._metrics.step_finished(step.name, time.monotonic() - began)
            outcome = decide_success(pipeline.graph, place, claim, done)
            if len(done.output) > self._payloads.inline_max:
                outcome = await self._payloads.store(outcome)
            return outcome
        except (Exception, SystemExit, asyncio.CancelledError, BaseExceptionGroup, Suspend) as caught:
            suspend = find_suspend(caught)
            if suspend is not None and execution.stop is None:
                if ctx.stream is not None:
                    await ctx.stream.close(completed=False)
                return bound_wait(suspend.outcome(claim, place.name), place)
            error = judge(execution, place, caught, is_closing=self.is_closing)
        finally:
            execution.deadline = execution.pulse = None
        if ctx.stream is not None:
            await ctx.stream.close(completed=False)
        return self._decide_failure(execution, place, ctx, error)

    async def _call_body(
        self, execution: Execution, pipeline: Pipeline, place: Place, ctx: Context, inputs: Inputs
    ) -> Any:
        step = place.step
        try:
            arguments, scopes = inputs.read()
        except Unopened as closed:
            arguments, scopes = await inputs.read_opened(self._payloads, closed)
        claim = execution.claim
        if step.batch is not None:
            return await self.batches.put(execution, pipeline, place, ctx, arguments["input"])
        if not step.limits and step.concurrency is None:
            execution.deadline = deadline_of(place, claim, ctx.started_at)
            if step.timeouts.is_watched:
                return await self.pulses.watch(execution, step.timeouts, ctx, step.fn(ctx, **arguments))
            return await step.fn(ctx, **arguments)
        # The attempt's limit is of the work, not of the wait for a free place.
        execution.deadline = deadline_of(place, claim, ctx.started_at, is_waiting=True)
        async with self._take_place(pipeline, place):
            await self._slots.enter(execution, place, scopes)
            execution.deadline = deadline_of(place, claim, self._clock.seconds())
            if step.timeouts.is_watched:
                return await self.pulses.watch(execution, step.timeouts, ctx, step.fn(ctx, **arguments))
            return await step.fn(ctx, **arguments)

    def _take_place(self, pipeline: Pipeline, place: Place) -> contextlib.AbstractAsyncContextManager[None]:
        """Return what bounds a step in this process."""
        step = place.step
        if step.concurrency is None:
            return contextlib.nullcontext()
        key = (pipeline.name, step.name)
        return self._concurrency.setdefault(key, asyncio.Semaphore(step.concurrency))

    def _decide_failure(
        self, execution: Execution, place: Place, ctx: Context, error: BaseException
    ) -> Outcome:
        claim, error = execution.claim, name_memory_error(place, error)
        code = error_code_of(error)
        self._metrics.step_failed(place.name, code)
        if not isinstance(error, RkycError):
            _log.error(events.STEP_FAILED, job_id=str(claim.uuid), step=place.name, exc_info=error)
        outcome = decide_failure(place, claim, error, now=self._clock.now(), random=random.random())
        if type(outcome) is Fail:
            pipeline = self._registry.get(claim.pipeline, claim.version)
            assert pipeline is not None
            return decide_undo(pipeline.graph, outcome)
        if outcome is not None:
            return outcome
        # An optional step: the job goes on, degraded, and says so.
        ctx.give_up(code, message_of(error))
        pipeline = self._registry.get(claim.pipeline, claim.version)
        assert pipeline is not None
        return decide_skip(pipeline.graph, place, claim, complete(place, ctx, None, saves=False))

    async def _end(
        self, execution: Execution, pipeline: Pipeline, place: Place, outcome: Outcome
    ) -> Outcome | None:
        """Commit an outcome and return what landed; None: the lease is lost.

        What can't be committed becomes a failed attempt itself, which is what lands then.
        """
        claim = execution.claim
        execution.is_committing = True
        try:
            if type(outcome) is Continue:
                outcome = await self._payloads.store(outcome)
            held = await self._committer.commit(outcome, is_branched=place.is_forked)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if isinstance(outcome, Fail | Undo | EndUndone):
                raise
            ctx = Context(
                execution, place.step, started_at=self._clock.seconds(), surroundings=self._surroundings
            )
            outcome = self._decide_failure(execution, place, ctx, error)
            return await self._end(execution, pipeline, place, outcome)
        finally:
            execution.is_committing = False
        if not held:
            self._metrics.lease_lost()
            return None
        scheduled = tell_outcome(self._notices, self._metrics, claim, place, outcome)
        if type(outcome) is Advance or type(outcome) is Finish:
            return outcome
        if scheduled:
            self._on_scheduled(outcome)
        for lane in lanes_begun(outcome) & self.open_lanes:
            self.on_ready(lane)
        if place.is_forked and isinstance(outcome, Fail | Undo | Continue):
            # Its siblings may run anywhere.
            self._notices.wake_lane(f"cancel:{claim.job_id}")
        return outcome
