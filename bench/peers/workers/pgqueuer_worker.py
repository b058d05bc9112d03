"""PgQueuer, over asyncpg: many jobs per dequeue, completions in batches, LISTEN/NOTIFY."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.peers.workers import protocol

_INSERT_ROWS = 1000
# Jobs per dequeue at most.
_BATCH_ROWS_MAX = 1000


class QueriesSender:
    """Enqueues by the library's own statements."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def send(self, n: int) -> None:
        await self._queries.enqueue("job", _payload(n))

    async def send_many(self, numbers: range) -> None:
        for start in range(0, len(numbers), _INSERT_ROWS):
            rows = [_payload(n) for n in numbers[start : start + _INSERT_ROWS]]
            await self._queries.enqueue(["job"] * len(rows), rows, [0] * len(rows))


async def prepare(url: str) -> None:
    async with _queries(url) as queries:
        await queries.install()


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[QueriesSender]:
    async with _queries(url) as queries:
        yield QueriesSender(queries)


async def work(worker: protocol.Worker) -> None:
    pool = await asyncpg.create_pool(worker.url, min_size=2, max_size=10)
    queue = PgQueuer(AsyncpgPoolDriver(pool))

    @queue.entrypoint("job")
    async def job(job: Job) -> None:
        await worker.bodies.run_job(json.loads(job.payload)["n"])

    worker.wait_at_gate()
    await queue.run(batch_size=min(worker.slots, _BATCH_ROWS_MAX))


@contextlib.asynccontextmanager
async def _queries(url: str) -> AsyncIterator[Queries]:
    conn = await asyncpg.connect(url)
    try:
        yield Queries(AsyncpgDriver(conn))
    finally:
        await conn.close()


def _payload(n: int) -> bytes:
    return json.dumps({"n": n}).encode()


if __name__ == "__main__":
    protocol.run(prepare=prepare, connect=connect, work=work, runner=uvloop.run)
