"""Where a job goes on when some of its steps are to run again: pure, by the graph that the database keeps.

A step that runs again takes everything after it along. What is kept keeps its output; each step that
lacks nothing before it starts a task; each join that lacks some branches waits for those alone.
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
    """What a job keeps, what runs again (in the graph's order), and the tasks that begin."""

    kept: tuple[KeptStep, ...]
    again: tuple[str, ...]
    starts: tuple[Start, ...]
    joins: tuple[JoinLeft, ...]
    is_forked: bool


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
    running = with_followers(graph, {*again, *(name for name in steps if name not in done)})
    kept = [one for name, one in steps.items() if name not in running]
    starts = [
        one for name, one in steps.items() if name in running and not any(b in running for b in before[name])
    ]
    joins = [
        JoinLeft(name, one["branch"], sum(b in running for b in before[name]))
        for name, one in steps.items()
        if one["waits_for"] and name in running and any(b in running for b in before[name])
    ]
    return Restart(
        tuple(KeptStep(one["name"], one["branch"], _next_in_chain(steps, one)) for one in kept),
        tuple(name for name in steps if name in running),
        tuple(Start(one["name"], one["branch"], one["lane"]) for one in starts),
        tuple(joins),
        any(one["waits_for"] for one in steps.values()),
    )


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


def _next_in_chain(steps: Mapping[str, Any], one: Mapping[str, Any]) -> str | None:
    """Return what follows on the same task, as its checkpoint names it."""
    if len(one["next"]) != 1:
        return None
    following = steps[one["next"][0]]
    is_same_task = following["branch"] == one["branch"] and not following["waits_for"]
    return following["name"] if is_same_task else None
