"""How steps follow one another: composition by chain, group, chord, map_over and route, and its places.

A place is a step at its spot in the pipeline: what follows it, what it waits for, and on which
branch it runs. A chain is one task moving along; a group ends the task and starts one per member, a
map one per element of a list; their join starts when the last of them arrives. A route is no fork:
the same task goes on to the arm that a step's output names. `flow/compile.py` turns a composition
into places.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from rkyc.errors import DefinitionError
from rkyc.flow.step import Step

BRANCHES_MAX = 10_000
# An item's branch is its map's branch times this, plus its index: 10,000 maps of so many items fit into an int4.
ITEMS_SPAN = 131_072
MAP_ITEMS_MAX = 100_000
# As many items of one map are ready or running at a time, unless it says otherwise: a map must not fill a lane.
AT_ONCE = 100
_COMPOSED = "steps made by @step, chain(…), group(…), chord(…), map_over(…) or route(…)"

Key: TypeAlias = "str | int | bool | enum.Enum"


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts that run one after another; `optional`: a permanent failure in it skips the rest of it."""

    parts: tuple[Part, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that run side by side."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """A part that runs once per element of a list."""

    body: Part
    at_once: int
    over: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class Route:
    """A step, and the parts of which its output names the one that runs; None goes on without one."""

    decide: Step
    arms: tuple[tuple[str, Part | None], ...]
    default: Part | None
    by: str | None


Part: TypeAlias = "Step | Chain | Group | Map | Route"


def chain(*parts: Part, optional: bool = False) -> Chain:
    """Run the parts one after another; each gets the output of the one before as `input`.

    `optional`: when a step of it fails for good, the rest of the chain is skipped, the job is degraded
    with a warning, and what follows gets None.
    """
    return Chain(_check_parts("chain", parts), optional)


def map_steps(part: Part, change: Callable[[Step], Step]) -> Part:
    """Return the same graph with each step as `change` makes it."""
    match part:
        case Step():
            return change(part)
        case Map():
            return replace(part, body=map_steps(part.body, change))
        case Route():
            return replace(
                part,
                decide=change(part.decide),
                arms=tuple((key, arm and map_steps(arm, change)) for key, arm in part.arms),
                default=part.default and map_steps(part.default, change),
            )
    return replace(part, parts=tuple(map_steps(inner, change) for inner in part.parts))


def group(*parts: Part) -> Group:
    """Run the parts side by side; what follows gets `{name of each part's last step: output}`."""
    return Group(_check_parts("group", parts))


def chord(parts: Sequence[Part], callback: Part) -> Chain:
    """Run the parts side by side, then the callback once, when all have ended."""
    return chain(group(*parts), callback)


def map_over(part: Part, *, at_once: int = AT_ONCE, over: str | None = None, key: str | None = None) -> Map:
    """Run a step or a chain once per element of the list that the step before gives; what follows gets the list of results.

    Each item is a task of its own, with checkpoints, retries and a lease; its first step gets the element
    as `input` and says which one it has by `ctx.item`. Results stand in the order of the elements.
    `at_once`: so many items are ready or running at a time, over all workers; one that waits for its next
    attempt counts. `over`: the list is this field of the output. `key`: each element's field of this name is
    the item's key, for people; its index without it.

    Raises:
        DefinitionError
    """
    _check_parts("map_over", [part])
    if not isinstance(at_once, int) or not 1 <= at_once <= MAP_ITEMS_MAX:
        raise DefinitionError(
            f"map_over got at_once={at_once!r}: expected a whole number from 1 to {MAP_ITEMS_MAX}"
        )
    return Map(part, at_once, over, key)


def route(
    decide: Step, arms: Mapping[Any, Part | None], *, default: Part | None = None, by: str | None = None
) -> Route:
    """Run a step, then the part whose key its output is; the other parts are skipped.

    `by`: the key is this field of the output. Keys are texts, whole numbers, booleans or members of an
    Enum; None in place of a part goes on without one. The chosen part gets the output as `input`, and what follows
    gets the chosen part's. A key that no part has takes `default`; without one the job fails and says which
    keys there are.

    Raises:
        DefinitionError: also where the step's declared output has keys without a part, or parts without a key.
    """
    if not isinstance(decide, Step):
        raise DefinitionError(f"route got {decide!r}: expected a step whose output names the part to run")
    parts = [part for part in (*arms.values(), default) if part is not None]
    if not arms:
        raise DefinitionError(f"route after {decide.name} got no parts: expected {{key: part, …}}")
    _check_parts("route", parts or [decide])
    named = tuple((key_text(key), part) for key, part in arms.items())
    if len({name for name, _ in named}) < len(named):
        raise DefinitionError(
            f"route after {decide.name} has two keys that read the same: expected each once"
        )
    if decide.optional and default is None:
        raise DefinitionError(
            f"route after {decide.name}, which is optional and may give None: add default=…, the part to run then"
        )
    return Route(decide, named, default, by)


def key_text(key: Any) -> str:
    """Return how a route's key reads in JSON and in messages.

    Raises:
        DefinitionError: not a text, a whole number, a boolean or a member of an Enum.
    """
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int):
        return str(key)
    raise DefinitionError(
        f"route key {key!r}: expected a text, a whole number, a boolean or a member of an Enum"
    )


def list_key(branch: int) -> str:
    """Return under which name the results of a map's items stand together; no step can be called so."""
    return f"*{branch}"


def _check_parts(label: str, parts: Sequence[Part]) -> tuple[Part, ...]:
    for part in parts:
        if not isinstance(part, Step | Chain | Group | Map | Route):
            raise DefinitionError(f"{label} got {part!r}: expected {_COMPOSED}")
    if not parts:
        raise DefinitionError(f"{label} got no steps: expected at least one")
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Each:
    """What a map starts per element: the first step of its body, and the branch that its items' branches derive from."""

    first: str
    branch: int
    at_once: int
    over: str | None
    key: str | None


@dataclass(slots=True)
class Place:
    """A step at its spot. Exactly one of `next`, `arms`, `fork`, `each`, `join` says what follows; none: the job ends.

    `arms` are the places that a route's key leads to, `default` where any other key leads. `join` names the
    place that this branch arrives at; that place's `waits_for` counts the branches, save those of a map, whose
    number is known when it runs. `meets` is where the branches of a fork or a map come together. `slots` are
    the outputs that are this one's `input`: one per branch it waits for, each given by one of the places
    named. `map` is the branch of the map whose body this is part of, which `starts_item` begins in `item_lane`, `collects` that of the map whose results
    are its input. `escape` is the last place of the optional chain around it. `gates` are (place, arm) that
    must have been chosen for this one to run. `borrows` are the outputs from outside that a map's body asks for, `lists` the
    names under which this one asks for all results of a map, with where they stand.
    """

    step: Step
    branch: int
    index: int = 0
    next: str | None = None
    arms: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    by: str | None = None
    fork: tuple[str, ...] = ()
    each: Each | None = None
    join: str | None = None
    meets: str | None = None
    waits_for: int = 0
    slots: tuple[tuple[str, ...], ...] = ()
    map: int = 0
    starts_item: bool = False
    collects: int = 0
    escape: str | None = None
    gates: tuple[tuple[str, str], ...] = ()
    item_lane: str | None = None
    borrows: tuple[str, ...] = ()
    lists: Mapping[str, str] = field(default_factory=dict)
    is_forked: bool = False
    share: float = 0.0

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def before(self) -> tuple[str, ...]:
        """The places that may come right before this one."""
        return tuple(name for slot in self.slots for name in slot)

    @property
    def is_undo(self) -> bool:
        """True for a compensator: it runs past the job's deadline."""
        return self.step.name.startswith("undo:")


@dataclass(slots=True)
class Graph:
    """The compiled places by name, in an order in which they may run."""

    places: dict[str, Place] = field(default_factory=dict)
    first: str = ""
    # The compensators in the order in which they run, and the place that ends them (see flow/undo.py).
    undo: dict[str, Place] = field(default_factory=dict)
    is_forked: bool = False

    def find(self, name: str) -> Place | None:
        """Return the place of a step or of a compensator."""
        return self.places.get(name) or self.undo.get(name)

    @property
    def all_places(self) -> tuple[Place, ...]:
        """The places, and those of the compensators."""
        return (*self.places.values(), *self.undo.values())

    def describe(self) -> dict[str, Any]:
        """Return the JSON that the views and `rkyc graph` read; what few places have is left out elsewhere."""
        said: dict[str, Any] = {
            "first": self.first,
            "steps": [self._describe(place) for place in self.places.values()],
        }
        return said | {"undo": self.describe_undo()} if self.undo else said

    def describe_undo(self) -> list[dict[str, Any]]:
        """Return the steps that can be undone, the last first: whoever ends a job from outside has no code of it."""
        said: list[dict[str, Any]] = []
        for place in self.undo.values():
            if place.each is not None:
                said.append({"step": place.before[0], "lane": place.step.lane, "map": place.each.branch})
            elif place.next is not None:
                said.append({"step": place.before[0], "lane": place.step.lane})
        return said

    def _describe(self, place: Place) -> dict[str, Any]:
        said: dict[str, Any] = {
            "name": place.name,
            "task": place.step.task_name,
            "index": place.index,
            "branch": place.branch,
            "lane": place.step.lane,
            "share": round(place.share, 4),
            "next": list(self.followers(place)),
            "waits_for": place.waits_for,
            "optional": place.step.optional or place.escape is not None,
            "carries": place.step.carry is not None,
        }
        if place.arms:
            said["arms"] = {**place.arms}
            said["default"] = place.default
        if place.each is not None:
            said["each"] = {"at_once": place.each.at_once, "over": place.each.over, "key": place.each.key}
        rare = {
            "map": place.map,
            "collects": place.collects,
            "gates": [list(gate) for gate in place.gates],
            "escape": place.escape,
        }
        return said | {name: value for name, value in rare.items() if value}

    def followers(self, place: Place) -> tuple[str, ...]:
        """Return the names of the places that may start when this one has ended."""
        if place.fork:
            return place.fork
        if place.arms:
            return tuple(dict.fromkeys((*place.arms.values(), *([place.default] if place.default else ()))))
        return tuple(name for name in (place.next, place.each and place.each.first, place.join) if name)


def iterate_steps(part: Part) -> Iterator[Step]:
    """Yield the steps of a composition as written."""
    match part:
        case Step():
            yield part
        case Map():
            yield from iterate_steps(part.body)
        case Route():
            yield part.decide
            for arm in (*(arm for _, arm in part.arms), part.default):
                if arm is not None:
                    yield from iterate_steps(arm)
        case _:
            for inner in part.parts:
                yield from iterate_steps(inner)
