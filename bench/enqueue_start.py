"""How soon does an enqueued job start on an idle system?

From before the call of `enqueue` to the first line of the body in another process, one job at a time,
at random moments. The worker hears of the job by NOTIFY; `poll_only` measures it without.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from bench import bare
from bench.harness import Bench, Process, command, run_case, wait_until
from bench.marks import Marks
from bench.measure import Measure, Sample, measure_in_turn, of_detail, pick_quantile

PROBES = 150
# The first ones are not counted: they prepare statements.
PROBES_FIRST = 10
# Seconds between a start and the next probe: longer than any round of the worker.
PAUSE_S = (0.02, 0.05)


async def measure(bench: Bench) -> list[Measure]:
    """Return the latency's median and 99th percentile."""
    starts = await measure_in_turn(
        bench.runs, {"rkyc": lambda: _by_rkyc(bench), "bare": lambda: _by_bare_sql(bench)}
    )
    late = {side: of_detail(samples, "p99_ms") for side, samples in starts.items()}
    soon = {side: [Sample(sample.value) for sample in samples] for side, samples in starts.items()}
    return [
        Measure("enqueue to start, p50", "ms", soon["rkyc"], soon["bare"], more_is_better=False),
        Measure("enqueue to start, p99", "ms", late["rkyc"], late["bare"], more_is_better=False),
    ]


async def _by_rkyc(bench: Bench) -> Sample:
    marks = bench.make_marks(PROBES)
    async with (
        bench.rkyc_database() as (dsn, client),
        bench.processes([command("bench.worker_process", dsn=dsn, marks=marks.path)]) as (worker,),
    ):
        return await _measure_starts(worker, marks, lambda n: client.enqueue("probe", {"n": n}))


async def _by_bare_sql(bench: Bench) -> Sample:
    marks = bench.make_marks(PROBES)
    async with bench.bare_database() as (dsn, conn):
        statement = await conn.prepare(bare.SQL["enqueue_task"].text)
        line = [*command("bench.bare", dsn=dsn, marks=marks.path), "--trace"]
        async with bench.processes([line]) as (worker,):
            return await _measure_starts(worker, marks, lambda n: statement.fetch(f'{{"n": {n}}}'))


async def _measure_starts(worker: Process, marks: Marks, send: Callable[[int], Awaitable[object]]) -> Sample:
    worker.open_gate()
    await worker.expect("serving")
    waits = await probe(marks, send, range(PROBES), pause_s=PAUSE_S)
    counted = waits[PROBES_FIRST:]
    return Sample(pick_quantile(counted, 0.5), {"p99_ms": pick_quantile(counted, 0.99)})


async def probe(
    marks: Marks,
    send: Callable[[int], Awaitable[object]],
    numbers: Sequence[int],
    *,
    pause_s: tuple[float, float],
) -> list[float]:
    """Enqueue one job after the other and see when each starts; return the waits in ms."""
    waits = []
    for n in numbers:
        sent_at = time.monotonic()
        await send(n)
        await wait_until(lambda n=n: marks.get(n) > 0, what=f"probe {n} started")  # type: ignore[misc]
        waits.append((marks.get(n) - sent_at) * 1e3)
        await asyncio.sleep(random.uniform(*pause_s))
    return waits


if __name__ == "__main__":
    run_case("enqueue_start", measure)
