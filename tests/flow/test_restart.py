"""Where a job goes on when some of its steps run again."""

from __future__ import annotations

from typing import Any

import pytest

from rkyc.errors import InvalidInputError
from rkyc.flow.graph import Part, chain, compile_graph, group
from rkyc.flow.restart import JoinLeft, KeptStep, Start, plan_restart
from rkyc.flow.step import step


@step
async def some(ctx: Any) -> dict[str, Any]:
    return {}


def describe(*parts: Part) -> dict[str, Any]:
    return compile_graph(chain(*parts)).describe()


a, b, c, d, e = (some.named(name) for name in "abcde")


def test_a_chain_goes_on_at_the_step_with_all_before_it_kept() -> None:
    plan = plan_restart(describe(a, b, c, d), set("abcd"), ["c"])
    assert plan.kept == (KeptStep("a", 0, "b"), KeptStep("b", 0, "c"))
    assert plan.again == ("c", "d")
    assert plan.starts == (Start("c", 0, None),)
    assert plan.joins == ()
    assert not plan.is_forked


def test_what_was_not_done_runs_as_well() -> None:
    assert plan_restart(describe(a, b, c), {"a"}, ["c"]).starts == (Start("b", 0, None),)


def test_a_branch_alone_runs_again_and_its_join_waits_for_it_alone() -> None:
    plan = plan_restart(describe(a, group(b, c), d, e), set("abcde"), ["c"])
    assert [kept.step for kept in plan.kept] == ["a", "b"]
    assert plan.starts == (Start("c", 2, None),)
    assert plan.joins == (JoinLeft("d", 0, 1),)
    assert plan.is_forked


def test_a_join_whose_branches_are_all_kept_starts_itself() -> None:
    plan = plan_restart(describe(a, group(b, c), d, e), set("abcde"), ["d"])
    assert plan.starts == (Start("d", 0, None),)
    assert plan.joins == ()


def test_the_first_step_keeps_nothing_and_its_forks_are_made_anew() -> None:
    plan = plan_restart(describe(a, group(b, c), d), set("abcd"), ["a"])
    assert plan.kept == ()
    assert plan.starts == (Start("a", 0, None),)
    assert plan.joins == (JoinLeft("d", 0, 2),)


def test_the_task_of_a_chain_inside_a_branch_is_named_by_its_checkpoint() -> None:
    plan = plan_restart(describe(a, group(chain(b, c), d), e), set("abcde"), ["c"])
    assert KeptStep("b", 1, "c") in plan.kept
    assert KeptStep("a", 0, None) in plan.kept
    assert KeptStep("d", 2, None) in plan.kept


def test_an_unknown_step_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidInputError, match="no step is called 'x': expected one of a, b"):
        plan_restart(describe(a, b), set(), ["x"])


def test_the_lane_that_a_step_declares_is_where_it_starts() -> None:
    plan = plan_restart(describe(a, b.with_policy(lane="gpu")), {"a"}, [])
    assert plan.starts == (Start("b", 0, "gpu"),)
