"""What a `def` step gets as its context, and where it runs: in a thread, or in a child process.

In a thread every method of the context is there as a plain one: it does its work on the loop and waits for it. In a
child process there are only the values that name the attempt; the child is killed when the attempt ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from rkyc.engine.children import ChildProcesses
from rkyc.engine.execution import Execution
from rkyc.engine.executor_threads import Threads
from rkyc.errors import DefinitionError, LeaseLostError
from rkyc.flow.context import StepContext
from rkyc.flow.retry import Timeouts
from rkyc.flow.undo import PREFIX

T = TypeVar("T")


class ThreadContext:
    """The context of a step that runs in a thread: `rkyc.flow.context.BlockingStepContext`.

    Coroutine methods of the real context become methods that wait for the loop; others are called on the loop,
    in order. A thread that was left behind is refused by all of them.
    """

    def __init__(self, ctx: StepContext, loop: asyncio.AbstractEventLoop) -> None:
        self._ctx = ctx
        self._loop = loop
        self._is_left = threading.Event()

    def leave(self) -> None:
        """The attempt has ended without the thread: refuse it from now on."""
        self._is_left.set()

    def call(self, name: str, fn: Callable[[], T], *, returns: type[T] | None = None) -> T:
        """Do `fn`, a plain function, in this thread, once; remember its answer over retries and crashes."""
        self._check()
        inbox: queue.SimpleQueue[tuple[asyncio.Future[T], contextvars.Context] | None] = queue.SimpleQueue()

        async def ask_thread() -> T:
            wanted: asyncio.Future[T] = self._loop.create_future()
            # A call within `fn` must know that it is within.
            inbox.put((wanted, contextvars.copy_context()))
            return await wanted

        remembered = asyncio.run_coroutine_threadsafe(
            self._ctx.call(name, ask_thread, returns=returns), self._loop
        )
        remembered.add_done_callback(lambda _: inbox.put(None))
        while (one := inbox.get()) is not None:
            wanted, context = one
            self._answer(name, partial(context.run, fn), wanted)
        return remembered.result()

    def _answer(self, name: str, fn: Callable[[], T], wanted: asyncio.Future[T]) -> None:
        try:
            value = fn()
            if inspect.isawaitable(value):
                raise DefinitionError(
                    f"call {name!r}: in a `def` step it takes a plain function, not an async one"
                )
        except BaseException as error:
            self._loop.call_soon_threadsafe(_set, wanted, None, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._loop.call_soon_threadsafe(_set, wanted, value, None)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ctx, name)
        if not inspect.ismethod(value) or name == "use":
            return value
        return partial(self._run_on_loop, value)

    def _run_on_loop(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._check()

        async def run() -> Any:
            value = method(*args, **options)
            return await value if inspect.isawaitable(value) else value

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _check(self) -> None:
        if self._is_left.is_set():
            raise LeaseLostError(
                f"job {self._ctx.job_id}: step {self._ctx.step} was stopped and its thread was left behind: stop"
            )


@dataclass(frozen=True, slots=True)
class ChildContext:
    """What a step in a child process knows of its attempt."""

    job_id: UUID
    step: str
    attempt: int
    now: datetime

    def __getattr__(self, name: str) -> Any:
        raise DefinitionError(
            f"step {self.step} runs in a child process, which has no ctx.{name}: use run_in='thread', or "
            "an `async def` step that calls `ctx.run_in_process`"
        )


def call_step(module: str, qualname: str, ctx: ChildContext, arguments: Mapping[str, Any]) -> Any:
    """Call a step's function by its name; in the child."""
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    # The name leads to the step that the decorator made of the function.
    return getattr(found, "blocking", found)(ctx, **arguments)


@dataclass(frozen=True, slots=True)
class BlockingCall:
    """A `def` step's function with what it takes, and the attempt that it is called in."""

    ctx: StepContext
    execution: Execution
    timeouts: Timeouts
    started_at: float
    fn: Callable[..., Any]
    arguments: Mapping[str, Any]


async def run_in_thread(call: BlockingCall, threads: Threads) -> Any:
    """Run it in a thread."""
    await _take_place(call, threads.places)
    ctx = ThreadContext(call.ctx, asyncio.get_running_loop())
    subject = f"step {call.ctx.step} of job {call.ctx.job_id}"
    return await threads.run(partial(call.fn, ctx, **call.arguments), subject=subject, leave=ctx.leave)


async def run_in_child(call: BlockingCall, children: ChildProcesses) -> Any:
    """Run it in a child process, which is killed when the attempt is stopped."""
    fn, ctx = call.fn, call.ctx
    of_child = ChildContext(ctx.job_id, ctx.step, ctx.attempt, ctx.now)
    await _take_place(call, children.places)
    return await children.run_placed(
        call_step, fn.__module__, fn.__qualname__, of_child, dict(call.arguments)
    )


async def _take_place(call: BlockingCall, places: asyncio.Semaphore) -> None:
    """Take a thread's or a child's place; the wait for it counts against no limit of the attempt itself."""
    if not places.locked():
        await places.acquire()
        return
    execution, start_to_close = call.execution, call.timeouts.start_to_close
    execution.deadline = outer = _outer_deadline(call)
    # Nobody looks for signs of life in what has not begun.
    pulse, execution.pulse = execution.pulse, None
    await places.acquire()
    if pulse is not None:
        pulse.begin()
        execution.pulse = pulse
    if start_to_close is not None:
        inner = time.monotonic() + start_to_close
        execution.deadline = inner if outer is None else min(inner, outer)


def _outer_deadline(call: BlockingCall) -> float | None:
    """Return the monotonic instant at which the job's or the step's own limit ends the attempt."""
    claim, total = call.execution.claim, call.timeouts.total
    limits = []
    if claim.deadline_at is not None and not call.ctx.step.startswith(PREFIX):
        limits.append(claim.deadline_at.timestamp() - call.started_at)
    if total is not None:
        limits.append(total - (call.started_at - claim.step_started_at))
    return call.execution.began + min(limits) if limits else None


def _set(future: asyncio.Future[T], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        # A StopIteration can't be raised out of a future.
        future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)
