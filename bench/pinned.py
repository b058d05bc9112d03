"""What do open transactions of others cost: a snapshot that is pinned, and a job that is committed late?

*Pinned*: a session reads once at REPEATABLE READ and stays idle, while one process is kept busy with jobs
that do nothing; every row that the queue deletes stays in its tables. The same without the session, in turn.
The clock runs over the last 15 of 20 s. In the long form 1,000 jobs/s went through both for half an hour before, side
by side in two databases, and the session's snapshot is as old as that.
*Late*: a transaction enqueues a job, stays open while thousands of later jobs finish, and commits; and one
of 2,000 jobs, open for 0.3 s while others pass. The clock runs from before the COMMIT to the last body's first line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import asyncpg

from bench.harness import Bench, Connection, Process, command, run_case, wait_until
from bench.marks import Marks
from bench.measure import Measure, Sample, measure_in_turn, of_detail, pick_quantile
from bench.timed_worker import read_times
from rkyc.engine.client import Client
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.store.queue import jobs as store
from rkyc.store.queue.jobs import NewJobs

SLOTS = 500
PREFETCH = 500
# Seconds at full load, and how many of them do not count; seconds at a steady rate before, in the long form.
BUSY_S = 20.0
WARM_S = 5.0
STEADY_S = 1800.0
STEADY_RATE = 1_000
# Jobs that wait while a process is kept busy, and how many are enqueued at once.
AHEAD = 4_000
BATCH = 500
# The late committer: how many others finish meanwhile, and for how long at least it stays open.
OTHERS, OTHERS_LONG = 20_000, 50_000
OPEN_S, OPEN_LONG_S = 2.0, 60.0
LATE_ROWS = 2_000
LATE_OPEN_S = 0.3
# Jobs per second that pass the 2,000 while their transaction is open.
PASSING_RATE = 2_000


async def measure(bench: Bench) -> list[Measure]:
    """Return the throughput and the claim's time with a pinned snapshot, and how soon late jobs start."""
    busy = await _measure_busy(bench)
    late = await measure_in_turn(
        1 if bench.is_long else bench.runs,
        {"one": lambda: _commit_late(bench), "many": lambda: _commit_many(bench)},
        warm_ups=0,
    )
    against = "without"
    return [
        Measure("pinned snapshot", "jobs/s", busy["pinned"], busy["clean"], against=against),
        *(
            Measure(
                f"pinned snapshot, claim {name}",
                "ms",
                of_detail(busy["pinned"], f"claim_{name}_ms"),
                of_detail(busy["clean"], f"claim_{name}_ms"),
                more_is_better=False,
                against=against,
            )
            for name in ("p50", "p99")
        ),
        Measure("late job starts", "ms", late["one"], more_is_better=False),
        Measure(f"{LATE_ROWS:,} late jobs start", "ms", late["many"], more_is_better=False),
    ]


@dataclass(slots=True)
class _Side:
    """One process on a database of its own, kept busy now and then."""

    client: Client
    marks: Marks
    # When the clock began and ended to run, and how many jobs began between.
    windows: list[tuple[float, float, int]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    async def keep_busy(self) -> None:
        """Run at full load and note the window that counts."""
        await _feed(self.client, self.marks, WARM_S)
        began, begun = time.monotonic(), self.marks.total()
        await _feed(self.client, self.marks, BUSY_S - WARM_S)
        self.windows.append((began, time.monotonic(), self.marks.total() - begun))


async def _measure_busy(bench: Bench) -> dict[str, list[Sample]]:
    """Return the samples of both sides: jobs per second, and quantiles of the claim's time in ms."""
    pinned: list[Sample] = []
    clean: list[Sample] = []
    if bench.is_long:
        async with _open_side(bench, is_pinned=True) as one, _open_side(bench, is_pinned=False) as other:
            await asyncio.gather(
                *(_feed(side.client, side.marks, STEADY_S, rate=STEADY_RATE) for side in (one, other))
            )
            for _ in range(bench.runs):
                await one.keep_busy()
                await other.keep_busy()
        return {"pinned": one.samples, "clean": other.samples}
    for _ in range(bench.runs):
        for samples, is_pinned in ((pinned, True), (clean, False)):
            async with _open_side(bench, is_pinned=is_pinned) as side:
                await side.keep_busy()
            samples.extend(side.samples)
    return {"pinned": pinned, "clean": clean}


@contextlib.asynccontextmanager
async def _open_side(bench: Bench, *, is_pinned: bool) -> AsyncIterator[_Side]:
    """Start a process on a new database; its side's samples are there when it has ended."""
    times = bench.folder / f"claims-{is_pinned}"
    async with bench.rkyc_database() as (dsn, client), _pin(dsn, is_pinned):
        side = _Side(client, bench.make_marks(1))
        line = command("bench.timed_worker", dsn=dsn, marks=side.marks.path, slots=SLOTS, prefetch=PREFETCH)
        async with bench.processes([[*line, times]]) as (worker,):
            await _open(worker)
            yield side
    claims = read_times(times)
    for began, ended, done in side.windows:
        ms = [seconds * 1e3 for at, seconds in claims if began <= at < ended]
        details = {f"claim_{name}_ms": pick_quantile(ms, q) for name, q in (("p50", 0.5), ("p99", 0.99))}
        side.samples.append(Sample(done / (ended - began), {**details, "claims": len(ms)}))


async def _commit_late(bench: Bench) -> Sample:
    """Return how many ms after its commit a job starts that thousands of later ones have passed."""
    others, open_s = (OTHERS_LONG, OPEN_LONG_S) if bench.is_long else (OTHERS, OPEN_S)
    async with _serving(bench, cells=1) as (conn, client, marks):
        transaction = conn.transaction()
        await transaction.start()
        await client.enqueue("probe", {"n": 0}, conn=conn)
        began = time.monotonic()
        await _feed(client, marks, jobs=others)
        await wait_until(lambda: marks.total() >= others, what="the later jobs have begun")
        await asyncio.sleep(max(0.0, began + open_s - time.monotonic()))
        committed_at = time.monotonic()
        await transaction.commit()
        await wait_until(lambda: marks.get(0) > 0, what="the late job has begun")
        return Sample((marks.get(0) - committed_at) * 1e3)


async def _commit_many(bench: Bench) -> Sample:
    """Return how many ms after their commit the last of 2,000 jobs starts, with a slot for each.

    Others pass before and meanwhile, so that their numbers lie below the newest.
    """
    async with _serving(bench, cells=LATE_ROWS, slots=LATE_ROWS) as (conn, client, marks):
        passing = asyncio.create_task(_feed(client, marks, 2.0, rate=PASSING_RATE, batch=20))
        await wait_until(lambda: marks.total() > 0, what="others have begun")
        transaction = conn.transaction()
        await transaction.start()
        began = time.monotonic()
        for start in range(0, LATE_ROWS, 1000):
            numbers = range(start, start + 1000)
            ids = [make_uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES)) for _ in numbers]
            await store.enqueue_jobs(conn, NewJobs("probe"), ids, [f'{{"n": {n}}}' for n in numbers])
        await store.notify(conn, store.WAKE_CHANNEL, ["default"])
        await asyncio.sleep(max(0.0, began + LATE_OPEN_S - time.monotonic()))
        committed_at = time.monotonic()
        await transaction.commit()
        await wait_until(_all_set(marks, LATE_ROWS), what="all late jobs have begun")
        last_at = max(marks.get(n) for n in range(LATE_ROWS))
        await passing
        return Sample((last_at - committed_at) * 1e3)


async def _feed(
    client: Client,
    marks: Marks,
    seconds: float = float("inf"),
    *,
    jobs: float = float("inf"),
    rate: int | None = None,
    batch: int = BATCH,
) -> None:
    """Enqueue for so long, or so many; at a rate per second, or so that some always wait."""
    began, sent, begun = time.monotonic(), 0, marks.total()
    while sent < jobs and (passed := time.monotonic() - began) < seconds:
        wanted = marks.total() - begun + AHEAD if rate is None else rate * passed
        if sent + batch > wanted:
            await asyncio.sleep(0.002)
            continue
        await client.enqueue_many("noop", [{"n": n} for n in range(sent, sent + batch)])
        sent += batch


async def _open(worker: Process) -> None:
    worker.open_gate()
    await worker.expect("serving")


@contextlib.asynccontextmanager
async def _serving(
    bench: Bench, *, cells: int, slots: int = SLOTS
) -> AsyncIterator[tuple[Connection, Client, Marks]]:
    """Let one process serve; yield a connection of somebody else's, a client, and the process's marks."""
    async with bench.rkyc_database() as (dsn, client):
        marks = bench.make_marks(cells)
        async with bench.processes(
            [command("bench.worker_process", dsn=dsn, marks=marks.path, slots=slots)]
        ) as (worker,):
            await _open(worker)
            conn = await asyncpg.connect(dsn)
            try:
                # Once, so that its statements are prepared.
                async with conn.transaction():
                    await client.enqueue("noop", {"n": 0}, conn=conn)
                yield conn, client, marks
            finally:
                await conn.close()


@contextlib.asynccontextmanager
async def _pin(dsn: str, is_pinned: bool) -> AsyncIterator[None]:
    """Hold a snapshot, as a report that somebody left open does."""
    if not is_pinned:
        yield
        return
    conn = await asyncpg.connect(dsn)
    try:
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            await conn.fetchval("SELECT count(*) FROM rkyc.job")
            yield
    finally:
        await conn.close()


def _all_set(marks: Marks, cells: int) -> Callable[[], bool]:
    """Return what tells whether all cells are set, looking only at the ones that were not."""
    missing = list(range(cells))

    def is_met() -> bool:
        while missing and marks.get(missing[-1]) > 0:
            missing.pop()
        return not missing

    return is_met


if __name__ == "__main__":
    run_case("pinned", measure)
