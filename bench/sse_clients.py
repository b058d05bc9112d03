"""Thousands of clients of token streams in one process: `python -m bench.sse_clients HOST PORT CLIENTS JOB…`.

Each is a bare protocol that looks for the numbers and times in what it gets, so that the clients' side limits
as little as can be. Says `connected` when every client has its first bytes, and at the end of all streams one
line of JSON: chunks received, lost and repeated, and the latencies' quantiles in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import time
from array import array
from typing import cast

import uvloop

from bench.measure import pick_quantile

# Connections at once: the listening socket's queue is bounded.
_AT_ONCE = 100
_CHUNK = re.compile(rb'"seq":(\d+),"text":"([0-9.;]+)"')
_END = b"event: stream.completed"


class Count:
    """What all clients of the process have seen."""

    def __init__(self, clients: int) -> None:
        self.left = clients
        self.all_over = asyncio.Event()
        self.latencies_ms = array("d")
        self.lost = self.repeated = self.cut = 0

    def over(self) -> None:
        self.left -= 1
        if not self.left:
            self.all_over.set()


class SseClient(asyncio.Protocol):
    """One client; `started` is set with its first bytes."""

    def __init__(self, count: Count, request: bytes) -> None:
        self.started = asyncio.Event()
        self._count = count
        self._request = request
        self._rest = b""
        self._next = 0
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        count = self._count
        self.started.set()
        data = self._rest + data
        done = 0
        for match in _CHUNK.finditer(data):
            number = int(match[1])
            count.lost += max(0, number - self._next)
            count.repeated += number < self._next
            self._next = number + 1
            for text in match[2].split(b";")[:-1]:
                count.latencies_ms.append((now - float(text)) * 1e3)
            done = match.end()
        if _END in data[done:]:
            self._has_ended = True
            self._transport.close()
        # An event may be cut in two.
        self._rest = data[max(done, len(data) - 200) :]

    def connection_lost(self, exc: Exception | None) -> None:
        self._count.cut += not self._has_ended
        self.started.set()
        self._count.over()


async def run(options: argparse.Namespace) -> None:
    """Connect all, wait for the end of all streams, tell."""
    loop = asyncio.get_running_loop()
    number = options.clients * len(options.jobs)
    count = Count(number)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def connect(job: str) -> None:
        request = f"GET /api/v1/jobs/{job}/stream HTTP/1.1\r\nHost: {options.host}\r\n\r\n".encode()
        async with turns:
            _, client = await loop.create_connection(
                lambda: SseClient(count, request), options.host, options.port
            )
            await client.started.wait()

    began = time.monotonic()
    await asyncio.gather(*(connect(job) for job in options.jobs for _ in range(options.clients)))
    connect_s = time.monotonic() - began
    print("connected", flush=True)
    await count.all_over.wait()
    latencies = sorted(count.latencies_ms)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    quantiles = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    told = {name: pick_quantile(latencies, quantile) for name, quantile in quantiles.items()}
    told |= {"received": len(latencies), "lost": count.lost, "repeated": count.repeated, "cut": count.cut}
    told |= {"connect_s": connect_s, "clients_cpu_s": usage.ru_utime + usage.ru_stime}
    print(json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("clients", type=int, help="for each job")
    parser.add_argument("jobs", nargs="+")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
