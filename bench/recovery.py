"""After a kill -9, how long until a dead process's jobs run on in another one, and what runs twice?

200 jobs of eight quarter-second steps run in one process; when half of all bodies have begun it is
killed, while a second process, with default settings, stands idle. A job runs on when the first line
of one of its bodies runs there. A step whose output was committed must not run again, which would end the
bench; the bodies that the kill cut off do. The baseline waits in a blocked advisory lock for the first one's session to end,
which is as fast as Postgres can tell, and holds a snapshot for as long, which the product must not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import asyncpg

from bench.backlog import Backlog, enqueue, insert_bare
from bench.harness import Bench, Connection, command, run_case, wait_until
from bench.marks import Marks
from bench.measure import Measure, Sample, measure_in_turn, of_detail
from bench.pipelines import STEPS, TRACE_S

JOBS = 200
_COMMITTED = """
SELECT d.n, array_agg(right(d.step, -1)::int) FROM (
  SELECT (j.input ->> 'n')::int AS n, c.step FROM rkyc.job j JOIN rkyc.checkpoint c ON c.job_id = j.id WHERE c.worker_id = $1
  UNION ALL
  SELECT (j.input ->> 'n')::int, h.step FROM rkyc.job j JOIN rkyc.history h ON h.job_id = j.id WHERE h.worker_id = $1
) d GROUP BY d.n"""
_COMMITTED_BARE = """
SELECT (t.input ->> 'n')::int, array_agg(s.step::int) FROM task t JOIN saved s ON s.task_id = t.id GROUP BY 1"""
_ENDED = "SELECT count(*) FROM rkyc.history WHERE state = 'completed'"
_ENDED_BARE = "SELECT count(*) FROM task WHERE state = 2"


async def measure(bench: Bench) -> list[Measure]:
    """Return seconds from the kill until the jobs run on: of the median job, and of the last one."""
    samples = await measure_in_turn(
        bench.runs, {"rkyc": lambda: _by_rkyc(bench), "bare": lambda: _by_bare_sql(bench)}
    )
    last = {side: of_detail(found, "last_s") for side, found in samples.items()}
    return [
        Measure("jobs run on, median", "s", samples["rkyc"], samples["bare"], more_is_better=False),
        Measure("jobs run on, last", "s", last["rkyc"], last["bare"], more_is_better=False),
    ]


async def _by_rkyc(bench: Bench) -> Sample:
    async with bench.rkyc_database() as (dsn, client):
        await enqueue(client, Backlog("trace", JOBS, STEPS))
        conn = await asyncpg.connect(dsn)
        marks = bench.make_marks(JOBS * STEPS)
        commands = [
            command("bench.worker_process", dsn=dsn, marks=marks.path, process=number, slots=JOBS)
            for number in range(2)
        ]
        try:
            sample = await _kill_one(bench, commands, marks, conn, ended=_ENDED, committed=_COMMITTED, of=[1])
        finally:
            await conn.close()
    if again := sample.details["completed_steps_again"]:
        raise SystemExit(f"{again:g} completed steps ran again after the kill: none may")
    return sample


async def _by_bare_sql(bench: Bench) -> Sample:
    async with bench.bare_database() as (dsn, conn):
        await insert_bare(conn, JOBS)
        marks = bench.make_marks(JOBS * STEPS)
        heirs: list[dict[str, object]] = [{}, {"heir_of": 0}]
        commands = [
            [
                *command("bench.bare", dsn=dsn, marks=marks.path, process=number, slots=JOBS),
                *command("--trace", steps=STEPS, pause=TRACE_S, **heir),
            ]
            for number, heir in enumerate(heirs)
        ]
        return await _kill_one(
            bench, commands, marks, conn, ended=_ENDED_BARE, committed=_COMMITTED_BARE, of=[]
        )


async def _kill_one(
    bench: Bench,
    commands: Sequence[Sequence[object]],
    marks: Marks,
    conn: Connection,
    *,
    ended: str,
    committed: str,
    of: Sequence[int],
) -> Sample:
    """Kill the first process at half of the work, let the second finish, and compare the marks.

    `committed` lists what the first one committed, by job; `of` are its values.
    """
    async with bench.processes(commands) as (first, second):
        first.open_gate()
        await first.expect("serving")
        await wait_until(lambda: marks.total() >= JOBS, what="all jobs run in the first process")
        second.open_gate()
        await second.expect("serving")
        await wait_until(lambda: marks.total() >= JOBS * STEPS // 2, what="half of all bodies have begun")
        await first.kill()
        killed_at = time.monotonic()
        # The heir can't commit before it has taken over, so nobody adds to this but the dead one's last commit.
        done = {row[0]: set(row[1]) for row in await conn.fetch(committed, *of)}
        await wait_until(lambda: _resumed(marks, range(JOBS)) == JOBS, what="all jobs run on")
        while await conn.fetchval(ended) < JOBS:
            pass
    if of:
        # The product names the worker in each row, so its late commits can be told apart even now.
        done = {row[0]: set(row[1]) for row in await conn.fetch(committed, *of)}
    again = sum(marks.get(n * STEPS + step, process=1) > 0 for n, steps in done.items() for step in steps)
    waits = sorted(_resumed_at(marks, n) - killed_at for n in range(JOBS))
    return Sample(statistics.median(waits), {"last_s": waits[-1], "completed_steps_again": again})


def _resumed(marks: Marks, jobs: range) -> int:
    return sum(_resumed_at(marks, n) > 0 for n in jobs)


def _resumed_at(marks: Marks, n: int) -> float:
    """Return when the second process first ran a body of the job, or 0.0."""
    times = [marks.get(n * STEPS + step, process=1) for step in range(STEPS)]
    return min((one for one in times if one), default=0.0)


if __name__ == "__main__":
    run_case("recovery", measure)
