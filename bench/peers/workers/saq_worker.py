"""SAQ on Redis: waits in a blocking pop per slot; finished jobs are kept for ten minutes, its default."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from saq import Queue, Worker

from bench.peers.workers import protocol


class QueueSender:
    """Enqueues one job a call."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def send(self, n: int) -> None:
        await self._queue.enqueue("job", n=n)

    async def send_many(self, numbers: range) -> None:
        await protocol.send_concurrently(self, numbers)


async def prepare(url: str) -> None:
    """There is no schema."""


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[QueueSender]:
    queue = Queue.from_url(url)
    await queue.connect()
    try:
        yield QueueSender(queue)
    finally:
        await queue.disconnect()


async def work(worker: protocol.Worker) -> None:
    async def job(ctx: dict[str, Any], *, n: int) -> None:
        await worker.bodies.run_job(n)

    queue = Queue.from_url(worker.url)
    await queue.connect()
    saq = Worker(queue, functions=[("job", job)], concurrency=worker.slots)
    worker.wait_at_gate()
    await saq.start()


if __name__ == "__main__":
    protocol.run(prepare=prepare, connect=connect, work=work, runner=uvloop.run)
