"""One run of a rival in a case: a fresh store, jobs by the rival's own client, a worker, the clock.

The clock of a drained backlog is the one of `bench/backlog.py`: from the first line of the first body
until the store says that every job is finished. Bodies leave the same marks as those of rkyc.
"""

from __future__ import annotations

import contextlib
import statistics
import time

from bench.machine import peak_rss_mb, server_cpu_s
from bench.marks import Marks
from bench.measure import Sample, pick_quantile
from bench.peers.process import Installed, RivalProcess
from bench.peers.stores import OpenStore, Servers

# Steps of a job of each kind, as in `bench/pipelines.py`.
STEPS = {"noop": 1, "eight": 8, "nap": 8, "trace": 8}
# Seconds for the slowest of them: 5,000 sleeping jobs on one connection.
PATIENCE_S = 600.0
# The first probes are not counted: connections are made and statements prepared.
_PROBES_FIRST = 10


async def drain(servers: Servers, installed: Installed, kind: str, case: str) -> tuple[float, Sample]:
    """Let one worker run a backlog; return the seconds, and the jobs per second with their costs."""
    load = installed.rival.loads[case]
    bodies = load.jobs * STEPS[kind]
    marks = servers.bench.make_marks(1)
    async with installed.rival.store.open(servers) as store:
        await _fill(installed, store, kind, load.jobs)
        async with installed.start(
            "work", store.url, kind=kind, slots=load.slots, marks=marks.path
        ) as worker:
            await worker.expect_ready()
            worker_cpu, store_cpu = server_cpu_s(worker.pid), server_cpu_s(store.pid)
            worker.open_gate()
            await worker.wait_until(
                lambda: marks.total() >= bodies, what=f"{bodies} bodies begun", patience_s=PATIENCE_S
            )
            await worker.wait_for_store(store, PATIENCE_S)
            seconds = time.monotonic() - marks.first_at()
            costs = {
                "worker_us_per_step": (server_cpu_s(worker.pid) - worker_cpu) / bodies * 1e6,
                "store_us_per_step": (server_cpu_s(store.pid) - store_cpu) / bodies * 1e6,
                "peak_rss_mb": peak_rss_mb(worker.pid),
            }
            return seconds, Sample(load.jobs / seconds, costs)


async def rate_enqueue(servers: Servers, installed: Installed, role: str, case: str) -> Sample:
    """Return the jobs per second that one producer enqueues; no worker runs."""
    jobs = installed.rival.loads[case].jobs
    async with installed.rival.store.open(servers) as store:
        await installed.ask("prepare", store.url, patience_s=PATIENCE_S)
        answer = await installed.ask(role, store.url, patience_s=PATIENCE_S, kind="noop", jobs=jobs)
        return Sample(jobs / answer["seconds"])


async def probe_start(servers: Servers, installed: Installed, case: str) -> Sample:
    """Enqueue one job after the other and see when each starts; return p50, and p99 as detail (ms)."""
    load = installed.rival.loads[case]
    marks = servers.bench.make_marks(load.jobs)
    async with installed.rival.store.open(servers) as store:
        await installed.ask("prepare", store.url, patience_s=PATIENCE_S)
        options = {"kind": "probe", "slots": load.slots, "marks": marks.path}
        async with installed.start("work", store.url, **options) as worker:
            await worker.expect_ready()
            worker.open_gate()
            options = {"kind": "probe", "jobs": load.jobs, "marks": marks.path}
            answer = await installed.ask("probe", store.url, patience_s=PATIENCE_S, **options)
    waits = answer["waits_ms"][_PROBES_FIRST:]
    return Sample(pick_quantile(waits, 0.5), {"p99_ms": pick_quantile(waits, 0.99)})


async def recover(servers: Servers, installed: Installed, case: str) -> Sample:
    """Kill the worker at half of the work; return the seconds until the median job runs on elsewhere.

    The heir stands idle from the beginning, or is started at the moment of the kill, if the rival
    takes up the jobs of no process but a restarted one.
    """
    load = installed.rival.loads[case]
    bodies = load.jobs * STEPS["trace"]
    marks = servers.bench.make_marks(bodies)
    async with installed.rival.store.open(servers) as store, contextlib.AsyncExitStack() as stack:
        await _fill(installed, store, "trace", load.jobs)

        async def start_worker(number: int) -> RivalProcess:
            options = {"kind": "trace", "slots": load.slots, "marks": marks.path, "process": number}
            worker = await stack.enter_async_context(installed.start("work", store.url, **options))
            await worker.expect_ready()
            worker.open_gate()
            return worker

        first = await start_worker(0)
        await first.wait_until(lambda: marks.total() >= load.jobs, what="all jobs run", patience_s=PATIENCE_S)
        heir = None if installed.rival.needs_restart else await start_worker(1)
        await first.wait_until(
            lambda: marks.total() >= bodies // 2, what="half of all bodies have begun", patience_s=PATIENCE_S
        )
        await first.kill()
        killed_at = time.monotonic()
        heir = heir or await start_worker(1)
        cut_off = [n for n in range(load.jobs) if not _has_ended(marks, n)]
        await heir.wait_until(
            lambda: all(_resumed_at(marks, n) for n in cut_off), what="all jobs run on", patience_s=PATIENCE_S
        )
        await heir.wait_for_store(store, PATIENCE_S)
    return _compare(marks, load.jobs, killed_at)


async def _fill(installed: Installed, store: OpenStore, kind: str, jobs: int) -> None:
    await installed.ask("prepare", store.url, patience_s=PATIENCE_S)
    await installed.ask("fill", store.url, patience_s=PATIENCE_S, kind=kind, jobs=jobs)
    await store.settle()


def _compare(marks: Marks, jobs: int, killed_at: float) -> Sample:
    steps = STEPS["trace"]
    waits = sorted(_resumed_at(marks, n) - killed_at for n in range(jobs) if _resumed_at(marks, n))
    # A step whose successor began had ended: it was there to be remembered.
    again = sum(
        marks.get(n * steps + step + 1) > 0 and marks.get(n * steps + step, process=1) > 0
        for n in range(jobs)
        for step in range(steps - 1)
    )
    return Sample(statistics.median(waits), {"last_s": waits[-1], "completed_steps_again": again})


def _has_ended(marks: Marks, n: int) -> bool:
    """Whether the job may have run to its end in the first process: its last step began there."""
    return marks.get((n + 1) * STEPS["trace"] - 1) > 0


def _resumed_at(marks: Marks, n: int) -> float:
    """Return when the heir first ran a body of the job, or 0.0."""
    steps = STEPS["trace"]
    times = [marks.get(n * steps + step, process=1) for step in range(steps)]
    return min((one for one in times if one), default=0.0)
