"""Compiles a composition into places.

A group or a map that begins or ends a pipeline, or touches another one, gets a small place of its own
that only passes values on, so that every fork starts from one place and every join leads to one.
What can't run is refused here, with the step that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rkyc.errors import DefinitionError
from rkyc.flow.fit import check_wanted
from rkyc.flow.graph import BRANCHES_MAX, Chain, Each, Graph, Group, Map, Part, Place, Route, iterate_steps
from rkyc.flow.step import Step, step


async def _pass_values_on(ctx: Any, input: Any) -> Any:
    return input


_PASS_ON = step(_pass_values_on)


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where in a composition the compiler is."""

    branch: int = 0
    map: int = 0
    gates: tuple[tuple[str, str], ...] = ()
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a part leaves open until it is known what follows: per branch the places of which one is its last."""

    slots: tuple[tuple[Place, ...], ...]
    # The place that forked; None: no branch came to be, and the only slot goes on.
    source: Place | None = None

    @property
    def single(self) -> Place | None:
        """The one place that may fork for a group that follows; None where there is a choice of several."""
        if self.source is None and len(self.slots[0]) == 1 and not self.slots[0][0].arms:
            return self.slots[0][0]
        return None


class _Compiler:
    def __init__(self, names: Iterable[str]) -> None:
        # What the steps as written are called: a place of our own takes another name.
        self.taken = set(names)
        self.places: dict[str, Place] = {}
        self.branches = 0

    def add(self, item: Step, spot: _Spot) -> Place:
        if item.name in self.places:
            raise DefinitionError(
                f"step {item.name} stands twice in the pipeline: give one of them another name, {item.name}.named('…')"
            )
        place = Place(item, spot.branch, map=spot.map, gates=spot.gates)
        self.places[item.name] = place
        return place

    def add_own(self, stem: str, spot: _Spot) -> Place:
        """Add a place that passes values on."""
        number = 1
        while f"{stem}_{number}" in self.taken:
            number += 1
        self.taken.add(f"{stem}_{number}")
        return self.add(_PASS_ON.named(f"{stem}_{number}"), spot)

    def add_branch(self) -> int:
        self.branches += 1
        if self.branches > BRANCHES_MAX:
            raise DefinitionError(
                f"the pipeline has more than {BRANCHES_MAX} branches: map_over takes a list of any length"
            )
        return self.branches

    def add_sequence(self, parts: Sequence[Part], spot: _Spot) -> tuple[Place, _Ends]:
        """Place parts one after another; return the first place and the ends."""
        first: Place | None = None
        ends: _Ends | None = None
        for part in _flatten(parts):
            if isinstance(part, Group | Map):
                self.check_fork(part, spot)
                source = ends.single if ends else None
                if source is None:
                    source = self.add_own("collect" if ends else "start", spot)
                    first = first or source
                    self.link(ends, source)
                ends = (
                    self.add_group(part, source, spot)
                    if isinstance(part, Group)
                    else self.add_map(part, source, spot)
                )
                continue
            if isinstance(part, Step):
                place = self.add(part, spot)
                self.link(ends, place)
                ends = _Ends(((place,),))
            elif isinstance(part, Route):
                place = self.add(part.decide, spot)
                self.link(ends, place)
                ends = self.add_arms(part, place, spot)
            else:
                # An optional chain: what fails in it goes on where it ends.
                place, inner = self.add_optional(part, spot)
                self.link(ends, place)
                ends = inner
            first = first or place
        assert first is not None and ends is not None
        return first, ends

    def add_closed(self, part: Part, spot: _Spot) -> tuple[Place, tuple[Place, ...]]:
        """Place a part that is a branch of its own: its first place, and those of which one is its last."""
        first, ends = self.add_sequence([part], spot)
        if ends.source is None:
            return first, ends.slots[0]
        join = self.add_own("collect", spot)
        self.link(ends, join)
        return first, (join,)

    def check_fork(self, part: Group | Map, spot: _Spot) -> None:
        what = "group" if isinstance(part, Group) else "map_over"
        inside = next(iter(iterate_steps(part))).name
        if spot.map:
            raise DefinitionError(
                f"{what} of {inside} stands inside a map_over: its items may run a step, a chain or a route; "
                "let the step before give one list of all that is to be done"
            )
        if spot.is_optional:
            raise DefinitionError(
                f"{what} of {inside} stands inside an optional chain: declare its steps or its members' chains optional instead"
            )

    def add_group(self, part: Group, source: Place, spot: _Spot) -> _Ends:
        starts: list[str] = []
        slots = []
        for member in part.parts:
            start, last = self.add_closed(member, replace(spot, branch=self.add_branch()))
            start.slots = ((source.name,),)
            starts.append(start.name)
            slots.append(last)
        source.fork = tuple(starts)
        return _Ends(tuple(slots), source)

    def add_map(self, part: Map, source: Place, spot: _Spot) -> _Ends:
        branch = self.add_branch()
        start, last = self.add_closed(part.body, replace(spot, branch=branch, map=branch))
        start.slots = ((source.name,),)
        start.starts_item = True
        source.each = Each(start.name, branch, part.at_once, part.over, part.key)
        return _Ends((last,), source)

    def add_arms(self, part: Route, decide: Place, spot: _Spot) -> _Ends:
        decide.by = part.by
        arms: dict[str, str] = {}
        lasts: list[Place] = []
        for key, arm in (*part.arms, (None, part.default)):
            if key is None and arm is None:
                continue
            start, last = self.add_arm(arm, decide, spot)
            lasts += last
            if key is None:
                decide.default = start.name
            else:
                arms[key] = start.name
        decide.arms = arms
        return _Ends((tuple(lasts),))

    def add_arm(self, arm: Part | None, decide: Place, spot: _Spot) -> tuple[Place, tuple[Place, ...]]:
        before = set(self.places)
        if arm is None:
            start = self.add_own("skip", spot)
            last: tuple[Place, ...] = (start,)
        else:
            start, last = self.add_closed(arm, spot)
        start.slots = ((decide.name,),)
        for name, place in self.places.items():
            if name not in before:
                # The outer gates stand first in `place.gates`, those of routes within the arm after them.
                at = len(spot.gates)
                place.gates = (*place.gates[:at], (decide.name, start.name), *place.gates[at:])
        return start, last

    def add_optional(self, part: Chain, spot: _Spot) -> tuple[Place, _Ends]:
        before = set(self.places)
        first, ends = self.add_sequence(part.parts, replace(spot, is_optional=True))
        for name, place in self.places.items():
            if name not in before and place.escape is None:
                place.escape = ends.slots[0][0].name
        return first, ends

    def link(self, ends: _Ends | None, following: Place) -> None:
        """Let `following` come after a part, or nothing before it."""
        if ends is None:
            return
        following.slots = tuple(tuple(place.name for place in slot) for slot in ends.slots)
        for place in (place for slot in ends.slots for place in slot):
            if ends.source is None:
                place.next = following.name
            else:
                place.join = following.name
        if ends.source is not None:
            ends.source.meets = following.name
            if ends.source.each is not None:
                following.collects = ends.source.each.branch
            else:
                following.waits_for = len(ends.slots)


def _flatten(parts: Sequence[Part]) -> Iterator[Part]:
    """A chain within a chain is the same as its parts, unless it is optional."""
    for part in parts:
        if isinstance(part, Chain) and not part.optional:
            yield from _flatten(part.parts)
        else:
            yield part


def compile_graph(part: Part) -> Graph:
    """Compile a composition into places.

    Raises:
        DefinitionError: a name twice, an unknown earlier step, types that do not fit, a form that can't run.
    """
    compiler = _Compiler(item.name for item in iterate_steps(part))
    first, _ = compiler.add_closed(part, _Spot())
    graph = Graph(first=first.name)
    _order(graph, compiler.places, first.name)
    graph.is_forked = compiler.branches > 0
    _spread_shares(graph)
    check_wanted(graph)
    return graph


def _order(graph: Graph, places: dict[str, Place], first: str) -> None:
    """Sort so that each place stands behind all that may come before it; say which come after a fork."""
    arrived: dict[str, int] = {}
    ready = [first]
    while ready:
        place = places[ready.pop(0)]
        place.index = len(graph.places)
        place.is_forked = any(places[name].is_forked or places[name].meets for name in place.before)
        graph.places[place.name] = place
        for name in graph.followers(place):
            arrived[name] = arrived.get(name, 0) + 1
            if arrived[name] >= len(places[name].before):
                ready.append(name)


def _spread_shares(graph: Graph) -> None:
    """Give each place its part of 100: the declared one, or an equal part of what is left."""
    declared = {p.name: p.step.share for p in graph.places.values() if p.step.share is not None}
    total = sum(declared.values())
    rest = [p for p in graph.places.values() if p.step.share is None]
    if total > 100.0001 or (not rest and abs(total - 100) > 0.01):
        raise DefinitionError(
            f"the steps' shares add up to {total:g}: expected 100, or less with some left open"
        )
    for place in graph.places.values():
        place.share = declared[place.name] if place.name in declared else (100.0 - total) / len(rest)
