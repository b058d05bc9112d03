"""arq on Redis: polls a sorted set, takes many jobs a round, keeps no results."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker, func

from bench.peers.workers import protocol

# Seconds between polls; the default of 0.5 s would be most of a short run.
_POLL_S = 0.05
# Jobs looked at per poll, per slot: the library's own proportion.
_READ_PER_SLOT = 5


class PoolSender:
    """Enqueues one job a call."""

    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def send(self, n: int) -> None:
        await self._pool.enqueue_job("job", n)

    async def send_many(self, numbers: range) -> None:
        await protocol.send_concurrently(self, numbers)


async def prepare(url: str) -> None:
    """There is no schema."""


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[PoolSender]:
    pool = await create_pool(RedisSettings.from_dsn(url))
    try:
        yield PoolSender(pool)
    finally:
        await pool.aclose()


async def work(worker: protocol.Worker) -> None:
    async def job(ctx: dict[str, Any], n: int) -> None:
        await worker.bodies.run_job(n)

    arq = Worker(
        [func(job, name="job")],
        redis_settings=RedisSettings.from_dsn(worker.url),
        max_jobs=worker.slots,
        queue_read_limit=worker.slots * _READ_PER_SLOT,
        poll_delay=_POLL_S,
        keep_result=0,
        handle_signals=False,
    )
    worker.wait_at_gate()
    await arq.async_run()


if __name__ == "__main__":
    protocol.run(prepare=prepare, connect=connect, work=work, runner=uvloop.run)
