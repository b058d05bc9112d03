"""The cases of the public benchmark on rkyc, without containers: `python -m bench.public`.

Runs the adapter against a private Postgres with that benchmark's settings, or against BENCH_DSN, and
prints flat rows. What the cases are stands in scenarios.py, how to read the figures in README.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.harness import RESULTS
from bench.measure import number
from bench.public.drive import Terms, run_case
from bench.public.scenarios import LENGTHS, Case, make_cases
from bench.public.server import open_server
from bench.public.summary import Row

# Its first part is `idle_in_tx`; it is run when it is named.
_NOT_BY_DEFAULT = ("long_horizon",)
_SHOWN = (
    "completion_rate",
    "end_to_end_p50",
    "end_to_end_p99",
    "dead_tuples_max",
    "stress_ratio",
    "recovery_ratio",
    "recovery_time",
    "longest_gap",
    "jobs_acknowledged",
    "jobs_lost",
    "jobs_ended_again",
    "failed",
)


def main() -> int:
    """Run the chosen cases; 1 when a replica ended by itself or a job was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.public", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all but long_horizon when none is named")
    parser.add_argument(
        "--length",
        choices=LENGTHS,
        default="short",
        help="a minute per case, as in its sweep, or as its scenarios say",
    )
    parser.add_argument(
        "--prefetch",
        type=int,
        help="tasks that a replica claims ahead; 4 times its slots, at least 128, without",
    )
    parser.add_argument(
        "--save", action="store_true", help="put the rows into bench/results/DATE-public.json"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON too")
    parser.add_argument("--list", action="store_true", help="say what there is, with its seconds, and end")
    options = parser.parse_args()
    known = make_cases(options.length)
    if unknown := set(options.cases) - set(known):
        parser.error(f"no case is called {', '.join(sorted(unknown))}: expected {', '.join(known)}")
    chosen = [known[name] for name in options.cases or known if options.cases or name not in _NOT_BY_DEFAULT]
    if options.list:
        print("\n".join(f"{case.name}: {case.seconds:,.0f} s" for case in known.values()))
        return 0
    is_short = options.length == "short"
    # The public benchmark samples every 5 s and looks back 30 s, longer than a short phase lasts.
    terms = Terms(options.length, 1.0 if is_short else 5.0, 5.0 if is_short else 30.0, options.prefetch)
    rows = uvloop.run(_run(chosen, terms, is_saved=options.save))
    if options.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
    return (
        1 if any(row.metric == "failed" or (row.metric == "jobs_lost" and row.value) for row in rows) else 0
    )


async def _run(cases: Sequence[Case], terms: Terms, *, is_saved: bool) -> list[Row]:
    found: list[Row] = []
    async with open_server() as server:
        for case in cases:
            if server.home is None and any(phase.kind == "postgres-restart" for phase in case.phases):
                print(f"{case.name}: left out, the server of BENCH_DSN is not ours to restart")
                continue
            print(f"{case.name}: {case.seconds:,.0f} s", flush=True)
            rows = await run_case(case, server, terms)
            _print(rows)
            found += rows
            if is_saved:
                _save(rows)
    return found


def _print(rows: Sequence[Row]) -> None:
    """Print a line for each phase, with the figures that matter most."""
    for phase in dict.fromkeys(row.phase for row in rows if row.phase != "run"):
        figures = [
            f"{row.metric} {row.value if isinstance(row.value, str) else number(row.value)} {row.unit}".rstrip()
            for row in rows
            if row.phase == phase and row.metric in _SHOWN
        ]
        print(f"  {phase}: {', '.join(figures)}", flush=True)


def _save(rows: Sequence[Row]) -> Path:
    """Put a case's rows into the file of the day, instead of those that it had."""
    path = RESULTS / f"{dt.datetime.now(dt.UTC).date()}-public.json"
    path.parent.mkdir(exist_ok=True)
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    cases = {row.case for row in rows}
    kept = [row for row in earlier if row["case"] not in cases]
    text = json.dumps([*kept, *(row.as_json() for row in rows)], indent=0, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
