"""How fast can jobs be enqueued?

One producer that calls again and again, 32 of them in one process on one client, the bulk call, and
one producer that enqueues inside transactions of its own, each of which also writes a row of its own:
the job is there if and only if that row is. The baseline does the same with bare SQL, on a pool of as many
connections; its single and bulk inserts send no NOTIFY.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import asyncpg

from bench import bare
from bench.backlog import Backlog, enqueue, insert_bare
from bench.harness import Bench, run_case
from bench.measure import Measure, Sample, measure_in_turn
from rkyc.engine.client import Client

BarePool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

SINGLES = 1_000
PRODUCERS = 32
PRODUCED = 9_600
BULK = 100_000
TRANSACTIONS = 1_000
# A client's own pool has as many.
CONNECTIONS = 10
_OWN_TABLE = "CREATE TABLE own (n int PRIMARY KEY)"
_OWN_ROW = "INSERT INTO own VALUES ($1)"

NAMES = {
    "single": "one by one",
    "producers": f"{PRODUCERS} producers",
    "bulk": "in bulk",
    "transaction": "in the caller's transaction",
}


async def measure(bench: Bench) -> list[Measure]:
    """Return jobs per second of each way."""
    sides: dict[str, Callable[[], Awaitable[Sample]]] = {
        "single": lambda: _by_rkyc(bench, SINGLES, _send_singles),
        "single bare": lambda: _by_bare_sql(bench, SINGLES, _insert_singles),
        "producers": lambda: _by_rkyc(bench, PRODUCED, _send_by_many),
        "producers bare": lambda: _by_bare_sql(bench, PRODUCED, _insert_by_many),
        "bulk": lambda: _by_rkyc(bench, BULK, _send_in_bulk),
        "bulk bare": lambda: _by_bare_sql(bench, BULK, _insert_in_bulk),
        "transaction": lambda: _by_rkyc(bench, TRANSACTIONS, _send_in_transactions),
        "transaction bare": lambda: _by_bare_sql(bench, TRANSACTIONS, _insert_in_transactions),
    }
    samples = await measure_in_turn(bench.runs, sides)
    return [Measure(name, "jobs/s", samples[key], samples[f"{key} bare"]) for key, name in NAMES.items()]


async def _by_rkyc(bench: Bench, jobs: int, send: Callable[[Client], Awaitable[None]]) -> Sample:
    """Use a fresh database, warm: the client's connections are there and know the statements."""
    async with bench.rkyc_database() as (_, client):
        await enqueue(client, Backlog("noop", 1000, 1))
        await asyncio.gather(*(client.enqueue("noop", {"n": n}) for n in range(PRODUCERS)))
        return await _rate(jobs, lambda: send(client))


async def _by_bare_sql(bench: Bench, jobs: int, insert: Callable[[BarePool], Awaitable[None]]) -> Sample:
    async with bench.bare_database() as (dsn, conn):
        await insert_bare(conn, 1000)
        async with asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
            await asyncio.gather(*(_insert_one(pool, n) for n in range(PRODUCERS)))
            return await _rate(jobs, lambda: insert(pool))


async def _rate(jobs: int, send: Callable[[], Awaitable[None]]) -> Sample:
    began = time.monotonic()
    await send()
    return Sample(jobs / (time.monotonic() - began))


async def _send_singles(client: Client) -> None:
    for n in range(SINGLES):
        await client.enqueue("noop", {"n": n})


async def _insert_singles(pool: BarePool) -> None:
    async with pool.acquire() as conn:
        for n in range(SINGLES):
            await conn.fetch(bare.SQL["insert_tasks"].text, [_input(n)])


async def _send_by_many(client: Client) -> None:
    async def produce() -> None:
        for n in range(PRODUCED // PRODUCERS):
            await client.enqueue("noop", {"n": n})

    await asyncio.gather(*(produce() for _ in range(PRODUCERS)))


async def _insert_by_many(pool: BarePool) -> None:
    async def produce() -> None:
        for n in range(PRODUCED // PRODUCERS):
            await _insert_one(pool, n)

    await asyncio.gather(*(produce() for _ in range(PRODUCERS)))


async def _insert_one(pool: BarePool, n: int) -> None:
    await pool.fetch(bare.SQL["insert_tasks"].text, [_input(n)])


async def _send_in_bulk(client: Client) -> None:
    await enqueue(client, Backlog("noop", BULK, 1))


async def _insert_in_bulk(pool: BarePool) -> None:
    async with pool.acquire() as conn:
        await insert_bare(conn, BULK)


async def _send_in_transactions(client: Client) -> None:
    own = await client.pool()
    async with own.connection() as conn:
        await conn.execute(_OWN_TABLE)
        for n in range(TRANSACTIONS):
            async with conn.transaction():
                await conn.execute(_OWN_ROW, n)
                await client.enqueue("noop", {"n": n}, conn=conn)


async def _insert_in_transactions(pool: BarePool) -> None:
    async with pool.acquire() as conn:
        await conn.execute(_OWN_TABLE)
        for n in range(TRANSACTIONS):
            async with conn.transaction():
                await conn.execute(_OWN_ROW, n)
                await conn.fetch(bare.SQL["enqueue_task"].text, _input(n))


def _input(n: int) -> str:
    return f'{{"n": {n}}}'


if __name__ == "__main__":
    run_case("enqueue", measure)
