"""How soon does an enqueued job start on an idle system, and how fast can jobs be enqueued?

Latency: from before the call of `enqueue` to the first line of the body in another process, one job
at a time, at random moments. Rates: one producer that calls again and again, and the bulk call.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from bench import bare
from bench.backlog import Backlog, enqueue, insert_bare
from bench.harness import Bench, Connection, command, run_case, wait_until
from bench.measure import Measure, Sample, measure_in_turn, pick_quantile
from rkyc.engine.client import Client

PROBES = 150
# The first ones are not counted: they prepare statements.
PROBES_FIRST = 10
# Seconds between a start and the next probe: longer than any round of the worker.
PAUSE_S = (0.02, 0.05)
SINGLES = 1_000
BULK = 50_000


async def measure(bench: Bench) -> list[Measure]:
    """Return the latency's median and 99th percentile, and the two rates."""

    async def wait_by_rkyc() -> Sample:
        async with bench.rkyc_database() as (dsn, client):
            return await _probe(
                bench, dsn, "bench.worker_process", lambda n: client.enqueue("probe", {"n": n})
            )

    async def wait_by_bare_sql() -> Sample:
        async with bench.bare_database() as (dsn, conn):
            statement = await conn.prepare(bare.SQL["enqueue_task"].text)
            return await _probe(
                bench, dsn, "bench.bare", lambda n: statement.fetch(f'{{"n": {n}}}'), trace=True
            )

    starts = await measure_in_turn(bench.runs, {"rkyc": wait_by_rkyc, "bare": wait_by_bare_sql})
    rates = await measure_in_turn(
        bench.runs,
        {
            "single": lambda: _rate_single(bench),
            "single bare": lambda: _rate_single_bare(bench),
            "bulk": lambda: _rate_bulk(bench),
            "bulk bare": lambda: _rate_bulk_bare(bench),
        },
    )
    late = {
        side: [Sample(sample.details["p99_ms"]) for sample in samples] for side, samples in starts.items()
    }
    soon = {side: [Sample(sample.value) for sample in samples] for side, samples in starts.items()}
    return [
        Measure("enqueue to start, p50", "ms", soon["rkyc"], soon["bare"], more_is_better=False),
        Measure("enqueue to start, p99", "ms", late["rkyc"], late["bare"], more_is_better=False),
        Measure("enqueue, one by one", "jobs/s", rates["single"], rates["single bare"]),
        Measure("enqueue, in bulk", "jobs/s", rates["bulk"], rates["bulk bare"]),
    ]


async def _probe(
    bench: Bench, dsn: str, module: str, send: Callable[[int], Awaitable[object]], *, trace: bool = False
) -> Sample:
    """Enqueue one job after the other and see when each starts; return p50, and p99 as detail (ms)."""
    marks = bench.make_marks(PROBES)
    flags = ["--trace"] if trace else []
    waits = []
    async with bench.processes([[*command(module, dsn=dsn, marks=marks.path), *flags]]) as (worker,):
        worker.open_gate()
        await worker.expect("serving")
        for n in range(PROBES):
            sent_at = time.monotonic()
            await send(n)
            await wait_until(lambda n=n: marks.get(n) > 0, what=f"probe {n} started")  # type: ignore[misc]
            waits.append((marks.get(n) - sent_at) * 1e3)
            await asyncio.sleep(random.uniform(*PAUSE_S))
    counted = waits[PROBES_FIRST:]
    return Sample(pick_quantile(counted, 0.5), {"p99_ms": pick_quantile(counted, 0.99)})


async def _rate_single(bench: Bench) -> Sample:
    async with _rkyc(bench) as client:
        began = time.monotonic()
        for n in range(SINGLES):
            await client.enqueue("noop", {"n": n})
        return Sample(SINGLES / (time.monotonic() - began))


async def _rate_single_bare(bench: Bench) -> Sample:
    async with _bare(bench) as conn:
        statement = await conn.prepare(bare.SQL["insert_tasks"].text)
        began = time.monotonic()
        for n in range(SINGLES):
            await statement.fetch([f'{{"n": {n}}}'])
        return Sample(SINGLES / (time.monotonic() - began))


async def _rate_bulk(bench: Bench) -> Sample:
    async with _rkyc(bench) as client:
        began = time.monotonic()
        await enqueue(client, Backlog("noop", BULK, 1))
        return Sample(BULK / (time.monotonic() - began))


async def _rate_bulk_bare(bench: Bench) -> Sample:
    async with _bare(bench) as conn:
        began = time.monotonic()
        await insert_bare(conn, BULK)
        return Sample(BULK / (time.monotonic() - began))


@contextlib.asynccontextmanager
async def _rkyc(bench: Bench) -> AsyncIterator[Client]:
    """A fresh database, warm: its statements are prepared."""
    async with bench.rkyc_database() as (_, client):
        await enqueue(client, Backlog("noop", 1000, 1))
        yield client


@contextlib.asynccontextmanager
async def _bare(bench: Bench) -> AsyncIterator[Connection]:
    async with bench.bare_database() as (_, conn):
        await insert_bare(conn, 1000)
        yield conn


if __name__ == "__main__":
    run_case("enqueue_start", measure)
