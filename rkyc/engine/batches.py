"""Gathers the tasks of a batch step and calls its function once for many of them.

A task that gathers is held under its own lease like any other: when the process dies, all of them go on elsewhere,
and each is done only when its own outcome is committed. It holds no slot meanwhile, so that a few can wait
for many. A call goes out when enough have come, when the first has waited long enough, or at once when the
process drains.

A batch step's `save(conn, outputs)` runs once, in the transaction that commits the outcomes of all of them.

A list of answers may hold errors: they fail, or retry, their own tasks. An error of the whole call that another
try may not bring is every task's; any other is some task's own: the call is repeated in halves until the culprit
stands alone. So is a call in which a task has to wait: what it was given is in the task's journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from rkyc.engine.attempt import complete, deadline_of
from rkyc.engine.commit import Committer, Settled
from rkyc.engine.context import Context, Surroundings
from rkyc.engine.execution import Execution
from rkyc.engine.suspend import Suspend, find_suspend
from rkyc.errors import OutputInvalidError, RkycError
from rkyc.flow.context import StepLog
from rkyc.flow.decide import decide_success
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Completed, Outcome
from rkyc.flow.pipeline import Pipeline

T = TypeVar("T")
_Key = tuple[str, int, str]


@dataclass(slots=True, eq=False)
class _Item:
    execution: Execution
    ctx: Context
    value: Any
    answer: asyncio.Future[Any]


class _Told(Suspend):
    """Leaves a task's body with an outcome whose fate is known: it was committed with those of its batch."""

    def __init__(self, told: Outcome) -> None:
        super().__init__("batch", "")
        self._told = told

    def outcome(self, claim: Claim, step: str) -> Outcome:
        return self._told


class BatchContext:
    """What a batch step gets as its `ctx`; `items` are the contexts of the single tasks, in the inputs' order."""

    __slots__ = ("_surroundings", "items", "now", "step")

    def __init__(
        self, step: str, now: datetime, items: tuple[Context, ...], surroundings: Surroundings
    ) -> None:
        self.step = step
        self.now = now
        self.items = items
        self._surroundings = surroundings

    @property
    def log(self) -> StepLog:
        """A log bound to the step."""
        return self._surroundings.make_log(step=self.step, batch=len(self.items))

    def use(self, kind: type[T]) -> T:
        """Return the resource of this type.

        Raises:
            DefinitionError: not declared in `needs`.
        """
        return self.items[0].use(kind)

    async def run_in_process(self, fn: Callable[..., T], *args: Any) -> T:
        """Run a module-level function in a child process that dies with this call."""
        return await self._surroundings.children.run(fn, *args)


class Batches:
    """The batch steps of one process."""

    def __init__(
        self,
        *,
        committer: Committer,
        surroundings: Surroundings,
        take_place: Callable[[Pipeline, Place], AbstractAsyncContextManager[None]],
    ) -> None:
        # How many tasks wait for company: they hold no slot.
        self.gathering = 0
        # Whoever wants to know of a slot that became free so; set by the worker.
        self.on_gather: Callable[[], None] = lambda: None
        self._clock = surroundings.clock
        self._committer = committer
        self._surroundings = surroundings
        self._take_place = take_place
        self._is_hurried = False
        self._open: dict[_Key, list[_Item]] = {}
        self._alarms: dict[_Key, asyncio.TimerHandle] = {}
        self._places: dict[_Key, tuple[Pipeline, Place]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def put(
        self, execution: Execution, pipeline: Pipeline, place: Place, ctx: Context, value: Any
    ) -> Any:
        """Wait for the call that takes this task along, and return its own answer.

        Raises:
            Exception: what the call, or its answer for this task, says.
        """
        batch = place.step.batch
        assert batch is not None
        key = (pipeline.name, pipeline.version, place.name)
        loop = asyncio.get_running_loop()
        item = _Item(execution, ctx, value, loop.create_future())
        gathered = self._open.setdefault(key, [])
        gathered.append(item)
        self._places[key] = pipeline, place
        self.gathering += 1
        execution.deadline = deadline_of(place, execution.claim, ctx.started_at, is_waiting=True)
        if len(gathered) >= batch.size or self._is_hurried or execution.claim.is_alone:
            self._flush(key, pipeline, place)
        else:
            if len(gathered) == 1:
                self._alarms[key] = loop.call_later(batch.within_s, self._flush, key, pipeline, place)
            self.on_gather()
        try:
            return await item.answer
        finally:
            self._withdraw(key, item)

    def hurry(self) -> None:
        """Call at once, now and from now on: the process drains."""
        self._is_hurried = True
        for key, (pipeline, place) in tuple(self._places.items()):
            self._flush(key, pipeline, place)

    def _withdraw(self, key: _Key, item: _Item) -> None:
        """Forget a task that was cancelled while it gathered."""
        gathered = self._open.get(key, [])
        if item in gathered:
            gathered.remove(item)
            self.gathering -= 1

    def _flush(self, key: _Key, pipeline: Pipeline, place: Place) -> None:
        items = self._open.pop(key, [])
        if alarm := self._alarms.pop(key, None):
            alarm.cancel()
        self.gathering -= len(items)
        if items:
            call = asyncio.create_task(self._call(pipeline, place, items), name=f"batch of step {place.name}")
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, pipeline: Pipeline, place: Place, items: list[_Item]) -> None:
        try:
            async with self._take_place(pipeline, place):
                await self._answer(pipeline, place, items)
        finally:
            # Whatever ended it: nobody waits for ever.
            for item in items:
                if not item.answer.done():
                    item.answer.set_exception(
                        RuntimeError(f"a call of step {place.name} ended without an answer")
                    )

    async def _answer(self, pipeline: Pipeline, place: Place, items: Sequence[_Item]) -> None:
        """Call for those who still wait, and tell each what came of it."""
        waiting = [item for item in items if not item.answer.done()]
        if not waiting:
            return
        answers, error = await self._run(place, waiting)
        if error is None:
            error = _find_mismatch(place, answers, len(waiting))
        elif len(waiting) > 1 and not (isinstance(error, RkycError) and error.retryable):
            middle = len(waiting) // 2
            for item in waiting:
                item.ctx.begin_again()
            await self._answer(pipeline, place, waiting[:middle])
            await self._answer(pipeline, place, waiting[middle:])
            return
        done: list[tuple[_Item, Any]] = []
        for number, item in enumerate(waiting):
            answer = error if error is not None else answers[number]
            if isinstance(answer, BaseException):
                _fail(item, answer)
            elif place.step.save is None and not item.answer.done():
                item.answer.set_result(answer)
            else:
                done.append((item, answer))
        if place.step.save is not None:
            await self._save(pipeline, place, done)

    async def _save(self, pipeline: Pipeline, place: Place, done: Sequence[tuple[_Item, Any]]) -> None:
        """Commit together what `save` adds and all outcomes; in halves where one of them can't be saved."""
        save, rows, payloads = place.step.save, [], self._surroundings.payloads
        for item, answer in done:
            if item.answer.done():
                continue
            try:
                completed = complete(place, item.ctx, place.step.check_output(answer), saves=False)
                outcome = self._decide(pipeline, place, item, completed, None)
                if len(completed.output) > payloads.inline_max:
                    outcome = await payloads.store(outcome)
            except RkycError as error:
                _fail(item, error)
                continue
            if item.answer.done():
                continue
            # From here on a cancel waits for what the commit says.
            item.execution.is_committing = True
            rows.append((item, answer, completed, outcome))
        if not rows or save is None:
            return
        outcomes = [row[3] for row in rows]
        committing = asyncio.ensure_future(
            self._committer.commit_together(outcomes, save, is_branched=place.is_forked)
        )
        await asyncio.wait([committing])
        failure = committing.exception()
        if failure is None:
            held = committing.result()
            for number, (item, _, completed, _) in enumerate(rows):
                settled = self._decide(pipeline, place, item, completed, Settled(number in held))
                item.answer.set_exception(_Told(settled))
            return
        for item, *_ in rows:
            item.execution.is_committing = False
        if len(rows) > 1 and not (isinstance(failure, RkycError) and failure.retryable):
            middle = len(rows) // 2
            await self._save(pipeline, place, [row[:2] for row in rows[:middle]])
            await self._save(pipeline, place, [row[:2] for row in rows[middle:]])
            return
        for item, *_ in rows:
            _fail(item, failure)

    def _decide(self, pipeline: Pipeline, place: Place, item: _Item, completed: Completed, save: Any) -> Any:
        return decide_success(pipeline.graph, place, item.execution.claim, completed._replace(save=save))

    async def _run(self, place: Place, items: Sequence[_Item]) -> tuple[Any, BaseException | None]:
        """Run the body once; (its answers, None) or (None, its error)."""
        now, began = self._clock.seconds(), time.monotonic()
        for item in items:
            item.execution.began = began
            item.execution.deadline = deadline_of(place, item.execution.claim, now)
        ctx = BatchContext(place.name, self._clock.now(), tuple(i.ctx for i in items), self._surroundings)
        body = asyncio.ensure_future(_guard(place.step.fn(ctx, [item.value for item in items])))

        def stop_if_unwanted(_: object) -> None:
            if all(item.answer.done() for item in items):
                body.cancel()

        for item in items:
            item.answer.add_done_callback(stop_if_unwanted)
        await asyncio.wait([body])
        now = self._clock.seconds()
        for item in items:
            item.answer.remove_done_callback(stop_if_unwanted)
            if not item.answer.done():
                # It may have to wait now, for other halves or what they save: that is not its attempt's.
                item.execution.deadline = deadline_of(place, item.execution.claim, now, is_waiting=True)
        if body.cancelled():
            return None, RuntimeError("a CancelledError that nobody had sent came out of the step")
        error = body.exception()
        return (None, error) if error is not None else (body.result(), None)


async def _guard(body: Any) -> Any:
    """Await a body; what would end the whole loop becomes an error of its own."""
    try:
        return await body
    except SystemExit as error:
        raise RuntimeError(f"the step called sys.exit({error.code})") from error


def _find_mismatch(place: Place, answers: Any, expected: int) -> OutputInvalidError | None:
    if isinstance(answers, list | tuple) and len(answers) == expected:
        return None
    found = f"{len(answers)} answers" if isinstance(answers, list | tuple) else type(answers).__name__
    return OutputInvalidError(
        f"step {place.name} returned {found} for {expected} inputs: expected a list with one answer, or error, each"
    )


def _fail(item: _Item, error: BaseException) -> None:
    if not item.answer.done():
        item.answer.set_exception(_as_error(error))


def _as_error(error: BaseException) -> BaseException:
    """Return what may stand for the end of a body: an error, or a wait."""
    if (suspend := find_suspend(error)) is not None:
        return suspend
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
