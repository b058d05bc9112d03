"""Steps under a limit of five for each company, and what their ledger says about how many ran at once.

Each body writes when it begins and when it ends, by the machine's monotonic clock, which all processes share. What a
killed process had begun ended with it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step

SIZE = 5
APP = "tests.support.limited_work:registry"


@dataclass(frozen=True, slots=True)
class Stay:
    """One body's time under the limit, in seconds of the monotonic clock."""

    corp: str
    began: float
    ended: float
    pid: int


def write(path: str, what: str, job: dict[str, Any], attempt: int) -> None:
    line = f"{what} {time.monotonic()!r} {job['corp']} {job['job']} {attempt} {os.getpid()}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@step(limits=[Limit("corp", size=SIZE, key="corp")], retry=RetryPolicy(max_attempts=1))
async def occupy(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    write(job["ledger"], "began", job, ctx.attempt)
    await asyncio.sleep(job["wait"])
    write(job["ledger"], "ended", job, ctx.attempt)
    return {}


registry = Registry([Pipeline("occupying", 1, occupy)])


def read_stays(path: Path, killed_at: dict[int, float]) -> list[Stay]:
    """Return all stays; `killed_at` by process id."""
    began: dict[tuple[str, ...], tuple[float, str]] = {}
    stays = []
    for line in path.read_text().splitlines():
        what, at, corp, *key = line.split()
        if what == "began":
            began[tuple(key)] = float(at), corp
        else:
            stays.append(Stay(corp, began.pop(tuple(key))[0], float(at), int(key[-1])))
    for key, (at, corp) in began.items():
        pid = int(key[-1])
        assert pid in killed_at, f"job {key[0]} ended nowhere, and its process was not killed"
        stays.append(Stay(corp, at, max(at, killed_at[pid]), pid))
    return stays


def count_most(stays: list[Stay]) -> int:
    """Return how many were in at once at most, for any company."""
    most = 0
    for changes in _changes_by_corp(stays).values():
        inside = 0
        for _, change in changes:
            inside += change
            most = max(most, inside)
    return most


def find_gaps(stays: list[Stay], size: int) -> list[tuple[float, float]]:
    """Return when fewer than `size` were in, until the last body began."""
    gaps = []
    for changes in _changes_by_corp(stays).values():
        last_began = max(at for at, change in changes if change > 0)
        inside, since = 0, None
        for at, change in changes:
            inside += change
            if inside >= size and since is not None:
                gaps.append((since, at))
            since = None if inside >= size or at >= last_began else since or at
    return gaps


def _changes_by_corp(stays: list[Stay]) -> dict[str, list[tuple[float, int]]]:
    changes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for stay in stays:
        changes[stay.corp] += [(stay.began, 1), (stay.ended, -1)]
    # Who leaves at the very moment at which another comes made room for it.
    return {corp: sorted(found) for corp, found in changes.items()}
