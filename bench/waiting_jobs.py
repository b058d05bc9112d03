"""How long do thousands of jobs of eight half-second waits take in one process, and how much memory?

This is the shape of LLM work: thousands of jobs that mostly wait. Ideal are 4.0 s, from the first
body's start to the last job's completion; every step's output is committed before the next begins.
In the short form 5,000 jobs run in all rounds, 1,000 and 10,000 once; in the long one all do.
"""

from __future__ import annotations

import statistics

from bench.backlog import Backlog, Drained, drain_by_bare_sql, drain_by_rkyc
from bench.harness import Bench, run_case
from bench.measure import Measure, Sample, measure_in_turn, of_detail
from bench.pipelines import NAP_S, STEPS

# The first number runs in every round.
JOBS = (5_000, 1_000, 10_000)


async def measure(bench: Bench) -> list[Measure]:
    """Return seconds from the first start to the last completion, and memory, for each number of jobs."""
    sides = {}
    for jobs in JOBS:
        is_full = bench.is_long or jobs == JOBS[0]
        sides[jobs] = await _run(bench, jobs, runs=bench.runs if is_full else 1, warm_ups=int(is_full))
    found = []
    for jobs, samples in sides.items():
        name = f"{jobs:,} jobs x {STEPS} x {NAP_S} s"
        found.append(Measure(name, "s", samples["rkyc"], samples["bare"], more_is_better=False))
    for jobs, samples in sides.items():
        peaks = {side: of_detail(values, "peak_rss_mb") for side, values in samples.items()}
        name = f"{jobs:,} jobs, peak memory"
        found.append(Measure(name, "MB", peaks["rkyc"], peaks["bare"], more_is_better=False))
    return [*found, Measure("memory of a waiting job", "KB", [_per_job(sides)], more_is_better=False)]


async def _run(bench: Bench, jobs: int, *, runs: int, warm_ups: int) -> dict[str, list[Sample]]:
    backlog = Backlog("nap", jobs, STEPS, NAP_S)

    async def by_rkyc() -> Sample:
        return _sample(await drain_by_rkyc(bench, backlog, slots=jobs))

    async def by_bare_sql() -> Sample:
        return _sample(await drain_by_bare_sql(bench, backlog, slots=jobs))

    return await measure_in_turn(runs, {"rkyc": by_rkyc, "bare": by_bare_sql}, warm_ups=warm_ups)


def _sample(drained: Drained) -> Sample:
    costs = {
        "peak_rss_mb": drained.peak_rss_mb,
        "worker_cpu_s": drained.worker_cpu_s,
        "postgres_cpu_s": drained.postgres_cpu_s,
    }
    return Sample(drained.seconds, costs)


def _per_job(sides: dict[int, dict[str, list[Sample]]]) -> Sample:
    """What each job adds between the smallest and the largest number of them."""
    few, most = min(JOBS), max(JOBS)
    low, high = (
        statistics.median([sample.details["peak_rss_mb"] for sample in sides[jobs]["rkyc"]])
        for jobs in (few, most)
    )
    return Sample((high - low) * 1024 / (most - few))


if __name__ == "__main__":
    run_case("waiting_jobs", measure)
