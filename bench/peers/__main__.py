"""rkyc beside its rivals, on the same machine and the same Postgres, in turn: `make bench-peers`.

Installs each rival into an environment of its own, runs it and rkyc pair by pair, prints a table and
appends to `results/DATE-peers.json`. A rival that can't run is named and left out. Ends with 1 when a
goal is missed or a rival failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.harness import open_bench, parse_rounds
from bench.measure import measure_in_turn
from bench.peers import absurd, arq, celery, dbos, graphile, pgboss, pgqueuer, procrastinate, saq
from bench.peers.cases import CASES
from bench.peers.errors import RivalError
from bench.peers.outcome import Record, compare
from bench.peers.packages import ROOT
from bench.peers.process import Installed
from bench.peers.rival import Rival
from bench.peers.stores import RedisStore, Servers, start_redis

RIVALS = {
    module.RIVAL.name: module.RIVAL
    for module in (graphile, pgqueuer, procrastinate, pgboss, celery, arq, saq, absurd, dbos)
}


def _told(arguments: list[str]) -> list[str]:
    """Return the arguments without the folder of the cache, which is this machine's."""
    given = iter(arguments)
    return [each for each in given if each != "--cache" or next(given, None) is None]


def main() -> int:
    """Compare what was asked for and return the exit code."""
    options = _parse()
    rivals = [RIVALS[name] for name in options.rivals or RIVALS]
    chosen = options.case or [name for name, case in CASES.items() if options.long or not case.is_long]
    if options.install:
        return 1 if len(_install(rivals, options.cache)) < len(rivals) else 0
    return uvloop.run(_run(rivals, chosen, options))


async def _run(rivals: Sequence[Rival], cases: Sequence[str], options: argparse.Namespace) -> int:
    wanted = [rival for rival in rivals if set(cases) & set(rival.loads)]
    installed = _install(wanted, options.cache)
    failures = len(wanted) - len(installed)
    needs_redis = any(isinstance(one.rival.store, RedisStore) for one in installed)
    async with (
        open_bench(runs=options.runs) as bench,
        start_redis(bench.folder, needs_redis) as redis,
    ):
        servers = Servers(bench, redis)
        command = " ".join(["python -m bench.peers", *_told(sys.argv[1:])])
        record = Record.begin(servers, command, save=not options.no_save)
        for name in cases:
            for one in installed:
                if name in one.rival.loads:
                    try:
                        await _compare(servers, one, name, record)
                    except RivalError as error:
                        failures += 1
                        print(f"{one.rival.name} · {CASES[name].title}: not measured: {error}", flush=True)
    record.print_table()
    missed = [comparison for comparison in record.comparisons if comparison.is_missed]
    return 1 if failures or missed else 0


async def _compare(servers: Servers, installed: Installed, name: str, record: Record) -> None:
    case = CASES[name]
    samples = await measure_in_turn(
        1 if case.is_long else servers.bench.runs,
        {
            "rkyc": lambda: case.by_rkyc(servers.bench),
            "rival": lambda: case.by_rival(servers, installed),
        },
        warm_ups=0 if case.is_long else 1,
    )
    comparisons = compare(installed.rival, name, case, samples["rkyc"], samples["rival"])
    record.add(comparisons)
    for comparison in comparisons:
        print(comparison.measure.describe(), flush=True)


def _install(rivals: Sequence[Rival], cache: Path) -> list[Installed]:
    """Return those that could be installed; the others are named."""
    found = []
    for rival in rivals:
        one = Installed(rival, cache / rival.name)
        try:
            rival.packages.install(one.folder)
        except RivalError as error:
            print(f"{rival.name}: not installed: {error}", flush=True)
        else:
            found.append(one)
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("rivals", nargs="*", metavar="RIVAL", help=f"of {', '.join(RIVALS)}; all by default")
    parser.add_argument(
        "--case", action="append", choices=list(CASES), help="may be repeated; the quick ones by default"
    )
    parser.add_argument("--long", action="store_true", help="the long cases too, one pair each")
    parser.add_argument("--runs", type=parse_rounds, help="pairs of the quick cases (BENCH_RUNS, else 5)")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".bench-peers", help="where the rivals are installed"
    )
    parser.add_argument("--no-save", action="store_true", help="keep no result, for a trial")
    parser.add_argument("--install", action="store_true", help="install the rivals and end")
    options = parser.parse_args()
    if unknown := set(options.rivals) - set(RIVALS):
        parser.error(f"no rival is called {', '.join(sorted(unknown))}: expected {', '.join(RIVALS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
