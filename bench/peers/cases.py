"""The questions put to a rival and to rkyc in turn, and what each side does for them.

The side of rkyc runs the functions and sizes of the cases in `bench/`; that of a rival is in `runs.py`.
A long case is one pair, and only run when asked for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench import eight_steps, noop_throughput, recovery, waiting_jobs
from bench.backlog import Backlog, drain_by_rkyc
from bench.harness import Bench, command, wait_until
from bench.measure import Sample, pick_quantile
from bench.peers import runs
from bench.peers.process import Installed
from bench.peers.stores import Servers
from bench.pipelines import NAP_S, STEPS

_SINGLES = 1_000
_BULK = 50_000
_PROBES = 150
_PROBES_FIRST = 10
_PROBE_PAUSE_S = (0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Case:
    """One question. `also` are further measures: their titles, by the detail of a sample that holds them."""

    title: str
    unit: str
    more_is_better: bool
    by_rkyc: Callable[[Bench], Awaitable[Sample]]
    by_rival: Callable[[Servers, Installed], Awaitable[Sample]]
    is_long: bool = False
    also: tuple[tuple[str, str], ...] = ()


async def _noop_by_rkyc(bench: Bench) -> Sample:
    backlog = Backlog("noop", noop_throughput.JOBS, 1)
    slots, prefetch = noop_throughput.SLOTS, noop_throughput.PREFETCH
    return (await drain_by_rkyc(bench, backlog, slots=slots, prefetch=prefetch)).as_rate()


async def _noop_by_rival(servers: Servers, installed: Installed) -> Sample:
    return (await runs.drain(servers, installed, "noop", "noop"))[1]


async def _eight_by_rkyc(bench: Bench) -> Sample:
    backlog = Backlog("eight", eight_steps.JOBS, STEPS)
    drained = await drain_by_rkyc(
        bench,
        backlog,
        slots=eight_steps.SLOTS,
        check=lambda conn: eight_steps.check(conn, eight_steps.JOBS),
    )
    return drained.as_rate()


async def _eight_by_rival(servers: Servers, installed: Installed) -> Sample:
    return (await runs.drain(servers, installed, "eight", "eight"))[1]


async def _nap_by_rkyc(bench: Bench) -> Sample:
    jobs = waiting_jobs.JOBS[0]
    drained = await drain_by_rkyc(bench, Backlog("nap", jobs, STEPS, NAP_S), slots=jobs)
    return Sample(drained.seconds, {"peak_rss_mb": drained.peak_rss_mb})


async def _nap_by_rival(servers: Servers, installed: Installed) -> Sample:
    seconds, sample = await runs.drain(servers, installed, "nap", "nap")
    return Sample(seconds, {"peak_rss_mb": sample.details["peak_rss_mb"]})


async def _enqueue_one_by_rkyc(bench: Bench) -> Sample:
    async with bench.rkyc_database() as (_, client):
        await client.enqueue_many("noop", [{"n": n} for n in range(_SINGLES)])
        began = time.monotonic()
        for n in range(_SINGLES):
            await client.enqueue("noop", {"n": n})
        return Sample(_SINGLES / (time.monotonic() - began))


async def _enqueue_bulk_by_rkyc(bench: Bench) -> Sample:
    async with bench.rkyc_database() as (_, client):
        await client.enqueue_many("noop", [{"n": n} for n in range(_SINGLES)])
        began = time.monotonic()
        await client.enqueue_many("noop", [{"n": n} for n in range(_BULK)])
        return Sample(_BULK / (time.monotonic() - began))


async def _start_by_rkyc(bench: Bench) -> Sample:
    marks = bench.make_marks(_PROBES)
    waits = []
    async with bench.rkyc_database() as (dsn, client):
        words = command("bench.worker_process", dsn=dsn, marks=marks.path)
        async with bench.processes([words]) as (worker,):
            worker.open_gate()
            await worker.expect("serving")
            for n in range(_PROBES):
                sent_at = time.monotonic()
                await client.enqueue("probe", {"n": n})
                await wait_until(lambda n=n: marks.get(n) > 0, what=f"probe {n} started")  # type: ignore[misc]
                waits.append((marks.get(n) - sent_at) * 1e3)
                await asyncio.sleep(random.uniform(*_PROBE_PAUSE_S))
    counted = waits[_PROBES_FIRST:]
    return Sample(pick_quantile(counted, 0.5), {"p99_ms": pick_quantile(counted, 0.99)})


async def _recovery_by_rkyc(bench: Bench) -> Sample:
    median, last = await recovery.measure(dataclasses.replace(bench, runs=1))
    return Sample(median.median, {**median.samples[0].details, "last_s": last.median})


CASES = {
    "noop": Case("no-op jobs, one process", "jobs/s", True, _noop_by_rkyc, _noop_by_rival),
    "eight": Case("jobs of eight durable steps", "jobs/s", True, _eight_by_rkyc, _eight_by_rival),
    "enqueue_one": Case(
        "enqueue, one by one",
        "jobs/s",
        True,
        _enqueue_one_by_rkyc,
        lambda servers, installed: runs.rate_enqueue(servers, installed, "singly", "enqueue_one"),
    ),
    "enqueue_bulk": Case(
        "enqueue, in bulk",
        "jobs/s",
        True,
        _enqueue_bulk_by_rkyc,
        lambda servers, installed: runs.rate_enqueue(servers, installed, "bulk", "enqueue_bulk"),
    ),
    "start": Case(
        "enqueue to start, p50",
        "ms",
        False,
        _start_by_rkyc,
        lambda servers, installed: runs.probe_start(servers, installed, "start"),
        also=(("enqueue to start, p99", "p99_ms"),),
    ),
    "nap": Case("5,000 jobs x 8 x 0.5 s", "s", False, _nap_by_rkyc, _nap_by_rival, is_long=True),
    "recovery": Case(
        "kill -9, median job runs on",
        "s",
        False,
        _recovery_by_rkyc,
        lambda servers, installed: runs.recover(servers, installed, "recovery"),
        is_long=True,
        also=(("kill -9, last job runs on", "last_s"),),
    ),
}
