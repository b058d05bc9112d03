"""What does a durable step cost when no other job runs?

One slot, jobs of eight steps that do nothing: a commit has no company, and its fsync is waited for.
This is the price of a step's durability on an idle system; the disk's own part stands in the result
as `fdatasync_ms`.
"""

from __future__ import annotations

from bench.backlog import Backlog, Drained, drain_by_bare_sql, drain_by_rkyc
from bench.eight_steps import check
from bench.harness import Bench, run_case
from bench.measure import Measure, Sample, measure_in_turn
from bench.pipelines import STEPS

JOBS = 250


async def measure(bench: Bench) -> list[Measure]:
    """Return milliseconds per step."""
    backlog = Backlog("eight", JOBS, STEPS)

    async def by_rkyc() -> Sample:
        return _sample(await drain_by_rkyc(bench, backlog, slots=1, check=lambda conn: check(conn, JOBS)))

    async def by_bare_sql() -> Sample:
        return _sample(await drain_by_bare_sql(bench, backlog, slots=1))

    samples = await measure_in_turn(bench.runs, {"rkyc": by_rkyc, "bare": by_bare_sql})
    return [
        Measure("one job at a time", "ms/step", samples["rkyc"], samples["bare"], more_is_better=False),
    ]


def _sample(drained: Drained) -> Sample:
    return Sample(drained.seconds / (JOBS * STEPS) * 1e3)


if __name__ == "__main__":
    run_case("step_alone", measure)
