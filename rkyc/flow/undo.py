"""Compensation: what completed steps did is undone in reverse order, before their job ends failed or cancelled.

Each compensator is a place of its own, `undo:STEP`, with its own retries and its own checkpoint, so that a crash
goes on where it was; what the items of a map did is undone side by side, each by `undo:STEP:item`. `undo:begin` is
the checkpoint that says why and what; `undo:end` ends the job as it was to end when that began. What is undone does
not count any more: a retry by a person does it again. How a job comes here is in engine/endings.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rkyc.errors import DefinitionError, PermanentException
from rkyc.flow import payload
from rkyc.flow.graph import MAP_ITEMS_MAX, Each, Graph, Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import EndUndone, Fail, Undo
from rkyc.flow.restart import plan_restart
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import Step, Wanted, step

PREFIX = "undo:"
BEGIN = PREFIX + "begin"
END = PREFIX + "end"
# Behind the name of the place that undoes a step of a map's body: that of each item.
ITEM = ":item"
FAILED_REASON = "compensation_failed"


class Undone(PermanentException):
    """Everything is undone: the job ends as `undo:begin` says. Raised by `undo:end` alone."""

    def __init__(self, told: Mapping[str, Any], graph: Graph) -> None:
        super().__init__(told["error_message"] or "undone")
        self.told = told
        self.graph = graph


def add_undo(graph: Graph) -> None:
    """Give a compiled graph the places of its compensators, last step first.

    Raises:
        DefinitionError: a step of a name that can't be undone.
    """
    undone = [place for place in reversed(graph.places.values()) if place.step.compensate is not None]
    if not undone:
        return
    names = [PREFIX + place.name for place in undone] + [END]
    for place, name, following in zip(undone, names, names[1:], strict=False):
        if name in (BEGIN, END):
            raise DefinitionError(
                f"step {place.name} has a compensator: give it another name than {place.name}"
            )
        if place.map:
            _add_items(graph, place, name, following)
            continue
        graph.undo[name] = Place(
            _undoing(place.step, name), 0, next=following, slots=((place.name,),), is_forked=graph.is_forked
        )
    graph.undo[END] = Place(_ending(graph), 0, slots=((BEGIN,),), is_forked=graph.is_forked)


def _add_items(graph: Graph, place: Place, name: str, following: str) -> None:
    """Add what undoes a step of a map's body: a place that starts an item for each that completed it, and theirs."""
    of_item = name + ITEM
    graph.undo[name] = Place(
        _listing(place.step, name),
        0,
        each=Each(of_item, place.map, at_once=MAP_ITEMS_MAX, over=None, key=None),
        meets=following,
        slots=((place.name,),),
        is_forked=True,
    )
    graph.undo[of_item] = Place(
        _undoing_item(place.step, of_item), 0, join=following, slots=((place.name,),), is_forked=True
    )


def _undoing(done: Step, name: str) -> Step:
    compensator = done.compensate
    assert compensator is not None

    async def run(ctx: Any, **known: Any) -> None:
        order = known[BEGIN]["steps"]
        if done.name in order:
            await _compensate(compensator, ctx, known["input"])
            ctx.metadata(compensated=order[: order.index(done.name) + 1])

    return _as_undo(compensator, name, run, "input", BEGIN)


def _listing(done: Step, name: str) -> Step:
    async def run(ctx: Any, **known: Any) -> list[int]:
        """Return the branches of the items; the decision that follows starts a task on each."""
        branches: list[int] = known[BEGIN].get("items", {}).get(done.name, [])
        return branches

    plain = step(name="undo_items")(_nothing)
    return dataclasses.replace(plain, name=name, fn=run, wanted=(Wanted(BEGIN, None),))


def _undoing_item(done: Step, name: str) -> Step:
    compensator = done.compensate
    assert compensator is not None

    async def run(ctx: Any, **known: Any) -> None:
        await _compensate(compensator, ctx, known["input"])

    return _as_undo(compensator, name, run, "input")


def _as_undo(compensator: Step, name: str, run: Any, *wanted: str) -> Step:
    return dataclasses.replace(
        compensator,
        name=name,
        fn=run,
        wanted=tuple(Wanted(one, None) for one in wanted),
        output=Wanted("return", None),
        save=None,
    )


async def _compensate(compensator: Step, ctx: Any, output: Any) -> None:
    """Call a compensator, whatever its parameter is called."""
    arguments = compensator.read_arguments({want.name: output for want in compensator.wanted})
    await compensator.fn(ctx, **arguments)


def _ending(graph: Graph) -> Step:
    async def run(ctx: Any, **known: Any) -> None:
        raise Undone(known[BEGIN], graph)

    plain = step(retry=RetryPolicy(max_attempts=1), name="undo_end")(_nothing)
    return dataclasses.replace(plain, name=END, fn=run, wanted=(Wanted(BEGIN, None),))


async def _nothing(ctx: Any) -> None:
    return None


def decide_undo(graph: Graph, fail: Fail) -> Undo | Fail:
    """Return how a failure for good is dealt with."""
    if not graph.undo or fail.claim.step.startswith(PREFIX) or fail.claim.events == 0:
        return fail
    return Undo(fail.claim, fail, payload.encode(graph.describe_undo()))


def end_undo(claim: Claim, undone: Undone) -> EndUndone:
    """Return the end that the compensation began with, and where a retry would go on."""
    told, graph = undone.told, undone.graph
    done = {name for name in told["done"] if name in graph.places}
    steps = [name for name in told["steps"] if name in graph.places]
    return EndUndone(
        claim=claim,
        # What an older program began says less.
        state=told.get("state", "failed"),
        step=told["step"],
        attempt=told["attempt"],
        lane=told.get("lane") or claim.lane,
        reason=told["reason"],
        error_code=told["error_code"],
        error_class=told["error_class"],
        error_message=told["error_message"],
        error_details=told["error_details"],
        error_attempts=told.get("error_attempts", 0),
        crash_attempts=told.get("crash_attempts", 0),
        undone=tuple(steps),
        restart=plan_restart(graph.describe(), done, steps) if steps else None,
    )
