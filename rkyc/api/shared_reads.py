"""Reads of the database that many streams of a process want at once, each made once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Reads at once: many streams must not take all connections from the worker.
READS_MAX = 4


class SharedReads(Generic[K, V]):
    """Whoever asks for the same key before it is read gets the same answer, or the same error."""

    def __init__(self, read: Callable[[K], Awaitable[V]]) -> None:
        self._read = read
        self._under_way: dict[K, asyncio.Task[V]] = {}
        self._turns = asyncio.Semaphore(READS_MAX)

    async def get(self, key: K) -> V:
        """Return what the key stands for now, or later."""
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._run(key))
            # Those who asked may all be gone by then: what went wrong is theirs to hear, nobody else's.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._under_way[key] = task
        # Whoever goes away leaves it to the others.
        return await asyncio.shield(task)

    async def _run(self, key: K) -> V:
        try:
            await self._turns.acquire()
        finally:
            # From here on the read has its moment: who asks now may have been woken by something later.
            del self._under_way[key]
        try:
            return await self._read(key)
        finally:
            self._turns.release()
