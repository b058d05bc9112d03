"""Absurd, over psycopg: durable steps on one connection per worker, which is all its SDK does; polls."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import uvloop
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL

from bench.peers.workers import protocol

_QUEUE = "default"
# Producers that spawn side by side in bulk: there is no bulk call, and one connection waits for each commit.
_PRODUCERS = 8


class SpawnSender:
    """Spawns tasks, many over several connections."""

    def __init__(self, clients: list[AsyncAbsurd]) -> None:
        self._clients = clients

    async def send(self, n: int) -> None:
        await self._clients[0].spawn("job", {"n": n}, queue=_QUEUE)

    async def send_many(self, numbers: range) -> None:
        remaining = iter(numbers)

        async def spawn_on(client: AsyncAbsurd) -> None:
            for n in remaining:
                await client.spawn("job", {"n": n}, queue=_QUEUE)

        await asyncio.gather(*(spawn_on(client) for client in self._clients))


async def prepare(url: str) -> None:
    # What `absurdctl init` does, without the psql that it needs.
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(BUNDLED_SCHEMA_SQL)
    client = AsyncAbsurd(url, queue_name=_QUEUE)
    await client.create_queue(_QUEUE)
    await client.close()


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[SpawnSender]:
    clients = [AsyncAbsurd(url, queue_name=_QUEUE) for _ in range(_PRODUCERS)]
    try:
        yield SpawnSender(clients)
    finally:
        for client in clients:
            await client.close()


async def work(worker: protocol.Worker) -> None:
    client = AsyncAbsurd(worker.url, queue_name=_QUEUE)
    bodies = worker.bodies

    @client.register_task("job")
    async def job(params: dict[str, Any], ctx: Any) -> Any:
        n, result = params["n"], None
        for step in range(bodies.steps):
            result = await ctx.step(f"s{step}", functools.partial(bodies.run_step, n, step))
        return result

    worker.wait_at_gate()
    await client.start_worker(concurrency=worker.slots)


if __name__ == "__main__":
    protocol.run(prepare=prepare, connect=connect, work=work, runner=uvloop.run)
