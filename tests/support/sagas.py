"""Pipelines whose steps can be undone: they tell a ledger what was done, undone, and in which attempt.

A job's input says where it fails (`fails`), which compensator fails (`undo_fails`: attempts, or for good), and how long
each takes (`wait`); what the step `stay` does (`stay`), and of which elements the items of a map are made (`elements`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, group, map_over
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from tests.support.probes import QUICK, tell


@step(name="undo_any", retry=QUICK)
async def undo(ctx: Any, input: dict[str, Any]) -> None:
    """Undo what a step says that it did."""
    job = input["job"]

    async def refund() -> dict[str, Any]:
        tell(ctx, job, "refunded")
        return {}

    tell(ctx, job, "undoing")
    await ctx.call("refund", refund)
    await asyncio.sleep(job.get("wait", 0))
    failures = job.get("undo_fails", {}).get(ctx.step.removeprefix("undo:"), 0)
    if failures == "always":
        raise PermanentException("can't be undone")
    if ctx.attempt <= failures:
        raise RetryableException("not yet")
    tell(ctx, job, "undone")


@step(retry=RetryPolicy(max_attempts=1), compensate=undo)
async def act(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "began")
    await asyncio.sleep(job.get("waits", {}).get(ctx.step, 0))
    if ctx.step in job.get("fails", ()):
        raise PermanentException("meant to fail")
    tell(ctx, job, "acted")
    return {"job": job, "step": ctx.step}


plain = act.with_policy(compensate=None)


@step(retry=RetryPolicy(max_attempts=3, initial_s=3600.0, max_s=3600.0, jitter=False))
async def stay(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Not come to an end, in the manner that the job says."""
    tell(ctx, job, "began")
    match job.get("stay", "run"):
        case "run":
            await asyncio.sleep(60)
        case "sleep":
            await ctx.sleep(3600)
        case "signal":
            await ctx.wait_signal("go")
        case "retry_backoff":
            raise RetryableException("not yet")
        case _:
            pass
    return {}


@step
async def list_elements(ctx: Any, job: dict[str, Any]) -> list[Any]:
    return list(job["elements"])


@step(name="release_item", retry=QUICK)
async def release(ctx: Any, output: dict[str, Any]) -> None:
    """Undo what one item says that it did."""
    job, index = output["job"], ctx.item.index

    async def refund() -> dict[str, Any]:
        tell(ctx, job, f"refunded-{index}")
        return {}

    await ctx.call("refund", refund)
    if ctx.attempt <= job.get("undo_fails", {}).get(output["element"], 0):
        raise RetryableException("not yet")
    tell(ctx, job, f"undone-{index}-{output['element']}")


@step(retry=RetryPolicy(max_attempts=1), compensate=release)
async def reserve(ctx: Any, input: str, job: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(job.get("waits", {}).get(input, 0))
    if input in job.get("fails", ()):
        raise PermanentException("meant to fail")
    tell(ctx, job, f"reserved-{ctx.item.index}")
    return {"job": job, "element": input}


registry = Registry(
    [
        Pipeline(
            "booking",
            1,
            chain(
                act.named("flight"),
                plain.named("note"),
                act.named("hotel"),
                act.named("car"),
                act.named("mail"),
            ),
        ),
        Pipeline(
            "tour",
            1,
            chain(act.named("start"), group(act.named("left"), act.named("right")), plain.named("finish")),
        ),
        Pipeline("trip", 1, chain(act.named("flight"), act.named("hotel"), stay, act.named("mail"))),
        Pipeline("walk", 1, chain(plain.named("flight"), stay)),
        Pipeline(
            "fleet", 1, chain(act.named("start"), list_elements, map_over(reserve), stay, act.named("mail"))
        ),
    ]
)
