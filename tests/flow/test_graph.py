"""Composition and its compilation: every step reachable, every join counted right, names told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rkyc.errors import DefinitionError
from rkyc.flow.compile import compile_graph
from rkyc.flow.graph import (
    BRANCHES_MAX,
    ITEMS_SPAN,
    MAP_ITEMS_MAX,
    Chain,
    Graph,
    Group,
    Part,
    chain,
    chord,
    group,
    iterate_steps,
    map_over,
    route,
)
from tests.support.graphs import choose, do, give_left, names, take_earlier, take_right


def number_steps(part: Any, counter: list[int], inside: str = "") -> Part:
    """Turn nested lists into chains (c), optional chains (o), groups (g), maps (m) and routes (r) of steps.

    What may not stand inside a map or an optional chain becomes a chain there.
    """
    if part is None:
        counter[0] += 1
        return choose.named(f"n{counter[0]}")
    kind = part[0]
    if kind in "gm" and set(inside) & set("mo"):
        kind = "c"
    parts = [number_steps(inner, counter, inside + kind) for inner in part[1:]]
    match kind:
        case "g":
            return group(*parts)
        case "m":
            return map_over(chain(*parts), at_once=2)
        case "r":
            counter[0] += 1
            arms: dict[str, Part | None] = {f"arm{number}": arm for number, arm in enumerate(parts)}
            default = arms.pop("arm3", None)
            return route(choose.named(f"n{counter[0]}"), arms | {"past": None}, default=default)
    return chain(*parts, optional=kind == "o")


SHAPES = st.recursive(
    st.none(),
    lambda inner: st.builds(
        lambda kind, parts: [kind, *parts], st.sampled_from("ccgmor"), st.lists(inner, min_size=1, max_size=4)
    ),
    max_leaves=25,
)


def walk(graph: Graph, choose_one: Callable[[int], int], *, fails: frozenset[str] = frozenset()) -> list[str]:
    """Run the graph by its own rules: a task per branch and item, joins that count; return what ran, in order.

    `choose_one(n)` picks a number below n: which arm a route takes, how many elements a map has. The steps
    in `fails` fail for good: an optional chain goes on where it ends.
    """
    ran: list[str] = []
    remaining: dict[str, int] = {}
    ready = [graph.first]
    while ready:
        place = graph.places[ready.pop()]
        ran.append(place.name)
        if place.name in fails and place.escape is not None:
            place = graph.places[place.escape]
        if place.next is not None:
            ready.append(place.next)
        elif place.arms:
            targets = graph.followers(place)
            ready.append(targets[choose_one(len(targets))])
        elif place.fork:
            assert place.meets is not None
            remaining[place.meets] = graph.places[place.meets].waits_for
            assert remaining[place.meets] == len(place.fork)
            ready.extend(place.fork)
        elif place.each is not None:
            assert place.meets is not None
            remaining[place.meets] = items = choose_one(4)
            ready += [place.each.first] * items if items else [place.meets]
        elif place.join is not None:
            remaining[place.join] -= 1
            if remaining[place.join] == 0:
                ready.append(place.join)
    assert all(left == 0 for left in remaining.values()), remaining
    return ran


@settings(max_examples=300)
@given(SHAPES, st.data())
def test_a_walk_through_any_composition_ends_once_and_skips_only_what_a_route_or_an_empty_map_skips(
    shape: Any, data: st.DataObject
) -> None:
    part = number_steps(shape, [0])
    graph = compile_graph(part)
    ran = walk(graph, lambda count: data.draw(st.integers(0, count - 1)))
    outside = [name for name in ran if not graph.places[name].map]
    assert len(set(outside)) == len(outside), "what is no item's runs once"
    ends = {place.name for place in graph.places.values() if not graph.followers(place)}
    assert len(ends & set(ran)) == 1 and ran[-1] in ends, "a pipeline ends in one place"
    for name in set(graph.places) - set(ran):
        assert graph.places[name].gates or graph.places[name].map


@settings(max_examples=300)
@given(SHAPES, st.data())
def test_whatever_fails_in_optional_chains_the_walk_ends(shape: Any, data: st.DataObject) -> None:
    graph = compile_graph(number_steps(shape, [0]))
    fails = data.draw(st.sets(st.sampled_from(sorted(graph.places))))
    ran = walk(graph, lambda count: data.draw(st.integers(0, count - 1)), fails=frozenset(fails))
    assert not graph.followers(graph.places[graph.places[ran[-1]].escape or ran[-1]]) or ran[-1] in fails


@settings(max_examples=300)
@given(SHAPES)
def test_every_place_of_any_composition_can_be_reached(shape: Any) -> None:
    part = number_steps(shape, [0])
    graph = compile_graph(part)
    seen = {graph.first}
    for name in graph.places:
        if name in seen:
            seen |= set(graph.followers(graph.places[name]))
    assert seen == set(graph.places)
    assert {item.name for item in iterate_steps(part)} <= seen


@settings(max_examples=300)
@given(SHAPES)
def test_every_place_says_at_most_one_thing_about_what_follows(shape: Any) -> None:
    graph = compile_graph(number_steps(shape, [0]))
    for name, place in graph.places.items():
        assert name == place.name
        said = [
            place.next is not None,
            bool(place.arms),
            bool(place.fork),
            place.each is not None,
            place.join is not None,
        ]
        assert sum(said) <= 1
        assert (place.meets is not None) == (bool(place.fork) or place.each is not None)
        assert place.waits_for in (0, len(place.slots))
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
        branches = [
            graph.places[name].branch for name in (*place.fork, *([place.each.first] if place.each else []))
        ]
        assert len(set(branches)) == len(branches)
        assert place.branch not in branches


@settings(max_examples=200)
@given(SHAPES)
def test_branches_of_items_collide_with_no_other(shape: Any) -> None:
    graph = compile_graph(number_steps(shape, [0]))
    maps = [place.each.branch for place in graph.places.values() if place.each is not None]
    assert len(set(maps)) == len(maps)
    assert all(place.branch < ITEMS_SPAN for place in graph.places.values())
    assert (BRANCHES_MAX + 1) * ITEMS_SPAN < 2**31
    assert MAP_ITEMS_MAX <= ITEMS_SPAN
    for place in graph.places.values():
        assert place.map == (place.branch if place.branch in maps else 0)


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
