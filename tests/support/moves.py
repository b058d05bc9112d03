"""Moves of tasks by the store's own functions, without a worker: for tests of single statements."""

from __future__ import annotations

import datetime as dt
import os
import time
from dataclasses import replace
from typing import Any

from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Advance, Arrive, Completed, Fail, Finish, Fork, Member, Retry, Wait
from rkyc.store.pool import Connection
from rkyc.store.queue import jobs, tasks, workers
from rkyc.store.queue.jobs import NewJobs
from rkyc.store.queue.journal import Answer

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
TABLES = (
    "job",
    "ready",
    "running",
    "scheduled",
    "waiting",
    "checkpoint",
    "event",
    "history",
    "dead_letter",
    "branching",
    "join_point",
    "journal",
)


async def add_worker(conn: Connection, name: str = "tester") -> int:
    return await workers.register_worker(
        conn, name=name, host="here", pid=1, version="0", lanes=["default"], slots=1, for_suspects=False
    )


async def add_job(conn: Connection, pipeline: str, input: str = "{}", **options: Any) -> int:
    """Enqueue one job and return its number."""
    uuid = make_uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES))
    _, count = await jobs.enqueue_jobs(conn, NewJobs(pipeline, **options), [uuid], [input])
    assert count == 1
    row = await jobs.find_job(conn, uuid)
    assert row is not None
    return int(row["id"])


async def claim(
    conn: Connection, worker_id: int, *, slots: int = 1, lane: str = "default", after: int = 0
) -> list[Claim]:
    answer = await tasks.claim_tasks(conn, lane=lane, after=after, slots=slots, worker_id=worker_id, now=NOW)
    return answer.claims


def stale(held: Claim) -> Claim:
    """The same task under an older lease."""
    return replace(held, fence=held.fence - 1)


def done(step: str, **changes: Any) -> Completed:
    return Completed(step=step, attempt=1, output='{"x":1}', started_at=NOW.timestamp())._replace(**changes)


def advance(held: Claim, next_step: str = "s2", **changes: Any) -> Advance:
    return Advance(held, done(held.step, **changes), next_step)


def finish(held: Claim, **changes: Any) -> Finish:
    return Finish(held, done(held.step, **changes))


def retry(held: Claim) -> Retry:
    return Retry(held, held.step, NOW, "retry_backoff", 1, 1, "RETRYABLE", "busy")


def park(held: Claim, kind: str = "no_worker", **changes: Any) -> Wait:
    return Wait(held, held.step, kind, changes.pop("wake_key", held.wake_key), **changes)


def fail(held: Claim) -> Fail:
    return Fail(held, held.step, 1, "task_failed", "PERMANENT", "permanent", "no", None, 1)


def fork(held: Claim) -> Fork:
    members = (Member(1, "m1", None), Member(2, "m2", None))
    return Fork(held, done(held.step), members, "gather", 0, "default")


def arrive(held: Claim) -> Arrive:
    return Arrive(held, done(held.step), "gather", "default")


def answer(held: Claim, name: str = "ask", text: str = '"said"') -> Answer:
    return Answer(held, held.step, name, text, "p", "m", 1, 2, 0.5, 3)


async def dump(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables of the engine: two equal dumps mean that nothing was written."""
    return {
        table: sorted((tuple(row) for row in await conn.fetch(f"SELECT * FROM rkyc.{table}")), key=repr)
        for table in TABLES
    }
