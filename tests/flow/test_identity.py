"""What changed since a step was done, told from what it declares."""

from __future__ import annotations

import pytest

from rkyc.flow.identity import DoneStep, find_changed


@pytest.mark.parametrize("turn", [1, -1])
def test_one_item_of_a_map_that_differs_is_enough(turn: int) -> None:
    done = [DoneStep("item", False, ("item@1",)), DoneStep("item", True, ("item@2",))][::turn]
    for version, expected in ((2, "item@1 became item@2"), (1, "item@2 became item@1")):
        now = {"item": [f"item@{version}"]}
        found = find_changed(done, now, steps={"item"}, is_input_changed=False, redoes_degraded=False)
        assert found == {"item": expected}


@pytest.mark.parametrize("turn", [1, -1])
def test_one_item_of_a_map_that_is_degraded_is_enough(turn: int) -> None:
    done = [DoneStep("item", False, ("item@1",)), DoneStep("item", True, ("item@1",))][::turn]
    now = {"item": ["item@1"]}
    for redoes, expected in ((True, {"item": "it was degraded"}), (False, {})):
        assert (
            find_changed(done, now, steps={"item"}, is_input_changed=False, redoes_degraded=redoes)
            == expected
        )
