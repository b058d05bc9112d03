"""Pipelines whose steps can be undone: they tell a ledger what was done, undone, and in which attempt.

A job's input says where it fails (`fails`), which compensator fails (`undo_fails`: attempts, or for good), and how long
each takes (`wait`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, group
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
    ]
)
