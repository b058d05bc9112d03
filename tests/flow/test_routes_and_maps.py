"""Maps, routes and optional chains: what is refused at definition and how it reads, and what the rest compiles to."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
import pytest

from rkyc.errors import DefinitionError
from rkyc.flow.compile import compile_graph
from rkyc.flow.graph import MAP_ITEMS_MAX, Part, chain, group, map_over, route
from rkyc.flow.step import step
from tests.support.graphs import Left, choose, do, give_left, names, take_earlier, take_right


@step
async def give_list(ctx: Any, input: dict[str, Any]) -> list[Left]:
    return []


@step
async def take_left(ctx: Any, input: Left) -> Left:
    return input


@step
async def take_lefts(ctx: Any, input: list[Left]) -> dict[str, Any]:
    return {}


class Listing(pydantic.BaseModel):
    files: list[Left] = []
    kind: Literal["a", "b"] = "a"


@step
async def give_listing(ctx: Any, input: dict[str, Any]) -> Listing:
    return Listing()


def test_a_maps_types_fit_over_its_bounds() -> None:
    compile_graph(chain(give_list, map_over(take_left), take_lefts))
    compile_graph(chain(give_listing, map_over(take_left, over="files"), take_lefts))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (chain(give_left, map_over(take_left)), "give_left gives Left: name the field that holds the list"),
        (chain(do, map_over(take_left)), r"map_over\(…, over='field'\)"),
        (chain(give_listing, map_over(take_left, over="pages")), "expected one of its fields, files, kind"),
        (
            chain(give_list, map_over(take_right)),
            "take_right takes input: Right, but each of give_list gives Left",
        ),
        (chain(give_list, map_over(take_left), do), "map_over gives the list of what take_left returned"),
        (chain(give_list, map_over(group(take_left, do))), "group of take_left stands inside a map_over"),
        (
            chain(give_list, map_over(chain(take_left, map_over(do)))),
            "map_over of do stands inside a map_over",
        ),
        (
            chain(do, chain(group(*names("a", "b")), optional=True)),
            "group of a stands inside an optional chain",
        ),
    ],
)
def test_a_map_that_can_not_run_is_refused_with_what_to_do(part: Part, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        compile_graph(part)


def test_at_once_has_bounds() -> None:
    for wrong in (0, -1, MAP_ITEMS_MAX + 1, 1.5):
        with pytest.raises(DefinitionError, match="at_once"):
            map_over(do, at_once=wrong)  # type: ignore[arg-type]


@step
async def say_yes(ctx: Any, input: dict[str, Any]) -> bool:
    return True


@step
async def ask_two(ctx: Any, a: dict[str, Any], b: dict[str, Any] | None) -> dict[str, Any]:
    return {}


def test_a_route_goes_on_where_its_parts_meet() -> None:
    a, b, last = names("a", "b", "last")
    graph = compile_graph(chain(route(say_yes, {True: chain(a, do), False: b}), last))
    assert graph.places["say_yes"].arms == {"true": "a", "false": "b"}
    assert [graph.places[name].next for name in ("do", "b")] == ["last", "last"]
    assert graph.places["last"].slots == (("do", "b"),)
    assert graph.places["do"].gates == (("say_yes", "a"),)
    assert graph.places["last"].gates == ()


def test_routes_within_routes_have_all_their_gates() -> None:
    a, b, c, last = names("a", "b", "c", "last")
    graph = compile_graph(
        chain(route(choose, {"x": route(choose.named("inner"), {"y": a}, default=b), "z": c}), last)
    )
    assert graph.places["a"].gates == (("choose", "inner"), ("inner", "a"))
    assert graph.places["last"].before == ("a", "b", "c")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: route(say_yes, {True: do}), "no part for false"),
        (lambda: route(say_yes, {True: do, False: None, "maybe": None}), "maybe, which the step never gives"),
        (lambda: route(give_left, {"x": do}), r"route\(…, by='field'\)"),
        (
            lambda: route(give_listing, {"a": take_earlier}, by="sort"),
            "expected one of its fields, files, kind",
        ),
        (lambda: route(give_listing, {"a": do}, by="kind"), "no part for b"),
        (lambda: route(do.with_policy(optional=True), {"a": choose}), "optional and may give None"),
        (lambda: route(choose, {}), "no parts"),
        (lambda: route(choose, {"1": None, 1: None}), "read the same"),
        (lambda: route(choose, {1.5: do}), "expected a text"),
        (lambda: route(chain(do), {"a": choose}), "expected a step"),
        (
            lambda: chain(route(choose, dict(zip("ab", names("a", "b"), strict=True))), ask_two),
            "asks for a, which a route may skip",
        ),
    ],
)
def test_a_route_that_can_not_run_is_refused_with_what_to_do(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        compile_graph(make())


def test_a_step_may_ask_for_what_a_route_may_skip_if_it_takes_none() -> None:
    both = chain(do.named("a"), route(choose, {"b": do.named("b"), "c": None}), ask_two)
    compile_graph(both)


def test_what_fails_in_an_optional_chain_goes_on_where_it_ends() -> None:
    a, b, last = names("a", "b", "last")
    graph = compile_graph(chain(group(chain(a, b, optional=True), do), last))
    assert [graph.places[name].escape for name in ("a", "b", "do")] == ["b", "b", None]


def test_the_description_names_maps_and_routes_and_leaves_out_what_others_have_not() -> None:
    described = compile_graph(
        chain(give_list, map_over(take_left, at_once=7, key="id"), route(choose, {"x": do}))
    )
    steps = {one["name"]: one for one in described.describe()["steps"]}
    assert steps["give_list"]["each"] == {"at_once": 7, "over": None, "key": "id"}
    assert steps["take_left"]["map"] == steps["choose"]["collects"] == 1
    assert steps["choose"]["arms"] == {"x": "do"}
    assert steps["do"]["gates"] == [["choose", "do"]]
    assert not {"arms", "each", "map", "collects", "gates"} & set(compile_graph(do).describe()["steps"][0])
