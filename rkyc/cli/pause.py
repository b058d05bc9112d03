"""Makes a step wait before its first attempt, so that somebody can be killed inside it (`make demo`)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from rkyc.errors import ConfigError
from rkyc.flow.context import StepContext
from rkyc.flow.pipeline import Registry
from rkyc.flow.step import Step


def pause_in(registry: Registry, given: str) -> Registry:
    """Return the registry with one step, `STEP:SECONDS`, that pauses in its first attempt.

    Raises:
        ConfigError: another form, or no such step.
    """
    name, _, seconds = given.partition(":")
    if not seconds.isdecimal():
        raise ConfigError(f"--pause-in {given}: expected STEP:SECONDS, such as signal:60")
    if not any(name in pipeline.graph.places for pipeline in registry):
        raise ConfigError(f"--pause-in {given}: no pipeline has a step {name}")
    return registry.map_steps(lambda step: _pausing(step, int(seconds)) if step.name == name else step)


def _pausing(step: Step, seconds: int) -> Step:
    async def run(ctx: StepContext, **arguments: Any) -> Any:
        if ctx.attempt == 1:
            await asyncio.sleep(seconds)
        return await step.fn(ctx, **arguments)

    return replace(step, fn=run)
