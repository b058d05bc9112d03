"""All cases on one server, a table at the end, and the floors: `make bench`, about ten minutes.

Ends with 1 when a floor is missed. A floor is a promise about a quiet machine with two processors
and an ordinary disk; the load that was there is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop
from rich.console import Console
from rich.table import Table

from bench import eight_steps, enqueue_start, noop_throughput, recovery, waiting_jobs
from bench.harness import CaseFunction, open_bench, record
from bench.measure import Measure, number

CASES: dict[str, CaseFunction] = {
    "noop_throughput": noop_throughput.measure,
    "eight_steps": eight_steps.measure,
    "enqueue_start": enqueue_start.measure,
    "waiting_jobs": waiting_jobs.measure,
    "recovery": recovery.measure,
}


@dataclass(frozen=True, slots=True)
class Floor:
    """What the median of a measure must reach: at least, or at most where less is better."""

    case: str
    measure: str
    value: float

    def is_met(self, measure: Measure) -> bool:
        """Whether the measured median is on the right side."""
        return measure.median >= self.value if measure.more_is_better else measure.median <= self.value


# Two processors, fsync on. The eight-step floor counts jobs, each of eight commits.
FLOORS = (
    Floor("noop_throughput", "one process, prefetch", 15_000),
    Floor("eight_steps", "many at once", 2_000),
    Floor("enqueue_start", "enqueue to start, p50", 3.0),
    Floor("waiting_jobs", "5,000 jobs x 8 x 0.5 s", 5.0),
)


def main() -> int:
    """Run the chosen cases and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all when none is named"
    )
    parser.add_argument("--runs", type=int, help="rounds to measure (BENCH_RUNS, else 5)")
    parser.add_argument("--save", action="store_true", help="append the results to bench/results")
    parser.add_argument("--json", action="store_true", help="print the results as JSON too")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no case is called {', '.join(sorted(unknown))}: expected {', '.join(CASES)}")
    began = time.monotonic()
    found = uvloop.run(_run(options))
    missed = _print_table(found)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(
        f"{time.monotonic() - began:.0f} s; load average {load} on {len(os.sched_getaffinity(0))} processors"
    )
    for floor, measure in missed:
        sign = "at least" if measure.more_is_better else "at most"
        print(
            f"missed: {floor.case}, {floor.measure}: {number(measure.median)} {measure.unit}, expected {sign} {number(floor.value)}"
        )
    return 1 if missed else 0


async def _run(options: argparse.Namespace) -> dict[str, list[Measure]]:
    found: dict[str, list[Measure]] = {}
    results = []
    async with open_bench(runs=options.runs) as bench:
        for name in options.cases or CASES:
            found[name], result = await record(name, CASES[name], bench, save=options.save)
            results.append(result)
    if options.json:
        print(json.dumps(results, indent=1))
    return found


def _print_table(found: dict[str, list[Measure]]) -> Sequence[tuple[Floor, Measure]]:
    """Print every measure with its floor, and return the floors that were missed."""
    floors = {(floor.case, floor.measure): floor for floor in FLOORS}
    missed = []
    table = Table("case", "measure", "rkyc", "bare SQL", "ratio", "floor", "")
    for case, measures in found.items():
        for measure in measures:
            floor = floors.get((case, measure.name))
            verdict = ""
            if floor is not None:
                verdict = "met" if floor.is_met(measure) else "missed"
                if verdict == "missed":
                    missed.append((floor, measure))
            table.add_row(
                case, measure.name, *measure.columns(), number(floor.value) if floor else "", verdict
            )
    Console(width=140).print(table)
    return missed


if __name__ == "__main__":
    sys.exit(main())
