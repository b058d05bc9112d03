"""Pipelines whose steps wait: for a time, a signal, an event, children. Served by any process (`registry`)."""

from __future__ import annotations

from typing import Any

from rkyc.flow.graph import chain, chord
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from tests.support.probes import tell

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


registry = Registry(
    [
        Pipeline("napping", 1, chain(begin, nap)),
        Pipeline("approved", 1, chain(begin, approve)),
        Pipeline("approved_by_two", 1, chord([approve.named("a1"), approve.named("a2")], collect)),
        Pipeline("listening", 1, listen),
    ]
)
