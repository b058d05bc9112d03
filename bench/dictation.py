"""The pipeline of `sse_fanout`: a job dictates the time, once a second, as tokens.

A job's input is `{"gate": PATH, "phase": SECONDS, "chunks": NUMBER}`. It begins when the file is there: that
holds the instant (CLOCK_MONOTONIC, which all processes of a machine share) from which all jobs count.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from rkyc import Pipeline, Registry, step

_LOOK_S = 0.05


@step
async def dictate(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    gate = Path(input["gate"])
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 -- it is another process that makes it
        await asyncio.sleep(_LOOK_S)
    start = float(gate.read_text()) + input["phase"]  # noqa: ASYNC240 -- a few bytes
    for number in range(input["chunks"]):
        await asyncio.sleep(start + number - time.monotonic())
        await ctx.emit(f"{time.monotonic():.6f};")
    return {"chunks": input["chunks"]}


registry = Registry([Pipeline("dictation", version=1, steps=dictate)])
