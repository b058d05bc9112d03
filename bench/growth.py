"""Do two processes do twice the work of one, and four four times, when steps wait for I/O?

Each process has the default 200 slots; the steps wait 50 ms, as for a quick answer from outside, and
each output is committed. Measured is the steady rate while a backlog remains: the time that a number
of bodies takes once every process is busy, so that neither start nor end counts.
"""

from __future__ import annotations

import time
from functools import partial

from bench.backlog import Backlog, enqueue
from bench.harness import Bench, command, run_case, wait_until
from bench.measure import Measure, Sample, measure_in_turn
from bench.pipelines import IO_S, STEPS

SLOTS = 200
# Waves of steps in each slot: to get going, and measured.
WAVES_FIRST = 6
WAVES, WAVES_LONG = 40, 200


async def measure(bench: Bench) -> list[Measure]:
    """Return steps per second of one, two and four processes, and how they grow."""
    sides = {count: partial(_rate, bench, count) for count in (1, 2, 4)}
    samples = await measure_in_turn(bench.runs, {str(count): rate for count, rate in sides.items()})
    one = samples["1"]
    return [
        Measure("one process", "steps/s", one),
        Measure("two processes", "steps/s", samples["2"], one, against="one process"),
        Measure("four processes", "steps/s", samples["4"], one, against="one process"),
    ]


async def _rate(bench: Bench, processes: int) -> Sample:
    waves = WAVES_LONG if bench.is_long else WAVES
    in_a_wave = SLOTS * processes
    # So many that the backlog lasts, also when one process is ready long before the others.
    jobs = in_a_wave * (WAVES_FIRST * 4 + waves) // STEPS
    marks = bench.make_marks(1)
    async with bench.rkyc_database() as (dsn, client):
        await enqueue(client, Backlog("io", jobs, STEPS))
        commands = [
            command("bench.worker_process", dsn=dsn, marks=marks.path, process=number, slots=SLOTS)
            for number in range(processes)
        ]
        async with bench.processes(commands) as workers:
            for worker in workers:
                worker.open_gate()
            await wait_until(
                lambda: min(marks.count(number) for number in range(processes)) >= SLOTS * WAVES_FIRST,
                what="every process is busy",
            )
            before, began = marks.total(), time.monotonic()
            await wait_until(
                lambda: marks.total() >= before + in_a_wave * waves, what="the waves are through"
            )
            rate = (marks.total() - before) / (time.monotonic() - began)
            for worker in workers:
                # What it still holds goes with the database.
                await worker.kill()
    ideal = in_a_wave / IO_S
    return Sample(rate, {"of_ideal": rate / ideal})


if __name__ == "__main__":
    run_case("growth", measure)
