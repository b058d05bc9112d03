"""What does an idle process cost: statements, processor time, memory?

`rkyc serve` as users start it, with the web app, the built-in pipelines and the default settings, and
nothing to do. The server counts the statements of its database. Without the web app, and with one small
pipeline instead of the built-in ones, it tells what the engine alone needs.
"""

from __future__ import annotations

import asyncio
import json
import time

from bench.harness import Bench, Process, run_case
from bench.machine import cpu_s, rss_mb, server_cpu_s
from bench.measure import Measure, Sample
from bench.small_app import ALONE

# After the start everything looks once; that is not what idle means.
SETTLE_S = 3.0
WINDOW_S, WINDOW_LONG_S = 8.0, 60.0


async def measure(bench: Bench) -> list[Measure]:
    """Return statements per second, percent of one processor, and resident memory."""
    window_s = WINDOW_LONG_S if bench.is_long else WINDOW_S
    async with bench.with_statement_counts() as counting, counting.rkyc_database() as (dsn, _):
        environ = {"RKYC_DATA_DIR": str(bench.folder / "data"), "LOG_LEVEL": "WARNING"}
        serve = ["rkyc", "serve", "--dsn", dsn]
        async with Process.start([*serve, *ALONE], environ=environ) as worker:
            engine_mb = await _settle(worker)
        async with Process.start([*serve, "--port", "0"], environ=environ) as worker:
            memory = await _settle(worker)
            before, began = await counting.count_statements(dsn), time.monotonic()
            shares = [await _watch(worker.pid, counting.postmaster, window_s) for _ in range(bench.runs)]
            count = await counting.count_statements(dsn) - before
            statements = Sample(count / (time.monotonic() - began), {"statements": count})
    return [
        Measure("statements", "/s", [statements], more_is_better=False),
        Measure("processor time of the process", "%", shares, more_is_better=False),
        Measure("resident memory, engine alone", "MB", [engine_mb], more_is_better=False),
        Measure("resident memory, rkyc serve", "MB", [memory], more_is_better=False),
    ]


async def _settle(worker: Process) -> Sample:
    """Wait until it is ready and has looked once at everything; return its resident memory in MB."""
    json.loads(await worker.read_line())
    await asyncio.sleep(SETTLE_S)
    return Sample(rss_mb(worker.pid))


async def _watch(pid: int, postmaster: int | None, window_s: float) -> Sample:
    """Return the percent of one processor that the process takes, with the server's as detail."""
    began, own, server = time.monotonic(), cpu_s(pid), server_cpu_s(postmaster)
    await asyncio.sleep(window_s)
    seconds = time.monotonic() - began
    return Sample(
        (cpu_s(pid) - own) / seconds * 100,
        {"postgres_percent": (server_cpu_s(postmaster) - server) / seconds * 100},
    )


if __name__ == "__main__":
    run_case("idle", measure)
