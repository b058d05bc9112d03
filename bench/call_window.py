"""For how long can an answer of `ctx.call` be lost: from the function's return until its row is committed?

1, 20 and 100 jobs at once in one process call one after another, 10 to 40 ms each. The clock runs from the last line
of the called function until `ctx.call` returns. By then the process has read the answer to the commit, so that the time in
which a crash loses something is shorter than what is measured here, by half a round trip and a turn of the loop. The
baseline is one INSERT by itself, a commit of its own. Afterwards the rows of the journal are counted.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Sequence

import asyncpg
import orjson

from bench import bare
from bench.harness import Bench, command, run_case, wait_until
from bench.measure import Measure, Sample, measure_in_turn, of_detail, pick_quantile
from bench.pipelines import CALL_S, TEXT

# Jobs at once, and how many calls each of them makes.
CALLS = {1: 200, 20: 100, 100: 50}
# The first of each job are not counted: they prepare statements.
CALLS_FIRST = 5
_ROWS = "SELECT count(*) FROM rkyc.journal"


async def measure(bench: Bench) -> list[Measure]:
    """Return the window's median and 99th percentile by the number of jobs."""
    sides = {str(jobs): functools.partial(_by_rkyc, bench, jobs) for jobs in CALLS}
    samples = await measure_in_turn(bench.runs, {**sides, "bare": functools.partial(_by_bare_sql, bench)})
    return [
        Measure(
            f"{'1 job' if jobs == 1 else f'{jobs} jobs at once'}, {quantile}",
            "ms",
            of_detail(samples[str(jobs)], f"{quantile}_ms"),
            of_detail(samples["bare"], f"{quantile}_ms") if jobs == 1 else (),
            more_is_better=False,
            against="one INSERT",
        )
        for jobs in CALLS
        for quantile in ("p50", "p99")
    ]


async def _by_rkyc(bench: Bench, jobs: int) -> Sample:
    calls = CALLS[jobs]
    marks = bench.make_marks(2 * jobs * calls)
    async with bench.rkyc_database() as (dsn, client):
        line = command("bench.worker_process", dsn=dsn, marks=marks.path, slots=jobs)
        async with bench.processes([line]) as (worker,):
            worker.open_gate()
            await worker.expect("serving")
            await client.enqueue_many("call", [{"n": n, "calls": calls} for n in range(jobs)])
            last = [2 * calls * (n + 1) - 1 for n in range(jobs)]
            await wait_until(lambda: all(marks.get(cell) for cell in last), what="all calls are remembered")
        conn = await asyncpg.connect(dsn)
        try:
            rows = await conn.fetchval(_ROWS)
        finally:
            await conn.close()
    if rows != jobs * calls:
        raise SystemExit(f"{rows} of {jobs * calls} answers are in the journal: the engine lost some")
    cells = [2 * (n * calls + number) for n in range(jobs) for number in range(CALLS_FIRST, calls)]
    return _sample([marks.get(cell + 1) - marks.get(cell) for cell in cells])


async def _by_bare_sql(bench: Bench) -> Sample:
    windows = []
    async with bench.bare_database() as (_, conn):
        for number in range(CALLS[1]):
            await asyncio.sleep(random.uniform(*CALL_S))
            answered_at = time.monotonic()
            text = orjson.dumps({"text": TEXT}).decode()
            await conn.fetch(bare.SQL["save_outputs"].text, [1], [number], [text])
            windows.append(time.monotonic() - answered_at)
    return _sample(windows[CALLS_FIRST:])


def _sample(windows: Sequence[float]) -> Sample:
    p50, p99 = (pick_quantile(windows, share) * 1e3 for share in (0.5, 0.99))
    return Sample(p50, {"p50_ms": p50, "p99_ms": p99})


if __name__ == "__main__":
    run_case("call_window", measure)
