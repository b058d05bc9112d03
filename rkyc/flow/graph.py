"""How steps follow one another: composition by chain, group and chord, compiled to places.

A place is a step at its spot in the pipeline: what follows it, what it waits for, and on which
branch it runs. A chain is one task moving along; a group ends the task and starts one per member;
their join starts when the last of them arrives. A group that begins or ends a pipeline, or touches
another group, gets a small place of its own that only passes values on, so that every fork starts
from one place and every join leads to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pydantic

from rkyc.errors import DefinitionError
from rkyc.flow.step import Step, step

BRANCHES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts that run one after another."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that run side by side."""

    parts: tuple[Part, ...]


Part: TypeAlias = "Step | Chain | Group"


def chain(*parts: Part) -> Chain:
    """Run the parts one after another; each gets the output of the one before as `input`."""
    return Chain(_check_parts("chain", parts))


def group(*parts: Part) -> Group:
    """Run the parts side by side; what follows gets `{name of each part's last step: output}`."""
    return Group(_check_parts("group", parts))


def chord(parts: Sequence[Part], callback: Part) -> Chain:
    """Run the parts side by side, then the callback once, when all have ended."""
    return chain(group(*parts), callback)


def _check_parts(label: str, parts: Sequence[Part]) -> tuple[Part, ...]:
    for part in parts:
        if not isinstance(part, Step | Chain | Group):
            raise DefinitionError(
                f"{label} got {part!r}: expected steps made by @step, chain(…), group(…) or chord(…)"
            )
    if not parts:
        raise DefinitionError(f"{label} got no steps: expected at least one")
    return tuple(parts)


@dataclass(slots=True)
class Place:
    """A step at its spot. Exactly one of `next`, `fork`, `join` says what follows; none: the job ends.

    `join` names the place that this branch arrives at; that place's `waits_for` counts the
    branches. `before` names the places whose outputs are this one's `input`.
    """

    step: Step
    branch: int
    index: int = 0
    next: str | None = None
    fork: tuple[str, ...] = ()
    join: str | None = None
    waits_for: int = 0
    before: tuple[str, ...] = ()
    share: float = 0.0

    @property
    def name(self) -> str:
        return self.step.name


@dataclass(slots=True)
class Graph:
    """The compiled places by name, in an order in which they may run."""

    places: dict[str, Place] = field(default_factory=dict)
    first: str = ""
    is_forked: bool = False

    def describe(self) -> dict[str, Any]:
        """Return the JSON that the views and `rkyc graph` read."""
        return {
            "first": self.first,
            "steps": [
                {
                    "name": place.name,
                    "task": place.step.task_name,
                    "index": place.index,
                    "branch": place.branch,
                    "lane": place.step.lane,
                    "share": round(place.share, 4),
                    "next": list(self.followers(place)),
                    "waits_for": place.waits_for,
                    "optional": place.step.optional,
                    "carries": place.step.carry is not None,
                }
                for place in self.places.values()
            ],
        }

    def followers(self, place: Place) -> tuple[str, ...]:
        """Return the names of the places that may start when this one has ended."""
        if place.fork:
            return place.fork
        return tuple(name for name in (place.next, place.join) if name)


async def _pass_values_on(ctx: Any, input: Any) -> Any:
    return input


_PASS_ON = step(_pass_values_on)


class _Compiler:
    def __init__(self, names: Iterable[str]) -> None:
        # What the steps as written are called: a place of our own takes another name.
        self.taken = set(names)
        self.places: dict[str, Place] = {}
        self.branches = 0
        # The place that forked -> the last places of its members, until what follows is known.
        self.open_ends: dict[str, list[Place]] = {}

    def add(self, item: Step, branch: int) -> Place:
        if item.name in self.places:
            raise DefinitionError(
                f"step {item.name} stands twice in the pipeline: give one of them another name, {item.name}.named('…')"
            )
        place = Place(item, branch)
        self.places[item.name] = place
        return place

    def add_chain(self, parts: Sequence[Part], branch: int) -> tuple[Place, Place]:
        """Place parts one after another; return the first and the last place."""
        first: Place | None = None
        last: Place | None = None
        flat = list(_flatten(parts))
        for number, part in enumerate(flat):
            if isinstance(part, Group):
                if last is None:
                    first = last = self.add(_PASS_ON.named(self.free_name("start")), branch)
                follower = flat[number + 1] if number + 1 < len(flat) else None
                last = self.add_group(part, last, branch, needs_join=not isinstance(follower, Step))
                continue
            place = self.add(part, branch)
            if last is not None:
                self.link(last, place)
            first, last = first or place, place
        assert first is not None and last is not None
        return first, last

    def add_group(self, part: Group, source: Place, branch: int, *, needs_join: bool) -> Place:
        """Fork from `source`; return what stands for the group's end, to be linked to what follows."""
        ends = []
        starts = []
        for member in part.parts:
            self.branches += 1
            start, end = self.add_chain([member], self.branches)
            start.before = (source.name,)
            starts.append(start.name)
            ends.append(end)
        if self.branches > BRANCHES_MAX:
            raise DefinitionError(f"the pipeline has {self.branches} branches: at most {BRANCHES_MAX}")
        source.fork = tuple(starts)
        self.open_ends[source.name] = ends
        if not needs_join:
            return source
        join = self.add(_PASS_ON.named(self.free_name("collect")), branch)
        self.link(source, join)
        return join

    def link(self, last: Place, following: Place) -> None:
        """Let `following` come after `last`, or after all the ends of the group that `last` forked."""
        ends = self.open_ends.pop(last.name, None)
        if ends is None:
            last.next = following.name
            following.before = (last.name,)
            return
        for end in ends:
            end.join = following.name
        following.waits_for = len(ends)
        following.before = tuple(end.name for end in ends)

    def free_name(self, stem: str) -> str:
        number = 1
        while f"{stem}_{number}" in self.taken:
            number += 1
        self.taken.add(f"{stem}_{number}")
        return f"{stem}_{number}"


def _flatten(parts: Sequence[Part]) -> Iterator[Step | Group]:
    """A chain within a chain is the same as its parts."""
    for part in parts:
        if isinstance(part, Chain):
            yield from _flatten(part.parts)
        else:
            yield part


def compile_graph(part: Part) -> Graph:
    """Compile a composition into places.

    Raises:
        DefinitionError: a name twice, an unknown earlier step, or types that do not fit.
    """
    compiler = _Compiler(item.name for item in iterate_steps(part))
    first, _ = compiler.add_chain(part.parts if isinstance(part, Chain) else [part], 0)
    graph = Graph(first=first.name)
    _order(graph, compiler.places, first.name)
    graph.is_forked = compiler.branches > 0
    _spread_shares(graph)
    _check_wanted(graph)
    return graph


def _order(graph: Graph, places: dict[str, Place], first: str) -> None:
    """Sort so that each place stands behind all it waits for."""
    arrived: dict[str, int] = {}
    ready = [first]
    while ready:
        place = places[ready.pop(0)]
        place.index = len(graph.places)
        graph.places[place.name] = place
        for name in graph.followers(place):
            arrived[name] = arrived.get(name, 0) + 1
            if arrived[name] >= max(1, places[name].waits_for):
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


def _check_wanted(graph: Graph) -> None:
    """Check that each step asks for outputs that exist before it, of a type that fits."""
    earlier: dict[str, set[str]] = {}
    job_hint: Any = None
    for place in graph.places.values():
        known = set(place.before)
        for name in place.before:
            known |= earlier[name]
        earlier[place.name] = known
        for want in place.step.wanted:
            if want.name == "job" or (want.name == "input" and not place.before):
                job_hint = job_hint or want.hint
                _check_fit(place.name, want.name, "the job's input", job_hint, want.hint)
            elif want.name == "input":
                if len(place.before) == 1:
                    source = place.before[0]
                    _check_fit(place.name, "input", source, graph.places[source].step.output.hint, want.hint)
            elif want.name not in known:
                raise DefinitionError(
                    f"step {place.name} asks for {want.name!r}: expected input, job, or an earlier step ({', '.join(sorted(known)) or 'none'})"
                )
            else:
                _check_fit(
                    place.name, want.name, want.name, graph.places[want.name].step.output.hint, want.hint
                )


def _check_fit(taker: str, parameter: str, giver: str, given: Any, taken: Any) -> None:
    """Refuse two models that are strangers; dict, Any and unions are checked at run time."""
    if not (_is_model(given) and _is_model(taken)) or issubclass(given, taken):
        return
    raise DefinitionError(
        f"step {taker} takes {parameter}: {taken.__name__}, but {giver} gives {given.__name__}: let the two agree"
    )


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)


def iterate_steps(part: Part) -> Iterator[Step]:
    """Yield the steps of a composition as written."""
    if isinstance(part, Step):
        yield part
        return
    for inner in part.parts:
        yield from iterate_steps(inner)
