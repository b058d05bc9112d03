"""Probe pipelines of many items and members, for processes that are killed: `--app tests.support.map_probes:registry`.

A job's input says how many `items` its list has and how long each takes; all tell a ledger.
"""

from __future__ import annotations

import asyncio
from typing import Any

from rkyc.flow.graph import chain, chord, map_over
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from tests.support.probes import QUICK, tell

MEMBERS = 200


@step(retry=QUICK)
async def listed(ctx: Any, job: dict[str, Any]) -> list[int]:
    return list(range(job["items"]))


@step(retry=QUICK)
async def item(ctx: Any, input: int, job: dict[str, Any]) -> int:
    tell(ctx, job, f"began-{input}")
    await asyncio.sleep(job.get("wait", 0))
    tell(ctx, job, "ended")
    return input


@step(retry=QUICK)
async def checked(ctx: Any, input: int) -> list[int]:
    return [ctx.item.index, input]


@step(retry=QUICK)
async def member(ctx: Any, job: dict[str, Any]) -> int:
    await asyncio.sleep(job.get("wait", 0))
    tell(ctx, job, "ended")
    return int(ctx.step[1:])


async def save_once(conn: Any, output: Any) -> None:
    await conn.execute("INSERT INTO public.saved (job, step) VALUES ('collected', 'collected')")


@step(retry=QUICK, save=save_once)
async def collected(ctx: Any, input: Any, job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "collected")
    return {"results": input}


def make_chord(members: int) -> Pipeline:
    return Pipeline(
        f"chord_of_{members}", 1, chord([member.named(f"m{number}") for number in range(members)], collected)
    )


MAPPED = Pipeline("mapped", 1, chain(listed, map_over(chain(item, checked), at_once=50), collected))
registry = Registry([MAPPED, make_chord(MEMBERS), make_chord(1000)])
