"""Walks the protocol's states and prints what was found: `python -m rkyc.flow.protocol`.

Exit code 1 when something is wrong, or when a broken variant is not found out.
"""

from __future__ import annotations

import argparse
import sys

from rkyc.flow.protocol.checker import Checker, Size, Walk
from rkyc.flow.protocol.rules import VARIANTS, break_rule
from rkyc.flow.protocol.sizes import GRAPHS, find_out


def main() -> int:
    """Read the arguments, walk, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m rkyc.flow.protocol", description=__doc__)
    parser.add_argument(
        "graphs", nargs="*", help=f"one per job, of {', '.join(GRAPHS)}; default: chain chain"
    )
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument(
        "--faults", type=int, default=2, help="at most so many in one history; -1: any number"
    )
    parser.add_argument("--signals", type=int, default=1, help="how many may be sent to a job")
    parser.add_argument("--revivals", type=int, default=1, help="how often a person starts a job again")
    parser.add_argument(
        "--broken", action="store_true", help="walk the broken variants and show their traces"
    )
    given = parser.parse_args()
    if given.broken:
        return _show_variants()
    names = given.graphs or ["chain", "chain"]
    if unknown := set(names) - set(GRAPHS):
        parser.error(f"no graph is called {', '.join(sorted(unknown))}: expected some of {', '.join(GRAPHS)}")
    faults = None if given.faults < 0 else given.faults
    graphs = tuple(GRAPHS[name] for name in names)
    walk = Checker(Size(graphs, given.workers, faults, given.revivals, given.signals)).run()
    _show(walk)
    return 1 if walk.violation else 0


def _show(walk: Walk) -> None:
    print(f"{walk.states} states, {walk.moves} moves, at most {walk.longest} moves of the engine to the end")
    if walk.violation:
        print(f"wrong: {walk.violation}")
    for number, line in enumerate(walk.trace, 1):
        print(f"{number:4} {line}")


def _show_variants() -> int:
    missed = []
    for variant in VARIANTS:
        print(f"\n{variant}:")
        walk = find_out(break_rule(variant))
        if walk is None:
            missed.append(variant)
            print("NOT FOUND OUT")
        else:
            _show(walk)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
