"""The job of the public benchmark as a pipeline of one step, and what a replica counts while it works.

A job says who enqueued it and when; its step waits `JOB_WORK_MS` and is done. Times are of the wall
clock, since the one who enqueues and the one who runs may be two processes. An end is counted where
the other adapters count it: when the body is done, a moment before its commit.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.public.contract import Orders
from bench.public.latency import LatencyWindow
from bench.public.ledger import Ledger
from rkyc import Pipeline, Registry, step

PIPELINE = "bench_job"
# What chaos.py enqueues: a job that takes long.
PIPELINE_CHAOS = "chaos_job"


class Tally:
    """Counts since the start, the latencies of the last seconds, and the depth last seen."""

    def __init__(self, orders: Orders) -> None:
        self.enqueued = 0
        self.begun = 0
        self.ended = 0
        self.refused = 0
        self.producer = LatencyWindow(orders.window_s)
        self.producer_call = LatencyWindow(orders.window_s)
        self.claim = LatencyWindow(orders.window_s)
        self.end_to_end = LatencyWindow(orders.window_s)
        self.depths: dict[str, int] = {}
        # Of this replica, when the depth was seen: enqueued and not begun.
        self._owed_then = 0

    def note_depths(self, depths: dict[str, int]) -> None:
        """Take what the database says: tasks by what they wait for, and `running`."""
        self.depths = depths
        self._owed_then = self.enqueued - self.begun

    def estimate_depth(self) -> int:
        """Return the jobs that wait now: those last seen, and what this replica did since."""
        return max(0, self.depths.get("queued", 0) + self.enqueued - self.begun - self._owed_then)


def build_registry(orders: Orders, tally: Tally, ledger: Ledger | None) -> Registry:
    """Make the pipelines; their step writes to the tally, and to the ledger if there is one."""

    @step(name="work")
    async def work(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        at_ms = input.get("enqueued_at_ms")
        start_ms = time.time() * 1000 - at_ms if at_ms is not None else 0.0
        tally.begun += 1
        if orders.work_ms > 0:
            await asyncio.sleep(orders.work_ms / 1000)
        tally.ended += 1
        if at_ms is not None:
            end_ms = time.time() * 1000 - at_ms
            tally.claim.add(start_ms)
            tally.end_to_end.add(end_ms)
            if ledger is not None:
                ledger.end(input["producer"], input["number"], start_ms=start_ms, end_ms=end_ms)
        return {"number": input.get("number")}

    return Registry([Pipeline(name, version=1, steps=work) for name in (PIPELINE, PIPELINE_CHAOS)])
