"""What do 100,000 jobs that wait for a signal cost the process that let them wait, and the claims of others?

One process of 200 slots runs jobs up to a `ctx.wait_signal`: then each is a row of the database. Measured are the
process's resident memory after the first thousand and after all, and its claims of single jobs that do nothing, each
enqueued when the one before has ended, before and after. In the short form 5,000 jobs wait.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.harness import Bench, command, run_case
from bench.machine import rss_mb
from bench.measure import Measure, Sample, pick_quantile
from bench.timed_worker import read_times
from rkyc.engine.client import Client

JOBS, JOBS_LONG = 5_000, 100_000
# So many wait before the first look, that what any such job loads is loaded.
FIRST = 1_000
PROBES = 300
SLOTS = 200
BATCH = 1_000
# How long the slowest part may take in the long form. Seconds.
PATIENCE_S = 1800.0
_WAITING = "SELECT count(*) FROM rkyc.waiting WHERE kind = 'signal'"


async def measure(bench: Bench) -> list[Measure]:
    """Return the memory that waiting jobs add, and the time of a claim without and beside them."""
    jobs = JOBS_LONG if bench.is_long else JOBS
    path = bench.folder / "waiting-claims"
    async with bench.rkyc_database() as (dsn, client):
        marks = bench.make_marks(1)
        line = command("bench.timed_worker", dsn=dsn, marks=marks.path, slots=SLOTS)
        async with bench.processes([[*line, path]]) as (worker,):
            worker.open_gate()
            await worker.expect("serving")
            await _let_wait(client, FIRST, FIRST)
            before_mb, without = rss_mb(worker.pid), await _probe(client)
            began = time.monotonic()
            await _let_wait(client, jobs, FIRST + jobs)
            seconds = time.monotonic() - began
            after_mb, beside = rss_mb(worker.pid), await _probe(client)
            await worker.stop()
    grown = Sample(after_mb - before_mb, {"before_mb": before_mb, "after_mb": after_mb})
    return [
        Measure(f"memory of {jobs:,} waiting jobs", "MB", [grown], more_is_better=False),
        *(
            _compare_claims(path, name, share, without, beside)
            for name, share in (("p50", 0.5), ("p99", 0.99))
        ),
        Measure("jobs that begin to wait", "jobs/s", [Sample(jobs / seconds)]),
    ]


async def _let_wait(client: Client, jobs: int, all_waiting: int) -> None:
    """Enqueue jobs until so many wait in all."""
    for start in range(0, jobs, BATCH):
        await client.enqueue_many("wait", [{"n": n} for n in range(start, min(start + BATCH, jobs))])
    pool = await client.pool()
    until = time.monotonic() + PATIENCE_S
    async with pool.connection() as conn:
        while await conn.fetchval(_WAITING) < all_waiting:
            if time.monotonic() > until:
                raise SystemExit(f"after {PATIENCE_S:g} s not all jobs wait")
            await conn.execute("SELECT pg_sleep(0.2)")


async def _probe(client: Client) -> tuple[float, float]:
    """Run single jobs, one after another; return from when until when."""
    began = time.monotonic()
    for number in range(PROBES):
        await client.result(await client.enqueue("noop", {"n": number}))
    return began, time.monotonic()


def _compare_claims(
    path: Path, name: str, share: float, without: tuple[float, float], beside: tuple[float, float]
) -> Measure:
    times = read_times(path)
    sides = [
        Sample(pick_quantile([took for asked_at, took in times if began <= asked_at <= ended], share) * 1000)
        for began, ended in (beside, without)
    ]
    return Measure(
        f"claim beside them, {name}", "ms", sides[:1], sides[1:], more_is_better=False, against="without them"
    )


if __name__ == "__main__":
    run_case("waiting_memory", measure)
