"""Probe pipelines: steps that wait, call, save, fork, fail or kill their process, and tell a ledger.

`registry` can be served by any process (`--app tests.support.probes:registry`). A job's input says
what its steps do: `ledger` (a path) and `job` (a name) are always there; the rest is read by name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, chord, group
from rkyc.flow.lane import LanePolicy
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step
from tests.support.ledger import record

QUICK = RetryPolicy(max_attempts=3, initial_s=0.01, max_s=0.02)


def tell(ctx: Any, job: dict[str, Any], what: str) -> None:
    """Write an event of this attempt."""
    record(job["ledger"], what, ctx.step, str(job["job"]), ctx.attempt)


async def _pause(ctx: Any, job: dict[str, Any]) -> None:
    """Tell, wait as long as the job says for this step, tell again."""
    tell(ctx, job, "began")
    waits = job.get("waits", {})
    await asyncio.sleep(waits.get(ctx.step, job.get("wait", 0)))
    tell(ctx, job, "ended")


@step(retry=QUICK)
async def pause(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    await _pause(ctx, job)
    return {"step": ctx.step, "job": job["job"]}


@step(retry=QUICK)
async def call_and_pause(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Make a journalled call, then wait: a second attempt must not make the call again."""

    async def ask() -> dict[str, Any]:
        tell(ctx, job, "asked")
        return {"answer": f"{job['job']}", "usage": {"tokens_in": 3, "tokens_out": 4, "cost_usd": 0.01}}

    answer = await ctx.call("ask", ask)
    await _pause(ctx, job)
    return {"answer": answer["answer"]}


@step(retry=QUICK)
async def die(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Kill the whole process when the job is named so."""
    tell(ctx, job, "began")
    await asyncio.sleep(job.get("wait", 0))
    if job.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    tell(ctx, job, "ended")
    return {}


@step(retry=QUICK)
async def block(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Stop the whole loop for as long as the job says."""
    tell(ctx, job, "began")
    time.sleep(job.get("block", 0))
    tell(ctx, job, "ended")
    return {}


async def save_row(conn: Any, output: dict[str, Any]) -> None:
    """Insert the output's row; sleep or break as it says."""
    await conn.execute("INSERT INTO public.saved (job, step) VALUES ($1, $2)", output["job"], output["step"])
    manner = output.get("manner")
    if manner == "break":
        await conn.execute("INSERT INTO public.saved (job, step) VALUES (NULL, NULL)")
    elif manner == "pg_sleep":
        await conn.execute("SELECT pg_sleep(30)")
    elif manner == "python_sleep":
        await asyncio.sleep(30)
    elif manner == "many_statements":
        while True:
            await conn.execute("SELECT pg_sleep(0.01)")
    elif manner == "block":
        time.sleep(output["seconds"])
        await conn.execute("SELECT 1")
    elif manner == "raise":
        raise PermanentException("save said no")


@step(retry=RetryPolicy(max_attempts=2, initial_s=0.01, max_s=0.02), save=save_row)
async def keep(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "began")
    return {
        "job": str(job["job"]),
        "step": ctx.step,
        "manner": job.get("manner"),
        "seconds": job.get("seconds", 0),
    }


@step(retry=QUICK)
async def fail(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Fail for good, or for as many attempts as the job says."""
    tell(ctx, job, "began")
    await asyncio.sleep(job.get("wait", 0))
    if job.get("permanent"):
        raise PermanentException("meant to fail")
    if ctx.attempt <= job.get("failures", 0):
        raise RetryableException(
            "not yet", {"retry_after": job["retry_after"]} if "retry_after" in job else None
        )
    tell(ctx, job, "ended")
    return {"attempt": ctx.attempt}


@step
async def gather(ctx: Any, input: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "joined")
    return {"inputs": sorted(input)}


@step(retry=RetryPolicy(max_attempts=1))
async def revive(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Fail until the test says that the other side is well again."""
    tell(ctx, job, "began")
    if not os.path.exists(job["ledger"] + ".heal"):
        raise RetryableException("not well yet")
    tell(ctx, job, "ended")
    return {}


CHAIN_STEPS = [f"s{number}" for number in range(1, 9)]
LONG_STEPS = [f"l{number:02}" for number in range(1, 61)]
MEMBERS = [f"m{number}" for number in range(1, 6)]

registry = Registry(
    [
        Pipeline("chained", 1, chain(*(pause.named(name) for name in CHAIN_STEPS))),
        Pipeline("single", 1, pause.named("only")),
        Pipeline("calling", 1, chain(pause.named("before"), call_and_pause, pause.named("after"))),
        Pipeline("dying", 1, chain(pause.named("healthy"), die, pause.named("after"))),
        Pipeline("blocking", 1, chain(block, pause.named("after"))),
        Pipeline("keeping", 1, chain(pause.named("before"), keep, pause.named("after"))),
        Pipeline("keeping_last", 1, keep.named("kept_last")),
        Pipeline("failing", 1, chain(pause.named("before"), fail, pause.named("after"))),
        Pipeline("forked", 1, chord([pause.named(name) for name in MEMBERS], gather)),
        Pipeline(
            "nested",
            1,
            chain(
                pause.named("start"),
                group(
                    chain(pause.named("a1"), group(pause.named("a2"), pause.named("a3")), gather.named("a4")),
                    chain(pause.named("b1"), keep.named("b2")),
                    fail.named("c1"),
                ),
                gather.named("last"),
            ),
        ),
        Pipeline("long", 1, chain(*(die.named(name) for name in LONG_STEPS))),
        Pipeline(
            "limited",
            1,
            chain(
                pause.with_policy(timeouts=Timeouts(start_to_close=0.3)).named("short"), pause.named("after")
            ),
        ),
    ]
)

reviving = Registry(
    [Pipeline("reviving", 1, revive)],
    [LanePolicy("default", redrive_every_s=0.2, redrive_at_most=20, redrive_times=1000)],
)
