"""Composition and its compilation: every step reachable, every join counted right, names told apart."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rkyc.errors import DefinitionError
from rkyc.flow.graph import Chain, Graph, Group, Part, chain, chord, compile_graph, group, iterate_steps
from rkyc.flow.step import Step, step


@step
async def do(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return input


def number_steps(part: Any, counter: list[int]) -> Part:
    """Turn nested lists into chains (`["c", …]`) and groups (`["g", …]`) of steps with names of their own."""
    if part is None:
        counter[0] += 1
        return do.named(f"n{counter[0]}")
    parts = [number_steps(inner, counter) for inner in part[1:]]
    return chain(*parts) if part[0] == "c" else group(*parts)


SHAPES = st.recursive(
    st.none(),
    lambda inner: st.builds(
        lambda kind, parts: [kind, *parts], st.sampled_from("cg"), st.lists(inner, min_size=1, max_size=4)
    ),
    max_leaves=25,
)


def walk(graph: Graph) -> list[str]:
    """Run the graph by its own rules: one task per branch, joins that count; return the order of steps."""
    ran: list[str] = []
    remaining: dict[str, int] = {}
    ready = [graph.first]
    while ready:
        place = graph.places[ready.pop()]
        ran.append(place.name)
        if place.next is not None:
            ready.append(place.next)
        elif place.fork:
            ready.extend(place.fork)
        elif place.join is not None:
            left = remaining.setdefault(place.join, graph.places[place.join].waits_for) - 1
            remaining[place.join] = left
            if left == 0:
                ready.append(place.join)
    assert all(left == 0 for left in remaining.values()), remaining
    return ran


@settings(max_examples=300)
@given(SHAPES)
def test_a_walk_through_any_composition_runs_every_step_once_and_ends(shape: Any) -> None:
    part = number_steps(shape, [0])
    graph = compile_graph(part)
    ran = walk(graph)
    assert sorted(ran) == sorted(graph.places)
    assert {item.name for item in iterate_steps(part)} <= set(ran)
    ends = [place for place in graph.places.values() if not graph.followers(place)]
    assert len(ends) == 1, "a pipeline ends in one place"


@settings(max_examples=300)
@given(SHAPES)
def test_every_place_says_at_most_one_thing_about_what_follows(shape: Any) -> None:
    graph = compile_graph(number_steps(shape, [0]))
    for name, place in graph.places.items():
        assert name == place.name
        assert sum([place.next is not None, bool(place.fork), place.join is not None]) <= 1
        assert place.waits_for in (0, len(place.before))
        for before in place.before:
            assert name in graph.followers(graph.places[before])
            assert graph.places[before].index < place.index


@settings(max_examples=200)
@given(SHAPES)
def test_the_shares_of_a_pipeline_add_up_to_a_hundred(shape: Any) -> None:
    graph = compile_graph(number_steps(shape, [0]))
    assert sum(place.share for place in graph.places.values()) == pytest.approx(100)


@settings(max_examples=200)
@given(SHAPES)
def test_branches_differ_wherever_steps_may_run_side_by_side(shape: Any) -> None:
    graph = compile_graph(number_steps(shape, [0]))
    for place in graph.places.values():
        branches = [graph.places[name].branch for name in place.fork]
        assert len(set(branches)) == len(branches)
        assert place.branch not in branches


def names(*parts: str) -> list[Step]:
    return [do.named(part) for part in parts]


def test_a_chord_runs_its_members_and_then_the_callback() -> None:
    graph = compile_graph(chain(*names("first"), chord(names("a", "b", "c"), do.named("last"))))
    assert graph.places["first"].fork == ("a", "b", "c")
    assert {graph.places[name].join for name in "abc"} == {"last"}
    assert graph.places["last"].waits_for == 3
    assert graph.places["last"].before == ("a", "b", "c")


def test_a_group_at_either_end_gets_a_place_of_its_own() -> None:
    graph = compile_graph(group(*names("a", "b")))
    assert list(graph.places) == ["start_1", "a", "b", "collect_1"]


def test_a_place_of_the_engines_own_does_not_take_the_name_of_a_step() -> None:
    graph = compile_graph(chain(group(*names("a", "b")), *names("start_1")))
    assert sorted(graph.places) == ["a", "b", "start_1", "start_2"]


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"do\.named"):
        compile_graph(chain(do, do))
    with pytest.raises(DefinitionError, match="twice"):
        compile_graph(group(chain(do, do.named("x")), do.named("x")))


@pytest.mark.parametrize("make", [chain, group])
def test_a_composition_of_nothing_is_refused(make: Any) -> None:
    with pytest.raises(DefinitionError, match="no steps"):
        make()


@pytest.mark.parametrize("wrong", [None, "name", test_a_composition_of_nothing_is_refused, [do]])
def test_what_is_no_step_is_refused(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="expected steps"):
        chain(wrong)


class Left(pydantic.BaseModel):
    value: int = 0


class Right(pydantic.BaseModel):
    value: int = 0


@step
async def give_left(ctx: Any, input: dict[str, Any]) -> Left:
    return Left()


@step
async def take_right(ctx: Any, input: Right) -> dict[str, Any]:
    return {}


@step
async def take_earlier(ctx: Any, give_left: Left, job: dict[str, Any]) -> dict[str, Any]:
    return {}


def test_types_that_do_not_fit_are_refused_at_definition() -> None:
    with pytest.raises(DefinitionError, match="take_right takes input: Right, but give_left gives Left"):
        compile_graph(chain(give_left, take_right))


def test_a_step_may_ask_for_any_step_before_it_by_name() -> None:
    compile_graph(chain(give_left, do, take_earlier))


@pytest.mark.parametrize(
    "part", [chain(take_earlier, give_left), group(give_left, take_earlier), chain(do, take_earlier)]
)
def test_a_step_may_not_ask_for_one_that_need_not_be_done(part: Chain | Group) -> None:
    with pytest.raises(DefinitionError, match="asks for 'give_left'"):
        compile_graph(part)


def test_shares_over_a_hundred_are_refused() -> None:
    with pytest.raises(DefinitionError, match="shares"):
        compile_graph(chain(*(do.with_policy(share=60.0).named(name) for name in "ab")))
