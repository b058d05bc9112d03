"""Follows one job to its end on the terminal: a bar per step, or a line per move where nobody watches.

It looks at the database, so it sees the same whoever runs the job, and goes on when the database was
away for a while. It shows on stderr; stdout belongs to the command's output.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from rkyc.cli.output import one_line, say
from rkyc.engine.client import Client
from rkyc.errors import DatabaseConnectionError
from rkyc.store.pool import Record
from rkyc.store.queue.overview import list_workers

Row: TypeAlias = Record | Mapping[str, Any]
ENDED = ("completed", "failed", "cancelled")
# A look costs the database a millisecond; the eye sees ten a second.
LOOK_S = 0.1
AWAY_LOOK_S = 1.0
# Looks after which a job that does not start needs an explanation.
_PATIENT_LOOKS = 20


class View(Protocol):
    """Shows the steps of a job each time they were looked at; `job` is its status row."""

    def __enter__(self) -> View: ...
    def __exit__(self, *_: object) -> None: ...
    def update(self, job: Record, steps: list[Record]) -> None: ...


class StepBars:
    """A bar per step, for a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._bars: dict[str, TaskID] = {}
        self._shown: dict[str, str] = {}

    def __enter__(self) -> StepBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, job: Record, steps: list[Record]) -> None:
        for step in fold_items(steps):
            name, status = step["step"], step["status"]
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(name, start=False, total=None, note="")
            note = describe_step(step)
            if self._shown.get(name) == note:
                continue
            self._shown[name] = note
            bar = self._bars[name]
            self._progress.update(bar, note=note)
            if status == "running":
                self._progress.start_task(bar)
            elif status == "completed":
                self._progress.update(bar, total=1, completed=1)
                self._progress.stop_task(bar)


class StepLines:
    """A line when a step starts, ends or is tried again: for logs and pipes."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def __enter__(self) -> StepLines:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, job: Record, steps: list[Record]) -> None:
        for step in fold_items(steps):
            note = describe_step(step)
            if note != self._shown.get(step["step"], "pending"):
                say(f"{step['step']}: {note}")
            self._shown[step["step"]] = note


def choose_view() -> View:
    """Return bars where stderr is a terminal, else lines."""
    return StepBars() if sys.stderr.isatty() else StepLines()


def fold_items(steps: Sequence[Record]) -> list[Row]:
    """Return one row per step: that of a map says how many of its items are done."""
    folded: list[Row] = []
    for name, rows in itertools.groupby(steps, key=lambda step: step["step"]):
        items = list(rows)
        if items[0]["item"] is None:
            folded += items
            continue
        states = [item["status"] for item in items]
        done = states.count("completed") + states.count("skipped")
        ended = [state for state in ("failed", "cancelled") if state in states]
        status = (
            "completed"
            if done == len(items)
            else (ended or ["running" if done or "running" in states else "pending"])[0]
        )
        starts = [item["started_at"] for item in items if item["started_at"] is not None]
        ends = [item["finished_at"] for item in items if item["finished_at"] is not None]
        folded.append(
            {
                **dict(items[0]),
                "step": name,
                "status": status,
                "items": f"{done} of {len(items)} items",
                "degraded": any(item["degraded"] for item in items),
                "attempt": max(item["attempt"] for item in items),
                "error_code": next((item["error_code"] for item in items if item["error_code"]), None),
                "ms": None,
                "started_at": min(starts, default=None),
                "finished_at": max(ends, default=None) if status == "completed" else None,
                "worker": ", ".join(sorted({item["worker"] for item in items if item["worker"]})) or None,
            }
        )
    return folded


def describe_step(step: Row) -> str:
    """Say in a few words where a step is."""
    words = [step["status"]]
    if step["status"] == "completed" and step["ms"] is not None:
        words = [f"{step['ms']} ms"] if step["ms"] < 10_000 else [f"{step['ms'] / 1000:.0f} s"]
        words.insert(0, "completed")
    if "items" in step:
        words.append(step["items"])
    if step["degraded"]:
        words.append("(in part)")
    if step["attempt"] > 1:
        words.append(f"(attempt {step['attempt']})")
    if step["error_code"] and step["status"] != "completed":
        words.append(one_line(step["error_code"]))
    return " ".join(words)


async def follow_job(client: Client, job_id: UUID, view: View) -> Record:
    """Show a job's steps until it has ended and return its last row.

    Raises:
        NotFoundError: no such job.
    """
    is_away = False
    looks = 0
    with view:
        while True:
            try:
                job = await client.get(job_id)
                view.update(job, await client.steps(job_id))
            except DatabaseConnectionError:
                if not is_away:
                    say("the database is away: waiting for it")
                is_away = True
                await asyncio.sleep(AWAY_LOOK_S)
                continue
            is_away = False
            if job["status"] in ENDED:
                return job
            looks += 1
            if looks == _PATIENT_LOOKS and job["status"] == "pending":
                await _explain_wait(client, job)
            await asyncio.sleep(LOOK_S)


async def _explain_wait(client: Client, job: Record) -> None:
    """Say why a job does not start, where a person can do something about it."""
    pool = await client.pool()
    async with pool.connection() as conn:
        workers = await list_workers(conn, limit=1)
    if not workers:
        say("the job waits, and no worker is alive: `rkyc serve` starts one")
    elif job["wait_reason"] in ("no_worker", "version_blocked"):
        say(
            f"the job waits: no worker serves {job['pipeline']}@{job['version']}; "
            "`rkyc serve --app MODULE:REGISTRY` does"
        )
