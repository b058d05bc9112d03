"""How long do 5,000 jobs of eight half-second waits take in one process, and how much memory?

This is the shape of LLM work: thousands of jobs that mostly wait. Ideal are 4.0 s, from the first
body's start to the last job's completion; every step's output is committed before the next begins.
"""

from __future__ import annotations

from bench.backlog import Backlog, Drained, drain_by_bare_sql, drain_by_rkyc
from bench.harness import Bench, run_case
from bench.measure import Measure, Sample, measure_in_turn
from bench.pipelines import NAP_S, STEPS

# More rows (1,000 and 10,000) belong here when they are asked for.
JOBS = (5_000,)


async def measure(bench: Bench) -> list[Measure]:
    """Return seconds from the first start to the last completion, for each number of jobs."""
    return [await _measure(bench, jobs) for jobs in JOBS]


async def _measure(bench: Bench, jobs: int) -> Measure:
    backlog = Backlog("nap", jobs, STEPS, NAP_S)

    async def by_rkyc() -> Sample:
        return _sample(await drain_by_rkyc(bench, backlog, slots=jobs))

    async def by_bare_sql() -> Sample:
        return _sample(await drain_by_bare_sql(bench, backlog, slots=jobs))

    samples = await measure_in_turn(bench.runs, {"rkyc": by_rkyc, "bare": by_bare_sql})
    name = f"{jobs:,} jobs x {STEPS} x {NAP_S} s"
    return Measure(name, "s", samples["rkyc"], samples["bare"], more_is_better=False)


def _sample(drained: Drained) -> Sample:
    costs = {
        "peak_rss_mb": drained.peak_rss_mb,
        "worker_cpu_s": drained.worker_cpu_s,
        "postgres_cpu_s": drained.postgres_cpu_s,
    }
    return Sample(drained.seconds, costs)


if __name__ == "__main__":
    run_case("waiting_jobs", measure)
