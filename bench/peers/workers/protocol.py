"""What the scripts of the rivals written in Python share: roles, the gate, the bodies, the clocks.

    SCRIPT prepare --url …                            make the schema
    SCRIPT fill --kind … --jobs …                     enqueue a backlog, numbered from 0
    SCRIPT singly|bulk --jobs …                       the same by the clock: {"seconds": …}
    SCRIPT probe --jobs … --marks …                   one job at a time, until it starts: {"waits_ms": […]}
    SCRIPT work --kind … --slots … --marks …          say `ready`, wait for a line on stdin, run until killed

Runs in a rival's environment: imports the standard library and `bench.marks`, nothing else of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from bench.marks import Marks

# The bodies and their results are those of `bench/pipelines.py`, which can't be imported without rkyc.
STEPS = {"noop": 1, "probe": 1, "eight": 8, "nap": 8, "trace": 8}
_PAUSES_S = {"nap": 0.5, "trace": 0.25}
_TEXT = "r" * 180
# Jobs that are enqueued before the clock starts: connections and statements are warm then.
_WARM_UP_JOBS = 200
# Calls in flight where a rival has no bulk call.
_CONCURRENT_SENDS = 32
# Seconds between a start and the next probe.
_PROBE_PAUSE_S = (0.02, 0.05)
_LOOK_S = 0.001
_START_PATIENCE_S = 60.0


class Sender(Protocol):
    """A producer's connection to the rival."""

    async def send(self, n: int) -> None:
        """Enqueue one job with the input {"n": n}; it is durable when this returns."""

    async def send_many(self, numbers: range) -> None:
        """Enqueue many by the best way the rival has."""


class Bodies:
    """What the jobs of one kind do."""

    def __init__(self, kind: str, marks: Marks) -> None:
        self.steps = STEPS[kind]
        self.pause_s = _PAUSES_S.get(kind, 0.0)
        self._marks = marks
        self._has_cells = kind in ("probe", "trace")

    def begin(self, n: int, step: int) -> None:
        """Leave the marks of a step that begins."""
        self._marks.hit()
        if self._has_cells:
            self._marks.mark(n * self.steps + step)

    async def run_step(self, n: int, step: int) -> dict[str, Any]:
        """Run a step of a job and return its result."""
        self.begin(n, step)
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        return {"n": n, "text": _TEXT}

    async def run_job(self, n: int) -> dict[str, Any]:
        """Run all steps of a job, for rivals that know no steps; return the last one's result."""
        for step in range(self.steps - 1):
            await self.run_step(n, step)
        return await self.run_step(n, self.steps - 1)


class Worker:
    """What `work` is told."""

    def __init__(self, options: argparse.Namespace, say: Callable[[str], None]) -> None:
        self.url: str = options.url
        self.kind: str = options.kind
        self.slots: int = options.slots
        self.marks: Path = options.marks
        self.bodies = Bodies(options.kind, Marks(options.marks, process=options.process))
        self._say = say

    def wait_at_gate(self) -> None:
        """Say that all is imported and connected, and wait until the harness opens."""
        self._say("ready")
        sys.stdin.readline()


def run(
    *,
    prepare: Callable[[str], Awaitable[None]],
    connect: Callable[[str], contextlib.AbstractAsyncContextManager[Sender]],
    work: Callable[[Worker], Coroutine[Any, Any, None] | None],
    runner: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run,
) -> None:
    """Be the `main` of a script; `work` is called within `runner`, unless it is a plain function."""
    options = _parse()
    say = _take_stdout()
    if options.role == "work":
        worker = Worker(options, say)
        if asyncio.iscoroutinefunction(work):
            runner(work(worker))
        else:
            work(worker)
        return

    async def answer() -> None:
        found: dict[str, Any] = {}
        if options.role == "prepare":
            await prepare(options.url)
        else:
            async with connect(options.url) as sender:
                found = await _ROLES[options.role](sender, options)
        say(json.dumps(found))

    runner(answer())


async def send_concurrently(sender: Sender, numbers: range) -> None:
    """Enqueue many by single calls side by side, for rivals without a bulk call."""
    remaining = iter(numbers)

    async def send_some() -> None:
        for n in remaining:
            await sender.send(n)

    await asyncio.gather(*(send_some() for _ in range(_CONCURRENT_SENDS)))


async def _fill(sender: Sender, options: argparse.Namespace) -> dict[str, Any]:
    await sender.send_many(range(options.jobs))
    return {}


async def _singly(sender: Sender, options: argparse.Namespace) -> dict[str, Any]:
    for n in range(_WARM_UP_JOBS):
        await sender.send(n)
    began = time.monotonic()
    for n in range(options.jobs):
        await sender.send(n)
    return {"seconds": time.monotonic() - began}


async def _bulk(sender: Sender, options: argparse.Namespace) -> dict[str, Any]:
    await sender.send_many(range(_WARM_UP_JOBS))
    began = time.monotonic()
    await sender.send_many(range(options.jobs))
    return {"seconds": time.monotonic() - began}


async def _probe(sender: Sender, options: argparse.Namespace) -> dict[str, Any]:
    marks = Marks(options.marks)
    waits = []
    for n in range(options.jobs):
        sent_at = time.monotonic()
        await sender.send(n)
        async with asyncio.timeout(_START_PATIENCE_S):
            while not marks.get(n):  # noqa: ASYNC110 -- it is another process that sets it
                await asyncio.sleep(_LOOK_S)
        waits.append((marks.get(n) - sent_at) * 1e3)
        await asyncio.sleep(random.uniform(*_PROBE_PAUSE_S))
    return {"waits_ms": waits}


_ROLES = {"fill": _fill, "singly": _singly, "bulk": _bulk, "probe": _probe}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["prepare", "work", *_ROLES])
    parser.add_argument("--url", required=True)
    parser.add_argument("--kind", choices=sorted(STEPS), default="noop")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--marks", type=Path)
    parser.add_argument("--process", type=int, default=0)
    return parser.parse_args()


def _take_stdout() -> Callable[[str], None]:
    """Keep stdout for the harness: what the rival prints goes to stderr from now on."""
    words = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(word: str) -> None:
        print(word, file=words, flush=True)

    return say
