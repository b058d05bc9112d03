"""How soon does a token reach its clients when 5,000 of them listen to one process?

100 jobs run in a plain `rkyc serve`; each emits a chunk a second, at a moment of its own, and 50 clients
listen to each. The time is from before `ctx.emit` to the client's receipt in another process, through the
database and back. None may be lost. With --long also the worst case: all jobs emit at the same moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.harness import Bench, Process, run_case
from bench.machine import cpu_s
from bench.measure import Measure, Sample, measure_in_turn, of_detail
from rkyc.engine.client import Client

JOBS = 100
CLIENTS = 50
CHUNKS = 20
# From the opening of the gate to the first chunk. Seconds.
LEAD_S = 1.0
# For the connecting of all clients, and from the gate to the last stream's end. Seconds.
_PATIENCE_S = 120.0


async def measure(bench: Bench) -> list[Measure]:
    """Return the median and the 99th percentile; fail when a chunk is lost, repeated, or a client is cut."""
    spread = (await measure_in_turn(bench.runs, {"spread": lambda: _fan_out(bench, 1.0)}))["spread"]
    found = _measures("", spread)
    if bench.is_long:
        at_once = (await measure_in_turn(bench.runs, {"at once": lambda: _fan_out(bench, 0.0)}))["at once"]
        found += _measures(", all jobs at once", at_once)
    return found


def _measures(suffix: str, samples: list[Sample]) -> list[Measure]:
    return [
        Measure(f"chunk to client, p50{suffix}", "ms", samples, more_is_better=False),
        Measure(f"chunk to client, p99{suffix}", "ms", of_detail(samples, "p99_ms"), more_is_better=False),
    ]


async def _fan_out(bench: Bench, spread_s: float) -> Sample:
    """Run all jobs once and return p50 (ms), with the rest as details."""
    gate = bench.folder / f"gate-{secrets.token_hex(4)}"
    async with bench.rkyc_database() as (dsn, client), _server(dsn) as (server, url):
        jobs = await _enqueue(client, gate, spread_s)
        place = urlsplit(url)
        command = ["bench.sse_clients", place.hostname, place.port, CLIENTS, *jobs]
        async with Process.start(command) as clients:
            await _expect(clients, "connected")
            used_s = cpu_s(server.pid)
            _open(gate)
            told = json.loads(await _expect(clients))
            told["server_cpu_s"] = cpu_s(server.pid) - used_s
    expected = JOBS * CLIENTS * CHUNKS
    if told["received"] != expected or told["lost"] or told["repeated"] or told["cut"]:
        raise SystemExit(f"of {expected} chunks not all came, once each: {told}")
    names = ("p99_ms", "p999_ms", "max_ms", "received", "connect_s", "server_cpu_s", "clients_cpu_s")
    return Sample(told["p50_ms"], {name: told[name] for name in names})


@contextlib.asynccontextmanager
async def _server(dsn: str) -> AsyncIterator[tuple[Process, str]]:
    """Run `rkyc serve` as users do; yield it and its address."""
    command = ["rkyc", "serve", "--only-app", "--app", "bench.dictation:registry", "--port", 0, "--dsn", dsn]
    async with Process.start(command, environ={"LOG_LEVEL": "WARNING"}) as server:
        ready = json.loads(await server.read_line())
        yield server, ready["url"]


async def _enqueue(client: Client, gate: Path, spread_s: float) -> list[str]:
    inputs: list[dict[str, Any]] = [
        {"gate": str(gate), "phase": random.uniform(0, spread_s), "chunks": CHUNKS} for _ in range(JOBS)
    ]
    return [str(job_id) for job_id in await client.enqueue_many("dictation", inputs)]


def _open(gate: Path) -> None:
    """Let all jobs count from one instant."""
    unfinished = gate.with_suffix(".new")
    unfinished.write_text(str(time.monotonic() + LEAD_S))
    unfinished.rename(gate)


async def _expect(clients: Process, word: str | None = None) -> str:
    """Return the clients' next line; the streams take longer than a start does."""
    assert clients.process.stdout is not None
    async with asyncio.timeout(_PATIENCE_S):
        line = (await clients.process.stdout.readline()).decode().strip()
    if not line or (word is not None and line != word):
        raise SystemExit(f"the clients ended before they were {word or 'through'}: see their error above")
    return line


if __name__ == "__main__":
    run_case("sse_fanout", measure)
