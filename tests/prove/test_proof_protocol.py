"""The protocol's model walked in large: more faults in one history than the suite has time for.

Each walk prints how many states it found; docs/protocol.md says what that proves.
"""

from __future__ import annotations

import pytest

from rkyc.flow.protocol.checker import Checker, Size
from rkyc.flow.protocol.sizes import CHAIN, CHORD, WAITER

pytestmark = [pytest.mark.prove, pytest.mark.computes, pytest.mark.timeout(3600)]

SIZES = {
    "one chain, eight faults": Size((CHAIN,), faults=8),
    "two chains, three faults": Size((CHAIN, CHAIN), faults=3),
    "two chords, two faults": Size((CHORD, CHORD), faults=2),
    "a chain and a chord, two faults": Size((CHAIN, CHORD), faults=2),
    "two chains that wait for signals, two faults": Size((WAITER, WAITER), faults=2, signals=1),
    "one chord, three faults": Size((CHORD,), faults=3),
}


@pytest.mark.parametrize("name", SIZES)
def test_nothing_goes_wrong_in_any_reachable_state(name: str) -> None:
    walk = Checker(SIZES[name]).run()
    print(f"{name}: {walk.states} states, {walk.moves} moves, {walk.longest} to the end at most")
    assert (walk.violation, walk.trace) == (None, ())
