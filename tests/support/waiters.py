"""Pipelines whose steps wait: for a time, a signal, an event, children. Served by any process (`registry`)."""

from __future__ import annotations

import asyncio
from typing import Any

from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, chord
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from tests.support.probes import gather, tell

ONCE = RetryPolicy(max_attempts=1)


@step(retry=ONCE)
async def begin(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    return {"of": job.get("job")}


@step(retry=ONCE)
async def nap(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Sleep as often and as long as the job says."""
    tell(ctx, job, "began")
    for seconds in job["naps"]:
        await ctx.sleep(seconds)
    tell(ctx, job, "ended")
    return {"attempt": ctx.attempt}


@step(retry=ONCE)
async def approve(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for as many signals `approve` as the job says, one after another."""
    tell(ctx, job, "began")
    options = {name: job[name] for name in ("timeout_s", "default") if name in job}
    said = [await ctx.wait_signal("approve", **options) for _ in range(job.get("signals", 1))]
    tell(ctx, job, "ended")
    return {"said": said, "attempt": ctx.attempt}


@step(retry=ONCE)
async def listen(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for as many events of a topic as the job says."""
    options = {name: job[name] for name in ("timeout_s", "default", "look_back_s") if name in job}
    heard = [
        await ctx.wait_event(job["topic"], job.get("match"), **options) for _ in range(job.get("events", 1))
    ]
    return {"heard": heard}


@step
async def collect(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {name: said["said"] for name, said in input.items()}


@step(retry=ONCE)
async def work(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """What a child does: wait as long as it is told, fail if it is told to."""
    tell(ctx, job, "began")
    await asyncio.sleep(job.get("wait", 0))
    if job.get("fails"):
        raise PermanentException("the child was meant to fail")
    tell(ctx, job, "ended")
    return {"done": job["job"]}


@step(retry=RetryPolicy(max_attempts=3, initial_s=0.0))
async def lead(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Start a child per entry of `children`, in the manner that the job says."""
    tell(ctx, job, "began")
    names = ("on_failure", "on_parent_end", "pipeline")
    options = {name: job[name] for name in names if name in job}
    pipeline = options.pop("pipeline", "working")
    if job["manner"] == "one by one":
        results = [await ctx.spawn(pipeline, child, **options) for child in job["children"]]
    else:
        started = [await ctx.spawn(pipeline, child, wait=False, **options) for child in job["children"]]
        if ctx.attempt <= job.get("failures", 0):
            raise RetryableException("not yet")
        if job["manner"] == "forget":
            return {"started": len(started)}
        if job["manner"] == "fail":
            raise PermanentException("the parent was meant to fail")
        if job["manner"] == "each":
            results = [await child.result() for child in started]
        else:
            results = await ctx.wait_children(*started)
    tell(ctx, job, "ended")
    return {"results": results}


registry = Registry(
    [
        Pipeline("napping", 1, chain(begin, nap)),
        Pipeline("approved", 1, chain(begin, approve)),
        Pipeline("approved_by_two", 1, chord([approve.named("a1"), approve.named("a2")], collect)),
        Pipeline("listening", 1, listen),
        Pipeline("working", 1, chain(begin, work)),
        Pipeline("leading", 1, chain(begin, lead)),
        Pipeline("leading_alone", 1, lead),
        Pipeline("leading_by_two", 1, chord([lead.named("l1"), lead.named("l2")], gather)),
    ]
)
