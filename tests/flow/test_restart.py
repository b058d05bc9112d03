"""Where a job goes on when some of its steps run again."""

from __future__ import annotations

from typing import Any

import pytest

from rkyc.errors import InvalidInputError
from rkyc.flow.compile import compile_graph
from rkyc.flow.graph import Part, chain, group, map_over, route
from rkyc.flow.restart import JoinLeft, KeptStep, Start, explain_again, find_origins, plan_restart
from rkyc.flow.step import step


@step
async def some(ctx: Any) -> Any:
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


@step
async def listed(ctx: Any) -> list[Any]:
    return []


MAPPED = describe(a, listed, map_over(chain(b, c)), d, e)


def test_a_map_is_kept_as_a_whole_when_what_follows_it_began() -> None:
    plan = plan_restart(MAPPED, {"a", "listed", "b", "c", "d", "e"}, ["e"])
    assert plan.kept_names == ("a", "listed", "d", "b", "c")
    assert [one.map for one in plan.items] == [1, 1]
    assert plan.starts == (Start("e", 0, None),)


def test_what_runs_again_in_a_map_takes_the_step_that_gives_its_list_along() -> None:
    for again, done in (("c", "abcde"), ("d", "abc")):
        plan = plan_restart(MAPPED, {*done, "listed"}, [again])
        assert plan.kept_names == ("a",)
        assert plan.starts == (Start("listed", 0, None),)
        assert plan.joins == ()
        assert not plan.is_forked, "it begins before the map"


def test_a_step_of_a_map_that_no_item_needed_is_not_missed() -> None:
    graph = describe(listed, map_over(route(a, {"x": b, "y": c})), d, e)
    assert plan_restart(graph, {"listed", "a", "b", "d", "e"}, ["e"]).again == ("e",)
    assert plan_restart(graph, {"listed", "d", "e"}, ["e"]).again == ("e",)


def test_what_a_route_went_past_stays_so_while_its_choice_is_kept() -> None:
    graph = describe(a, route(b, {"x": chain(c, some.named("c2")), "y": d}), e)
    kept = plan_restart(graph, {"a", "b", "d", "e"}, ["e"])
    assert (kept.kept_names, kept.again) == (("a", "b", "d"), ("e",))
    assert kept.kept[1] == KeptStep("b", 0, "d")
    anew = plan_restart(graph, {"a", "b", "d", "e"}, ["b"])
    assert (anew.again, anew.starts) == (("b", "c", "d", "c2", "e"), (Start("b", 0, None),))
    with pytest.raises(InvalidInputError, match="c2 was skipped: run b again"):
        plan_restart(graph, {"a", "b", "d", "e"}, ["c2"])


def test_a_route_that_no_part_has_followed_chooses_again() -> None:
    graph = describe(route(b, {"x": c, "y": d}), e)
    assert plan_restart(graph, {"b"}, ["e"]).starts == (Start("b", 0, None),)


def test_a_join_behind_routes_waits_for_one_arrival_of_each_member() -> None:
    graph = describe(a, group(route(b, {"x": c, "y": d}), some.named("m")), e)
    assert plan_restart(graph, {"a", "b", "c", "m", "e"}, ["b"]).joins == (JoinLeft("e", 0, 1),)
    assert plan_restart(graph, {"a", "b", "c", "m", "e"}, ["a"]).joins == (JoinLeft("e", 0, 2),)


def test_what_an_optional_chain_left_out_is_not_missed() -> None:
    graph = describe(a, chain(b, c, optional=True), d, e)
    assert plan_restart(graph, {"a", "b", "d", "e"}, ["e"]).again == ("e",)


def test_each_step_of_a_plan_has_the_reason_why_it_runs_again() -> None:
    done = {"a", "listed", "b", "c", "d"}
    plan = plan_restart(MAPPED, done, ["c"])
    after = "it comes after a step that runs again"
    assert explain_again(MAPPED, plan, done, {"c": "c@1 became c@2"}) == {
        "listed": "it gives the list of a map of which something runs again",
        "b": after,
        "c": "c@1 became c@2",
        "d": after,
        "e": after,
    }
    routed = describe(route(b, {"x": c, "y": d}), e)
    assert explain_again(routed, plan_restart(routed, {"b"}, []), {"b"}, {})["b"] == (
        "nothing that it chose was completed"
    )
    assert explain_again(routed, plan_restart(routed, set(), []), set(), {})["b"] == "it was not completed"


@pytest.mark.parametrize(
    ("kept", "steps", "expected"),
    [
        ("ax", "axd", [("a", "a"), ("x", "b")]),
        ("xy", "xycd", [("x", "a"), ("y", "b")]),
        ("x", "xcd", [("x", "a"), ("x", "b")]),
        ("axy", "axycd", [("a", "a"), ("x", "b"), ("y", "b")]),
        # A step that is left out and runs again is not gone, and what is new may come of nothing.
        ("ax", "axbcd", [("a", "a")]),
    ],
)
def test_a_new_name_tells_of_the_steps_that_are_gone(
    kept: str, steps: str, expected: list[tuple[str, str]]
) -> None:
    assert find_origins(describe(a, b, c, d), set("ab"), kept, {*steps}) == expected
