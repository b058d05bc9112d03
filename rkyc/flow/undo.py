"""Compensation: what completed steps did is undone in reverse order, when their job fails for good.

Each compensator is a place of its own, `undo:STEP`, with its own retries and its own checkpoint, so that
a crash goes on where it was. `undo:begin` is the checkpoint that says why and what; `undo:end` ends the job with
the error that it began with. What is undone does not count any more: a retry by a person does it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from typing import Any

from rkyc.errors import PermanentException
from rkyc.flow import payload
from rkyc.flow.graph import Graph, Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Completed, Fail, Undo
from rkyc.flow.restart import plan_restart
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import Step, Wanted, step

PREFIX = "undo:"
BEGIN = PREFIX + "begin"
END = PREFIX + "end"
FAILED_REASON = "compensation_failed"


class Undone(PermanentException):
    """Everything is undone: the job ends with its own error. Raised by `undo:end` alone."""

    def __init__(self, told: Mapping[str, Any], graph: Graph) -> None:
        super().__init__(told["error_message"])
        self.told = told
        self.graph = graph


def add_undo(graph: Graph) -> None:
    """Give a compiled graph the places of its compensators, last step first."""
    undone = [place for place in reversed(graph.places.values()) if place.step.compensate is not None]
    if not undone:
        return
    names = [PREFIX + place.name for place in undone] + [END]
    for place, name, following in zip(undone, names, names[1:], strict=False):
        graph.undo[name] = Place(
            _undoing(place.step, name),
            place.branch,
            next=following,
            slots=((place.name,),),
            is_forked=graph.is_forked,
        )
    graph.undo[END] = Place(_ending(graph), 0, slots=((BEGIN,),), is_forked=graph.is_forked)


def _undoing(done: Step, name: str) -> Step:
    compensator = done.compensate
    assert compensator is not None

    async def run(ctx: Any, **known: Any) -> None:
        order = known[BEGIN]["steps"]
        if done.name in order:
            await compensator.fn(ctx, known["input"])
            ctx.metadata(compensated=order[: order.index(done.name) + 1])

    return dataclasses.replace(
        compensator, name=name, fn=run, wanted=(Wanted("input", None), Wanted(BEGIN, None)), save=None
    )


def _ending(graph: Graph) -> Step:
    async def run(ctx: Any, **known: Any) -> None:
        raise Undone(known[BEGIN], graph)

    plain = step(retry=RetryPolicy(max_attempts=1), name="undo_end")(_nothing)
    return dataclasses.replace(plain, name=END, fn=run, wanted=(Wanted(BEGIN, None),))


async def _nothing(ctx: Any) -> None:
    return None


def decide_undo(graph: Graph, fail: Fail, *, now: float) -> Undo | Fail:
    """Return how a failure for good is dealt with; `now` in seconds since the epoch."""
    if not graph.undo or fail.claim.step.startswith(PREFIX) or fail.claim.events == 0:
        return fail
    told = {
        name: getattr(fail, name)
        for name in (
            "step",
            "attempt",
            "reason",
            "error_code",
            "error_class",
            "error_message",
            "error_details",
        )
    }
    first = next(iter(graph.undo))
    order = tuple(place.before[0] for name, place in graph.undo.items() if name != END)
    return Undo(
        fail.claim, Completed(BEGIN, fail.attempt, payload.encode(told), now), first, order, graph.is_forked
    )


def begin_undo(undo: Undo, completed: Set[str]) -> str:
    """Return the output of `undo:begin`, now that it is known what was completed."""
    told = payload.decode(undo.done.output)
    told["steps"] = [name for name in undo.order if name in completed]
    told["done"] = sorted(completed)
    return payload.encode(told)


def end_undo(claim: Claim, undone: Undone) -> Fail:
    """Return the failure that the compensation began with, and where a retry would go on."""
    told = undone.told
    done = {name for name in told["done"] if name in undone.graph.places}
    return Fail(
        claim=claim,
        step=told["step"],
        attempt=told["attempt"],
        reason=told["reason"],
        error_code=told["error_code"],
        error_class=told["error_class"],
        error_message=told["error_message"],
        error_details=told["error_details"],
        error_attempts=claim.error_attempts,
        undone=tuple(told["steps"]),
        restart=plan_restart(undone.graph.describe(), done, told["steps"]) if told["steps"] else None,
    )
