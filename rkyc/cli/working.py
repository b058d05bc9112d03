"""A worker inside a command, for as long as the command needs it, and what Ctrl-C does meanwhile.

The first SIGINT or SIGTERM asks to stop: the worker drains, nothing is lost. A second SIGINT ends the
process at once; its tasks go on elsewhere, like those of any process that died.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from rkyc.engine.worker import Worker

# What a shell shows for a program that ended by Ctrl-C.
_INTERRUPTED = 130


class Working:
    """A worker that is ready, and whether somebody asked it to stop."""

    def __init__(self, worker: Worker, life: asyncio.Task[None], asked_to_stop: asyncio.Event) -> None:
        self.worker = worker
        self._life = life
        self._asked_to_stop = asked_to_stop

    async def until(self, *awaited: Awaitable[Any]) -> bool:
        """Work until one of these is done, True, or until somebody asks to stop, False.

        Raises:
            StoreError: the worker could not go on. And whatever the awaited one raises.
        """
        asked = asyncio.ensure_future(self._asked_to_stop.wait())
        tasks = [asyncio.ensure_future(one) for one in awaited]
        try:
            await asyncio.wait({asked, self._life, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (asked, *tasks):
                if not task.done():
                    task.cancel()
        done = [task for task in (self._life, *tasks) if task.done() and not task.cancelled()]
        for task in done:
            task.result()
        return any(task in done for task in tasks)


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[Working]:
    """Run a worker: ready when the block begins, drained when it has ended.

    Raises:
        StoreError: the worker can't start.
    """
    with _stop_signals() as asked_to_stop:
        life = asyncio.create_task(worker.run(), name="rkyc worker")
        ready = asyncio.ensure_future(worker.ready.wait())
        try:
            await asyncio.wait({life, ready}, return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                life.result()
            yield Working(worker, life, asked_to_stop)
        finally:
            ready.cancel()
            worker.stop()
            await life


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Yield what is set by SIGINT or SIGTERM."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if asked.is_set():
            os._exit(_INTERRUPTED)
        asked.set()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
