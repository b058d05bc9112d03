"""How many jobs of eight durable steps go through in a second, and what does a step cost?

Each step's output is committed before the next begins: seven checkpoints and a result per job. After
each run all of them are read back and compared. Processor time and WAL are those of the same runs.
"""

from __future__ import annotations

from bench.backlog import Backlog, drain_by_bare_sql, drain_by_rkyc
from bench.harness import Bench, Connection, run_case
from bench.measure import Measure, Sample, measure_in_turn, of_detail
from bench.pipelines import STEPS, TEXT

JOBS = 5_000
SLOTS = 500
_READABLE = """
SELECT count(*) FROM rkyc.job j WHERE
  (SELECT array_agg(c.step ORDER BY c.seq) FROM rkyc.checkpoint c
   WHERE c.job_id = j.id AND c.output = jsonb_build_object('n', j.input -> 'n', 'text', $1::text)) = $2
  AND (SELECT h.result = jsonb_build_object('n', j.input -> 'n', 'text', $1::text) FROM rkyc.history h WHERE h.job_id = j.id)"""
# Name, unit, and the detail of a run that it is.
_COSTS = (
    ("processor time of the process", "µs/step", "worker_us_per_step"),
    ("processor time of Postgres", "µs/step", "postgres_us_per_step"),
    ("WAL", "bytes/step", "wal_bytes_per_step"),
)


async def measure(bench: Bench) -> list[Measure]:
    """Return jobs per second, and the costs of a step in them."""
    backlog = Backlog("eight", JOBS, STEPS)

    async def by_rkyc() -> Sample:
        drained = await drain_by_rkyc(bench, backlog, slots=SLOTS, check=lambda conn: check(conn, JOBS))
        return drained.as_rate()

    async def by_bare_sql() -> Sample:
        return (await drain_by_bare_sql(bench, backlog, slots=SLOTS)).as_rate()

    samples = await measure_in_turn(bench.runs, {"rkyc": by_rkyc, "bare": by_bare_sql})
    ours, bare = samples["rkyc"], samples["bare"]
    costs = [
        Measure(name, unit, of_detail(ours, detail), of_detail(bare, detail), more_is_better=False)
        for name, unit, detail in _COSTS
    ]
    return [Measure("many at once", "jobs/s", ours, bare), *costs]


async def check(conn: Connection, jobs: int) -> None:
    """End the bench unless every checkpoint of every job can be read, in order, with its value."""
    readable = await conn.fetchval(_READABLE, TEXT, [f"s{number}" for number in range(STEPS - 1)])
    if readable != jobs:
        raise SystemExit(f"only {readable} of {jobs} jobs have all their checkpoints: the engine lost some")


if __name__ == "__main__":
    run_case("eight_steps", measure)
