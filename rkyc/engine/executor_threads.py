"""Threads for `def` steps: bounded, reused, and never waited for at the end of the process.

A thread can't be killed. When its step is cancelled or its time is up, the loop stops waiting at once and the
thread is left to itself: its result goes nowhere, its context refuses, a warning names it, and it counts against
the bound until it ends. The threads are daemons, so that a drained process can exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)
T = TypeVar("T")
# What a call came to: its value, or what it raised.
_Answer = tuple[Any, BaseException | None]
# Idle threads that are kept.
_IDLE_MAX = 8


class Threads:
    """At most `size` calls at once, those that were left behind included."""

    def __init__(self, size: int) -> None:
        # Whoever calls `run` has taken one; it is given back when the thread has ended.
        self.places = asyncio.Semaphore(size)
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Thread] = []
        self._started = 0

    async def run(self, call: Callable[[], T], *, subject: str, leave: Callable[[], None]) -> T:
        """Call in a thread, in a place that was taken, and return the result.

        Cancelled, it ends at once: `leave` is called, and the thread goes on by itself.
        """
        answer: asyncio.Future[_Answer] = self._loop.create_future()
        self._take_thread().start_call(contextvars.copy_context(), call, answer)
        try:
            # Shielded: the thread answers later all the same, and then its place is free.
            value, error = await asyncio.shield(answer)
        except asyncio.CancelledError:
            leave()
            _log.warning(events.THREAD_LEFT, step=subject)
            raise
        if error is not None:
            raise error
        result: T = value
        return result

    def _take_thread(self) -> _Thread:
        if self._idle:
            return self._idle.pop()
        self._started += 1
        return _Thread(self._loop, f"rkyc step {self._started}", self._note_end)

    def _note_end(self, thread: _Thread, answer: asyncio.Future[_Answer], said: _Answer) -> None:
        self.places.release()
        if not answer.done():
            answer.set_result(said)
        if len(self._idle) < _IDLE_MAX:
            self._idle.append(thread)
        else:
            thread.end()


class _Thread:
    """One thread that makes calls, one after another."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        note_end: Callable[[_Thread, asyncio.Future[_Answer], _Answer], None],
    ) -> None:
        self._loop = loop
        self._note_end = note_end
        self._calls: queue.SimpleQueue[tuple[contextvars.Context, Callable[[], Any], Any] | None] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def start_call(
        self, context: contextvars.Context, call: Callable[[], Any], answer: asyncio.Future[_Answer]
    ) -> None:
        self._calls.put((context, call, answer))

    def end(self) -> None:
        self._calls.put(None)

    def _serve(self) -> None:
        while (one := self._calls.get()) is not None:
            context, call, answer = one
            said: _Answer
            try:
                said = (context.run(call), None)
            except BaseException as error:  # the boundary of the thread: the step must hear of it
                said = (None, error)
            with contextlib.suppress(RuntimeError):
                # The loop may be gone: the process ends.
                self._loop.call_soon_threadsafe(self._note_end, self, answer, said)
            del one, context, call, answer, said
