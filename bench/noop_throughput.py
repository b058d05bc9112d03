"""How many jobs that do nothing go through in a second?

One process with and without prefetch, two and four processes, against bare SQL in one process. What
the number is worth: it is the overhead of claim, start and completion, history kept. A real step takes
seconds; this bounds how short a step may be before the queue is what costs.
"""

from __future__ import annotations

from functools import partial

from bench.backlog import Backlog, drain_by_bare_sql, drain_by_rkyc
from bench.harness import Bench, run_case
from bench.measure import Measure, Sample, measure_in_turn

# One to two seconds of work.
JOBS = 45_000
SLOTS = 500
PREFETCH = 500


async def measure(bench: Bench) -> list[Measure]:
    """Return jobs per second: without prefetch, with it, by two and by four processes."""
    backlog = Backlog("noop", JOBS, 1)

    async def by_rkyc(prefetch: int, processes: int) -> Sample:
        drained = await drain_by_rkyc(bench, backlog, slots=SLOTS, prefetch=prefetch, processes=processes)
        return drained.as_rate()

    async def by_bare_sql() -> Sample:
        return (await drain_by_bare_sql(bench, backlog, slots=SLOTS + PREFETCH)).as_rate()

    samples = await measure_in_turn(
        bench.runs,
        {
            "one process": partial(by_rkyc, 0, 1),
            "bare": by_bare_sql,
            "one process, prefetch": partial(by_rkyc, PREFETCH, 1),
            "two processes, prefetch": partial(by_rkyc, PREFETCH, 2),
            "four processes, prefetch": partial(by_rkyc, PREFETCH, 4),
        },
    )
    baseline = samples.pop("bare")
    one, two = samples["one process, prefetch"], samples["two processes, prefetch"]
    return [
        *(Measure(name, "jobs/s", values, baseline) for name, values in samples.items()),
        Measure("two processes beside one", "jobs/s", two, one, against="one process, prefetch"),
    ]


if __name__ == "__main__":
    run_case("noop_throughput", measure)
