"""Where a job goes on when some of its steps are to run again: pure, by the graph that the database keeps.

A step that runs again takes everything after it along. What is kept keeps its output; each step that
lacks nothing before it starts a task; each join that lacks some branches waits for those alone. A map
is one piece: its items are kept when what follows them began, else its list is made anew. What a route
went past stays so as long as the step that chose is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from rkyc.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class KeptStep:
    """A completed step whose output stays; `next_step` where its task goes on by itself."""

    step: str
    branch: int
    next_step: str | None


@dataclass(frozen=True, slots=True)
class KeptItems:
    """A step of a map's body whose outputs all stay; `map` is the map's branch."""

    step: str
    map: int


@dataclass(frozen=True, slots=True)
class Start:
    """A task to begin; `lane` is None where the step declares none."""

    step: str
    branch: int
    lane: str | None


@dataclass(frozen=True, slots=True)
class JoinLeft:
    """A join and how many branches it still waits for."""

    step: str
    branch: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Restart:
    """What a job keeps, what runs again (in the graph's order), and the tasks that begin.

    `is_forked`: they begin behind a fork.
    """

    kept: tuple[KeptStep, ...]
    items: tuple[KeptItems, ...]
    again: tuple[str, ...]
    starts: tuple[Start, ...]
    joins: tuple[JoinLeft, ...]
    is_forked: bool

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The steps that stay as they are."""
        return (*(one.step for one in self.kept), *(one.step for one in self.items))


def plan_restart(graph: Mapping[str, Any], done: Set[str], again: Iterable[str]) -> Restart:
    """Plan a run in which the steps `again` and all that follow them run, as well as what is not `done` yet.

    `graph` is what `Graph.describe` gives.

    Raises:
        InvalidInputError: no such step in the graph.
    """
    steps = {one["name"]: one for one in graph["steps"]}
    unknown = [name for name in again if name not in steps]
    if unknown:
        raise InvalidInputError(f"no step is called {unknown[0]!r}: expected one of {', '.join(steps)}")
    before = find_before(graph)
    passed = _find_passed(steps, done)
    if skipped := [name for name in again if name in passed]:
        raise InvalidInputError(
            f"step {skipped[0]} was skipped: run {passed[skipped[0]]} again, which chose another way"
        )
    joins_of_maps = {one["collects"]: name for name, one in steps.items() if "collects" in one}
    missing = {
        name
        for name, one in steps.items()
        # Some items of a map may have gone past a step of its body.
        if not {name, joins_of_maps.get(one.get("map", 0))} & done and name not in passed
    }
    chosen = _with_sources(steps, {*again} | missing, joins_of_maps, missing) | _find_unsettled(steps, done)
    running = with_followers(graph, chosen)
    running -= {name for name, chooser in passed.items() if chooser not in running}
    kept = [one for name, one in steps.items() if name not in running and name in done]
    starts = [
        one for name, one in steps.items() if name in running and not any(b in running for b in before[name])
    ]
    joins = [
        # Of a member that ends in a route's parts one arrives.
        JoinLeft(name, one["branch"], len({steps[b]["branch"] for b in before[name] if b in running}))
        for name, one in steps.items()
        if one["waits_for"] and name in running and any(b in running for b in before[name])
    ]
    return Restart(
        tuple(
            KeptStep(one["name"], one["branch"], _next_in_chain(steps, one, done))
            for one in kept
            if "map" not in one
        ),
        tuple(KeptItems(one["name"], one["map"]) for one in kept if "map" in one),
        tuple(name for name in steps if name in running),
        tuple(Start(one["name"], one["branch"], one["lane"]) for one in starts),
        tuple(joins),
        not _find_forked(steps).isdisjoint(one["name"] for one in starts),
    )


def find_origins(
    before: Mapping[str, Any], done: Set[str], kept: Iterable[str], steps: Set[str]
) -> list[tuple[str, str]]:
    """Return of which completed steps of an older version the kept ones of a newer one tell, in pairs (new, old).

    `before` is the older graph, `steps` are the newer one's. A step tells of the one of its name. Of the others it is
    told by their order: as many new names as gone ones were renamed; else each new one stands for all that are gone.
    """
    own = [(name, name) for name in kept if name in done]
    new = [name for name in kept if name not in done]
    gone = [one["name"] for one in before["steps"] if one["name"] in done - steps and "map" not in one]
    if len(new) == len(gone):
        return [*own, *zip(new, gone, strict=True)]
    return [*own, *((name, old) for name in new for old in gone)]


def explain_again(
    graph: Mapping[str, Any], plan: Restart, done: Set[str], changed: Mapping[str, str]
) -> dict[str, str]:
    """Return why each step of a plan runs again; `changed` has the reasons of those that were asked for."""
    before = find_before(graph)
    choosing = {one["name"] for one in graph["steps"] if "arms" in one}
    reasons = {}
    for name in plan.again:
        if name in changed:
            reasons[name] = changed[name]
        elif any(other in plan.again for other in before[name]):
            reasons[name] = "it comes after a step that runs again"
        elif name not in done:
            reasons[name] = "it was not completed"
        elif name in choosing:
            reasons[name] = "nothing that it chose was completed"
        else:
            reasons[name] = "it gives the list of a map of which something runs again"
    return reasons


def _find_forked(steps: Mapping[str, Any]) -> set[str]:
    """Return the steps behind a fork or a map, where a job is counted on a row of its own; before, its one task counts.

    `steps` stand in an order in which they may run.
    """
    forked: set[str] = set()
    for name, one in steps.items():
        for following in one["next"]:
            if name in forked or "each" in one or steps[following]["branch"] != one["branch"]:
                forked.add(following)
    return forked


def _find_passed(steps: Mapping[str, Any], done: Set[str]) -> dict[str, str]:
    """Return the steps that a route or the failure of an optional chain went past, each with the step that did it."""
    passed: dict[str, str] = {}
    for name, one in steps.items():
        for chooser, arm in one.get("gates", ()):
            taken = _arms_of(steps[chooser]) & done
            if "map" not in steps[chooser] and chooser in done and taken and arm not in taken:
                passed.setdefault(name, chooser)
        escape = one.get("escape")
        if name not in done and escape is not None and {*steps[escape]["next"]} & done:
            failed = [
                other for other, each in steps.items() if each.get("escape") == escape and other in done
            ]
            passed.setdefault(name, failed[-1] if failed else name)
    return passed


def _arms_of(one: Mapping[str, Any]) -> set[str]:
    return {*one["arms"].values(), one["default"]} - {None}


def _find_unsettled(steps: Mapping[str, Any], done: Set[str]) -> set[str]:
    """Return the routes of which no part is done: which one was chosen is not known here, so they choose again."""
    return {
        name
        for name, one in steps.items()
        if "arms" in one and name in done and "map" not in one and not _arms_of(one) & done
    }


def _with_sources(
    steps: Mapping[str, Any], chosen: set[str], joins: Mapping[int, str], missing: Set[str]
) -> set[str]:
    """Add the steps that give the lists of maps of which something is to run again."""
    sources = {
        steps[one["next"][0]]["map"]: name for name, one in steps.items() if "each" in one and one["next"]
    }
    touched = {one["map"] for name, one in steps.items() if "map" in one and name in chosen}
    # Whether all its items are done is told by what follows them alone.
    open_maps = {branch for branch in sources if joins[branch] in missing}
    return chosen | {sources[branch] for branch in touched | open_maps}


def with_followers(graph: Mapping[str, Any], chosen: Iterable[str]) -> set[str]:
    """Return the steps and everything that comes after them."""
    followers = {one["name"]: one["next"] for one in graph["steps"]}
    found: set[str] = set()
    left = list(chosen)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(followers[name])
    return found


def find_before(graph: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the steps right before each step."""
    before: dict[str, list[str]] = {one["name"]: [] for one in graph["steps"]}
    for one in graph["steps"]:
        for name in one["next"]:
            before[name].append(one["name"])
    return before


def _next_in_chain(steps: Mapping[str, Any], one: Mapping[str, Any], done: Set[str]) -> str | None:
    """Return what follows on the same task, as its checkpoint names it."""
    if "arms" in one:
        return next((name for name in one["next"] if name in done), None)
    if len(one["next"]) != 1:
        return None
    following = steps[one["next"][0]]
    is_same_task = following["branch"] == one["branch"] and not following["waits_for"]
    return following["name"] if is_same_task else None
