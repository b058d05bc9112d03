"""What do 100,000 jobs that wait for a signal cost the process that let them wait, and the claims of others?

One process of 200 slots runs jobs up to a `ctx.wait_signal`: then each is a row of the database. Measured are the
process's resident memory after the first thousand and after all, and then its claims of single jobs that do nothing, each
enqueued when the one before has ended, in turn with those of a process on a database where only the thousand wait. In
the short form 5,000 jobs wait.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import Bench, command, run_case
from bench.machine import rss_mb
from bench.measure import Measure, Sample, pick_quantile
from bench.timed_worker import read_times
from rkyc.engine.client import Client

JOBS, JOBS_LONG = 5_000, 100_000
# So many wait before the first look, that what any such job loads is loaded.
FIRST = 1_000
# Claims of one probe.
PROBES = 500
SLOTS = 200
BATCH = 1_000
# How long the slowest part may take in the long form. Seconds.
PATIENCE_S = 1800.0
_WAITING = "SELECT count(*) FROM rkyc.waiting WHERE kind = 'signal'"


@dataclass(slots=True)
class _Side:
    """A process on a database of its own, and when it was probed."""

    client: Client
    pid: int
    times: Path
    probed: list[tuple[float, float]] = field(default_factory=list)

    async def probe(self) -> None:
        """Run single jobs, one after another."""
        began = time.monotonic()
        for number in range(PROBES):
            await self.client.result(await self.client.enqueue("noop", {"n": number}))
        self.probed.append((began, time.monotonic()))

    def pick_claims(self, share: float) -> list[Sample]:
        """Return a quantile of the claims of each probe, in ms."""
        claims = read_times(self.times)
        return [
            Sample(pick_quantile([took for at, took in claims if began <= at <= ended], share) * 1000)
            for began, ended in self.probed
        ]


async def measure(bench: Bench) -> list[Measure]:
    """Return the memory that waiting jobs add, and the time of a claim beside and without them."""
    jobs = JOBS_LONG if bench.is_long else JOBS
    async with _open_side(bench, "beside") as beside, _open_side(bench, "without") as without:
        for side in (beside, without):
            await _let_wait(side.client, FIRST, FIRST)
        before_mb = rss_mb(beside.pid)
        began = time.monotonic()
        await _let_wait(beside.client, jobs, FIRST + jobs)
        seconds = time.monotonic() - began
        after_mb = rss_mb(beside.pid)
        for _ in range(bench.runs):
            for side in (beside, without):
                await side.probe()
    grown = Sample(after_mb - before_mb, {"before_mb": before_mb, "after_mb": after_mb})
    return [
        Measure(f"memory of {jobs:,} waiting jobs", "MB", [grown], more_is_better=False),
        *(
            Measure(
                f"claim beside them, {name}",
                "ms",
                beside.pick_claims(share),
                without.pick_claims(share),
                more_is_better=False,
                against="without them",
            )
            for name, share in (("p50", 0.5), ("p99", 0.99))
        ),
        Measure("jobs that begin to wait", "jobs/s", [Sample(jobs / seconds)]),
    ]


@contextlib.asynccontextmanager
async def _open_side(bench: Bench, name: str) -> AsyncIterator[_Side]:
    times = bench.folder / f"claims-{name}"
    async with bench.rkyc_database() as (dsn, client):
        line = command("bench.timed_worker", dsn=dsn, marks=bench.make_marks(1).path, slots=SLOTS)
        async with bench.processes([[*line, times]]) as (worker,):
            worker.open_gate()
            await worker.expect("serving")
            yield _Side(client, worker.pid, times)
            await worker.stop()


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


if __name__ == "__main__":
    run_case("waiting_memory", measure)
