"""Enqueues at the pace that the benchmark asks for: its tokens on stdin, a rate, or a depth to hold.

Jobs that could not be enqueued are owed and come later, as from a service that tries again. Where the
answer was lost, nobody knows whether the jobs are there: they keep their numbers, which are not used
again and not counted as enqueued.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from bench.public.contract import Orders
from bench.public.ledger import Ledger
from bench.public.workload import PIPELINE, Tally
from rkyc import Client
from rkyc.errors import DatabaseConnectionError, StoreError

# Seconds before the next try when the database is away.
_PAUSE_S = 0.1
_READ_BYTES = 65_536
_STDIN = 0


class Pace(Protocol):
    """Says how many jobs are to be enqueued next."""

    async def take(self) -> int:
        """Wait until some are due; return how many, at most the largest batch."""
        ...

    def give_back(self, count: int) -> None:
        """Owe so many again."""
        ...


class TokenPace:
    """What `ENQUEUE n` lines on stdin ask for."""

    def __init__(self, batch_max: int) -> None:
        self._batch_max = batch_max
        self._owed = 0
        self._due = asyncio.Event()

    def listen(self) -> None:
        """Read stdin from now on, in a thread that ends with the process."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()

    async def take(self) -> int:
        while not self._owed:
            self._due.clear()
            await self._due.wait()
        count = min(self._owed, self._batch_max)
        self._owed -= count
        return count

    def give_back(self, count: int) -> None:
        self._owed += count
        self._due.set()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not sys.stdin: a thread that waits inside its buffer would keep the interpreter from ending.
        rest = b""
        while data := os.read(_STDIN, _READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            words = [line.split() for line in lines]
            count = sum(int(word[1]) for word in words if len(word) == 2 and word[0] == b"ENQUEUE")
            try:
                loop.call_soon_threadsafe(self.give_back, count)
            except RuntimeError:  # the loop has ended
                return


class RatePace:
    """So many a second, by the wall: a slow call is made up for."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._credit = 0.0
        self._seen_at = time.monotonic()

    async def take(self) -> int:
        while True:
            if self._credit < self._orders.batch_max:
                await asyncio.sleep(self._orders.batch_ms / 1000)
            now = time.monotonic()
            self._credit += self._orders.read_rate() * (now - self._seen_at)
            self._seen_at = now
            if self._credit >= 1:
                count = min(int(self._credit), self._orders.batch_max)
                self._credit -= count
                return count

    def give_back(self, count: int) -> None:
        self._credit += count


class DepthPace:
    """As many as it takes to keep so many waiting; none at a rate of 0."""

    def __init__(self, orders: Orders, estimate_depth: Callable[[], int]) -> None:
        self._orders = orders
        self._estimate_depth = estimate_depth

    async def take(self) -> int:
        while True:
            missing = self._orders.target_depth - self._estimate_depth()
            if missing >= 1 and self._orders.read_rate() > 0:
                return min(missing, self._orders.batch_max)
            await asyncio.sleep(self._orders.batch_ms / 1000)

    def give_back(self, count: int) -> None:
        pass  # the depth tells


class Producer:
    """Enqueues, batch by batch, until cancelled."""

    def __init__(self, *, client: Client, orders: Orders, tally: Tally, ledger: Ledger | None) -> None:
        self._client = client
        self._orders = orders
        self._tally = tally
        self._ledger = ledger
        self._next = 0

    async def run(self) -> None:
        """Enqueue at the pace; a replica that is no producer waits for ever."""
        if not self._orders.is_producer:
            await asyncio.Event().wait()
        pace = self._choose_pace()
        while True:
            count = await pace.take()
            if not await self._enqueue(count):
                pace.give_back(count)
                await asyncio.sleep(_PAUSE_S)

    def _choose_pace(self) -> Pace:
        if self._orders.producer_mode == "depth-target":
            return DepthPace(self._orders, self._tally.estimate_depth)
        if not self._orders.is_paced_by_harness:
            return RatePace(self._orders)
        pace = TokenPace(self._orders.batch_max)
        pace.listen()
        return pace

    async def _enqueue(self, count: int) -> bool:
        """Enqueue so many in one call; False when the answer did not come."""
        at = time.time()
        numbers = self._take(count, at)
        inputs = [
            {
                "producer": self._orders.instance,
                "number": number,
                "enqueued_at_ms": at * 1000,
                "padding": self._orders.padding,
            }
            for number in numbers
        ]
        began_at = time.perf_counter()
        try:
            await self._client.enqueue_many(PIPELINE, inputs)
        except (DatabaseConnectionError, StoreError):
            self._tally.refused += count
            return False
        took_ms = (time.perf_counter() - began_at) * 1000
        if self._ledger is not None:
            self._ledger.acknowledge(numbers, at)
        self._tally.enqueued += count
        self._tally.producer.add(took_ms / count, times=count)
        self._tally.producer_call.add(took_ms)
        return True

    def _take(self, count: int, at: float) -> range:
        if self._ledger is not None:
            return self._ledger.take(count, at)
        first, self._next = self._next, self._next + count
        return range(first, self._next)
