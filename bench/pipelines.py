"""The probe pipelines: what the bench lets the engine run.

They do nothing but count, sleep and mark, so that what is measured is the engine. A job's input is
`{"n": number}`; outputs have some 200 bytes, the size of a small real answer.
"""

from __future__ import annotations

import asyncio
import functools
import random
from typing import Any

from bench.marks import Marks
from rkyc import Pipeline, Registry, Step, chain, step

STEPS = 8
NAP_S = 0.5
IO_S = 0.05
TRACE_S = 0.25
# How long a call takes, at random between the two.
CALL_S = (0.01, 0.04)
TEXT = "r" * 180


def build_registry(marks: Marks) -> Registry:
    """Make the pipelines; their bodies write to `marks`."""

    @step
    async def noop(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        marks.hit()
        return {"n": input["n"], "text": TEXT}

    @step
    async def probe(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        marks.mark(input["n"])
        return {"n": input["n"]}

    @step
    async def wait(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"said": await ctx.wait_signal("go")}

    @step
    async def call(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        """Call one after another; two marks for each: when its answer was there, and when it was remembered."""
        first = 2 * input["n"] * input["calls"]
        for cell in range(first, first + 2 * input["calls"], 2):
            await ctx.call("model", functools.partial(_answer, marks, cell))
            marks.mark(cell + 1)
        return {"n": input["n"]}

    return Registry(
        [
            Pipeline("noop", version=1, steps=noop),
            Pipeline("probe", version=1, steps=probe),
            Pipeline("wait", version=1, steps=wait),
            Pipeline("call", version=1, steps=call),
            Pipeline("eight", version=1, steps=chain(*(noop.named(f"s{i}") for i in range(STEPS)))),
            Pipeline("nap", version=1, steps=chain(*(_napper(marks, i, NAP_S) for i in range(STEPS)))),
            Pipeline("io", version=1, steps=chain(*(_napper(marks, i, IO_S) for i in range(STEPS)))),
            Pipeline("trace", version=1, steps=chain(*(_tracer(marks, i) for i in range(STEPS)))),
        ]
    )


async def _answer(marks: Marks, cell: int) -> dict[str, Any]:
    await asyncio.sleep(random.uniform(*CALL_S))
    marks.mark(cell)
    return {"text": TEXT}


def _napper(marks: Marks, number: int, pause_s: float) -> Step:
    @step(name=f"s{number}")
    async def nap(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        marks.hit()
        await asyncio.sleep(pause_s)
        return {"n": input["n"], "text": TEXT}

    return nap


def _tracer(marks: Marks, number: int) -> Step:
    @step(name=f"s{number}")
    async def trace(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        marks.hit()
        marks.mark(input["n"] * STEPS + number)
        await asyncio.sleep(TRACE_S)
        return {"n": input["n"], "text": TEXT}

    return trace
