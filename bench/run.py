"""All cases on one server, a table at the end, and the goals: `make bench`, about ten minutes.

A goal is shown as reached or missed. Ends with 1 when a floor is missed. Both are about a quiet machine
with two processors and an ordinary disk; the load that was there is printed beside them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import uvloop
from rich.console import Console
from rich.table import Table

from bench.goals import Row, rows_of
from bench.harness import CaseFunction, add_options, open_bench, record
from bench.measure import Measure, number

# The quick ones first. `layout` and the rivals run by themselves.
CASES = (
    "noop_throughput",
    "eight_steps",
    "step_alone",
    "call_window",
    "enqueue",
    "enqueue_start",
    "poll_only",
    "waiting_jobs",
    "recovery",
    "idle",
    "startup",
    "growth",
    "history",
    "pinned",
    "sse_fanout",
)

# The slow ones get fewer rounds here; by themselves, or with --runs, they get all.
ROUNDS_MAX = {
    "poll_only": 3,
    "waiting_jobs": 3,
    "recovery": 3,
    "startup": 3,
    "growth": 2,
    "history": 1,
    "pinned": 1,
    "sse_fanout": 1,
}


def main() -> int:
    """Run the chosen cases and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all when none is named"
    )
    add_options(parser)
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no case is called {', '.join(sorted(unknown))}: expected {', '.join(CASES)}")
    began = time.monotonic()
    found = uvloop.run(_run(options))
    out = sys.stderr if options.json else sys.stdout
    missed = _print_table(found, Console(width=150, file=out))
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    seconds, processors = time.monotonic() - began, len(os.sched_getaffinity(0))
    print(f"{seconds:.0f} s; load average {load} on {processors} processors", file=out)
    for row in missed:
        print(f"below the floor: {row.question}", file=out)
    return 1 if missed else 0


async def _run(options: argparse.Namespace) -> dict[str, list[Measure]]:
    found: dict[str, list[Measure]] = {}
    results = []
    async with open_bench(runs=options.runs, is_long=options.long) as bench:
        for name in options.cases or CASES:
            measure: CaseFunction = importlib.import_module(f"bench.{name}").measure
            rounds = bench.runs if options.runs else min(bench.runs, ROUNDS_MAX.get(name, bench.runs))
            its = replace(bench, runs=rounds)
            found[name], result = await record(name, measure, its, save=options.save, is_quiet=options.json)
            results.append(result)
    if options.json:
        print(json.dumps(results, indent=1))
    return found


def _print_table(found: dict[str, list[Measure]], console: Console) -> Sequence[Row]:
    """Print every measure with its goal, and return the rows whose floor was missed."""
    missed = []
    table = Table("case", "measure", "rkyc", "beside", "ratio", "goal", "")
    for case, measures in found.items():
        rows = list(rows_of(case))
        for measure in measures:
            its_rows = [row for row in rows if row.measure == measure.name]
            goals = [_judge(row, row.goal, measure) for row in its_rows if row.goal is not None]
            missed += [row for row in its_rows if _judge(row, row.floor, measure) is False]
            wanted = [_write_goal(row, measure) for row in its_rows if row.goal is not None]
            verdict = "" if not goals else "reached" if all(goals) else "missed"
            table.add_row(case, measure.name, *measure.columns(), ", ".join(wanted), verdict)
    console.print(table)
    return missed


def _judge(row: Row, bound: float | None, measure: Measure) -> bool | None:
    return row.judge(bound, median=measure.median, ratio=measure.ratio, more_is_better=measure.more_is_better)


def _write_goal(row: Row, measure: Measure) -> str:
    assert row.goal is not None
    if row.of_ratio:
        return f"ratio >= {number(row.goal)}"
    return f"{'>=' if measure.more_is_better else '<='} {number(row.goal)}"


if __name__ == "__main__":
    sys.exit(main())
