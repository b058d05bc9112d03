"""Every state that the protocol can reach, in small; and the broken variants that the same walk must find out.

`tests/prove/test_proof_protocol.py` walks the larger sizes.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from rkyc.flow.protocol.checker import Checker, Size
from rkyc.flow.protocol.rules import VARIANTS, Rules, break_rule
from rkyc.flow.protocol.sizes import CHAIN, CHORD, WAITER, find_out

SIZES = {
    "two chains of three steps, two faults": Size((CHAIN, CHAIN), workers=3, faults=2),
    "two chords of three steps, one fault": Size((CHORD, CHORD), workers=3, faults=1),
    "one chord, started again from any step": Size((CHORD,), workers=3, faults=2, restarts=True),
    "a chain that waits for a signal, beside another, one fault": Size((WAITER, CHAIN), faults=1, signals=1),
    "a chain that is paused and resumed": Size((CHAIN,), workers=3, faults=3, pauses=True),
    "a chain that waits for two signals, three faults": Size((WAITER,), faults=3, signals=2),
}
# What each broken variant does, as the invariant says it.
SIGNS = {
    "commit without a fence": "landed under a lease that was not its own",
    "a fence that does not grow": "acts under a lease of worker",
    "reclaim by time alone": "is charged 1 crashes, and 0 happened",
    "reclaim that reads before it locks": "is completed, and stands in ready to run again",
    "checkpoint without the lease's lock": "is completed, and stands in ready to run again",
    "checkpoint without a number": "has 2 checkpoints",
    "join counted without a lock": "no task of it stands anywhere",
    "a lost answer taken for a failure": "is completed, and stands in scheduled to run again",
    "crashes forgotten by a retry": "is charged 0 crashes, and 1 happened",
    "cancel that misses a moving task": "the job is cancelled, and first stands in running",
    "release to where it was claimed": "is completed, and stands in ready to run again",
    "suspects beside others": "runs something beside a suspect",
    "orphans that nobody gives back": "nothing more happens by itself",
    "wake-up lost between look and park": "nothing more happens by itself",
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", SIZES)
def test_nothing_goes_wrong_in_any_reachable_state(name: str) -> None:
    walk = Checker(SIZES[name]).run()
    print(f"{name}: {walk.states} states, {walk.moves} moves, {walk.longest} to the end at most")
    assert (walk.violation, walk.trace) == (None, ())
    assert walk.states > 500


@pytest.mark.timeout(60)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_variant_is_found_out(variant: str) -> None:
    walk = find_out(break_rule(variant))
    assert walk is not None
    print(f"{variant}: {walk.violation}", *walk.trace, sep="\n  ")
    assert SIGNS[variant] in (walk.violation or "")
    assert 0 < len(walk.trace) <= 10


def test_the_whole_protocol_passes_where_its_broken_variants_do_not() -> None:
    assert find_out(Rules()) is None


def test_there_is_a_broken_variant_of_every_rule() -> None:
    assert set(VARIANTS.values()) == {field.name for field in fields(Rules)}


def test_names_of_workers_and_of_equal_jobs_do_not_count() -> None:
    size = Size((CHAIN,), workers=2, faults=1)
    named, unnamed = Checker(size, is_symmetric=False).run(), Checker(size).run()
    assert unnamed.states < named.states <= 2 * unnamed.states
    assert unnamed.longest == named.longest


def test_a_walk_that_grows_too_large_ends() -> None:
    with pytest.raises(RuntimeError, match="more than 100 states"):
        Checker(Size((CHAIN,))).run(states_max=100)


def test_the_command_prints_what_it_found() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rkyc.flow.protocol", "chain", "--faults", "0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "20 states" in done.stdout
