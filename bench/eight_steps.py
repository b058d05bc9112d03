"""How many jobs of eight durable steps go through in a second, and what does a step cost alone?

Each step's output is committed before the next begins: seven checkpoints and a result per job. After
each run all of them are read back and counted. Alone: one slot, so that a commit has no company and
its fsync is waited for; that is the price of a step's durability on an idle system.
"""

from __future__ import annotations

from bench.backlog import Backlog, drain_by_bare_sql, drain_by_rkyc
from bench.harness import Bench, Connection, run_case
from bench.measure import Measure, Sample, measure_in_turn
from bench.pipelines import STEPS, TEXT

JOBS = 5_000
JOBS_ALONE = 150
SLOTS = 500
_READABLE = """
SELECT count(*) FROM rkyc.job j WHERE
  (SELECT array_agg(c.step ORDER BY c.seq) FROM rkyc.checkpoint c
   WHERE c.job_id = j.id AND c.output = jsonb_build_object('n', j.input -> 'n', 'text', $1::text)) = $2
  AND (SELECT h.result = jsonb_build_object('n', j.input -> 'n', 'text', $1::text) FROM rkyc.history h WHERE h.job_id = j.id)"""


async def measure(bench: Bench) -> list[Measure]:
    """Return jobs per second, and milliseconds per step one job at a time."""
    many, alone = Backlog("eight", JOBS, STEPS), Backlog("eight", JOBS_ALONE, STEPS)

    async def by_rkyc() -> Sample:
        return (await drain_by_rkyc(bench, many, slots=SLOTS, check=lambda conn: check(conn, JOBS))).as_rate()

    async def by_bare_sql() -> Sample:
        return (await drain_by_bare_sql(bench, many, slots=SLOTS)).as_rate()

    async def alone_by_rkyc() -> Sample:
        drained = await drain_by_rkyc(bench, alone, slots=1, check=lambda conn: check(conn, JOBS_ALONE))
        return Sample(drained.seconds / (JOBS_ALONE * STEPS) * 1e3)

    async def alone_by_bare_sql() -> Sample:
        drained = await drain_by_bare_sql(bench, alone, slots=1)
        return Sample(drained.seconds / (JOBS_ALONE * STEPS) * 1e3)

    samples = await measure_in_turn(
        bench.runs,
        {
            "many": by_rkyc,
            "many bare": by_bare_sql,
            "alone": alone_by_rkyc,
            "alone bare": alone_by_bare_sql,
        },
    )
    return [
        Measure("many at once", "jobs/s", samples["many"], samples["many bare"]),
        Measure(
            "one job at a time", "ms/step", samples["alone"], samples["alone bare"], more_is_better=False
        ),
    ]


async def check(conn: Connection, jobs: int) -> None:
    """End the bench unless every checkpoint of every job can be read, in order, with its value."""
    readable = await conn.fetchval(_READABLE, TEXT, [f"s{number}" for number in range(STEPS - 1)])
    if readable != jobs:
        raise SystemExit(f"only {readable} of {jobs} jobs have all their checkpoints: the engine lost some")


if __name__ == "__main__":
    run_case("eight_steps", measure)
