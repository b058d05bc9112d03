"""Limits in time: of an attempt, of a step, of a job; running, waiting, and stubborn."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import ConflictError, RetryableException
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.queue.dead_letters import Filter
from tests.support.crashes import entries, make_input
from tests.support.engine import announce, query, read_job, serve, tasks_left, wait_status
from tests.support.ledger import count
from tests.support.probes import pause, registry, tell

pytestmark = pytest.mark.anyio
QUICK = RetryPolicy(max_attempts=3, initial_s=0.01, max_s=0.01)


def make_pipeline(**policy: Any) -> Pipeline:
    return Pipeline(
        "timed", 1, chain(pause.with_policy(retry=QUICK, **policy).named("timed"), pause.named("after"))
    )


async def test_an_attempt_over_its_limit_is_cancelled_and_tried_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, make_pipeline(timeouts=Timeouts(start_to_close=0.2))):
        began = time.monotonic()
        job_id = await Client(pool=pool).enqueue("timed", make_input(tmp_path, 1, wait=60))
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"], row["error_attempts"]) == ("failed", "STEP_TIMEOUT", 3)
    assert time.monotonic() - began < 5
    assert [one.what for one in entries(tmp_path)] == ["began"] * 3


async def test_all_attempts_together_end_at_the_total_limit(dsn: str, pool: Pool, tmp_path: Path) -> None:
    pipeline = make_pipeline(timeouts=Timeouts(start_to_close=0.3, total=0.5))
    async with serve(dsn, pipeline):
        job_id = await Client(pool=pool).enqueue("timed", make_input(tmp_path, 1, wait=60))
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED")
    assert "STEP_TIMEOUT" in row["error_details"]
    assert len(entries(tmp_path)) == 2


async def test_the_deadline_ends_a_running_job(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, make_pipeline()):
        job_id = await Client(pool=pool).enqueue("timed", make_input(tmp_path, 1, wait=60), deadline_s=0.4)
        row = await wait_status(pool, job_id, timeout_s=5)
    assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED")


async def test_the_deadline_counts_over_steps(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("chained", make_input(tmp_path, 1, wait=0.2), deadline_s=0.7)
        row = await wait_status(pool, job_id, timeout_s=5)
    assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED")
    assert len(count(entries(tmp_path), "ended")) in (2, 3)


async def test_a_job_that_waited_past_its_deadline_does_not_start(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    pipeline = make_pipeline()
    await announce(pool, pipeline)
    job_id = await Client(pool=pool).enqueue("timed", make_input(tmp_path, 1), deadline_s=0.001)
    async with serve(dsn, pipeline):
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"], row["error_class"]) == (
        "failed",
        "DEADLINE_EXCEEDED",
        "permanent",
    )
    assert entries(tmp_path) == []


async def test_a_job_whose_deadline_has_passed_is_forked_and_not_started_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    pipeline = make_pipeline()
    await announce(pool, pipeline)
    late = await client.enqueue("timed", make_input(tmp_path, "late"), deadline_s=0.001)
    async with serve(dsn, pipeline):
        assert (await wait_status(pool, late))["error_code"] == "DEADLINE_EXCEEDED"
        done = await client.enqueue("timed", make_input(tmp_path, "done"), deadline_s=60)
        assert (await wait_status(pool, done))["status"] == "completed"
        await query(pool, "UPDATE rkyc.job SET deadline_at = now() WHERE uuid = $1", done)
        with pytest.raises(ConflictError, match=r"its deadline of .* has passed: fork it"):
            await client.retry(late)
        for job_id in (late, done):
            with pytest.raises(ConflictError, match=r"its deadline of .* has passed: fork it"):
                await client.retry_from(job_id, "timed")
        assert await client.dead_letters.requeue(Filter(), by="tester") == 0
        assert (await read_job(pool, done))["status"] == "completed"
        advice = (await client.why(late))["remedy"]
        assert f"rkyc jobs fork {late} --from timed" in advice and "retry" not in advice
        fork = await client.fork(late, "timed")
        assert (await wait_status(pool, fork))["status"] == "completed"


async def test_a_job_that_waits_for_a_free_place_ends_at_its_deadline(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, make_pipeline(limits=("one",)), limits={"one": 1}):
        client = Client(pool=pool)
        holder = await client.enqueue("timed", make_input(tmp_path, "holder", waits={"timed": 3}))
        waiter = await client.enqueue("timed", make_input(tmp_path, "waiter"), deadline_s=0.4)
        row = await wait_status(pool, waiter, timeout_s=2)
        assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED")
        await client.cancel(holder)
    assert {one.job for one in entries(tmp_path)} == {"holder"}


async def test_the_limit_of_an_attempt_does_not_count_the_wait_for_a_free_place(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    pipeline = make_pipeline(limits=("one",), timeouts=Timeouts(start_to_close=0.5))
    async with serve(dsn, pipeline, limits={"one": 1}):
        client = Client(pool=pool)
        ids = [await client.enqueue("timed", make_input(tmp_path, number, wait=0.25)) for number in range(4)]
        rows = [await wait_status(pool, one) for one in ids]
    assert {row["status"] for row in rows} == {"completed"}
    assert {one.attempt for one in entries(tmp_path)} == {1}


@pytest.mark.parametrize("state", ["scheduled", "retrying", "no_worker"])
async def test_a_waiting_job_ends_at_its_deadline(dsn: str, pool: Pool, tmp_path: Path, state: str) -> None:
    await announce(pool, Pipeline("strange", 1, pause))
    async with serve(dsn, registry=registry):
        client = Client(pool=pool)
        if state == "scheduled":
            later = datetime.now(UTC) + timedelta(hours=1)
            job_id = await client.enqueue("single", make_input(tmp_path, 1), deadline_s=0.5, run_at=later)
        elif state == "retrying":
            values = make_input(tmp_path, 1, failures=1, retry_after=0.3)
            job_id = await client.enqueue("failing", values, deadline_s=0.25)
        else:
            job_id = await client.enqueue("strange", make_input(tmp_path, 1), deadline_s=0.5)
        row = await wait_status(pool, job_id, timeout_s=5)
    assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED")
    assert await tasks_left(pool) == []


async def test_a_retry_waits_at_least_as_long_as_it_was_asked_to(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry):
        began = time.monotonic()
        job_id = await Client(pool=pool).enqueue(
            "failing", make_input(tmp_path, 1, failures=1, retry_after=0.6)
        )
        row = await wait_status(pool, job_id)
    assert row["status"] == "completed"
    assert 0.6 <= time.monotonic() - began < 2
    (event,) = await query(pool, "SELECT type, attempt, data ->> 'error_code' AS code FROM rkyc.event")
    assert tuple(event) == ("step.retrying", 1, "RETRYABLE")


@step(retry=RetryPolicy(max_attempts=5, initial_s=0.0))
async def always_busy(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "began")
    raise RetryableException("busy")


async def test_attempts_end_at_their_number(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, Pipeline("busy", 1, always_busy)):
        row = await wait_status(pool, await Client(pool=pool).enqueue("busy", make_input(tmp_path, 1)))
    assert (row["status"], row["error_code"], row["error_attempts"]) == ("failed", "RETRYABLE", 5)
    assert [one.attempt for one in entries(tmp_path)] == [1, 2, 3, 4, 5]
    (dead,) = await query(pool, "SELECT queue, reason FROM rkyc.dead_letter")
    assert tuple(dead) == ("dlq.default", "task_failed")


async def test_a_drain_does_not_wait_longer_than_its_grace(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry, grace_s=0.2):
        await Client(pool=pool).enqueue_many("single", [make_input(tmp_path, n, wait=60) for n in range(10)])
        while len(entries(tmp_path)) < 10:
            await asyncio.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert [table for table, _, _ in await tasks_left(pool)] == ["ready"] * 10
    rows = await query(pool, "SELECT error_attempts + crash_attempts AS n FROM rkyc.ready")
    assert {row["n"] for row in rows} == {0}


@step
async def deaf_for_long(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Swallow every cancel for a while."""
    tell(ctx, job, "began")
    until = time.monotonic() + job["deaf"]
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            pass
    return {}


async def test_what_ignores_the_drain_is_given_back_uncharged_all_the_same(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.engine.drain.CANCEL_PATIENCE_S", 0.3)
    async with serve(dsn, Pipeline("deaf", 1, deaf_for_long), grace_s=0.1):
        await Client(pool=pool).enqueue("deaf", make_input(tmp_path, 1, deaf=2.0))
        while not entries(tmp_path):
            await asyncio.sleep(0.01)
    assert [table for table, _, _ in await tasks_left(pool)] == ["ready"]
    (row,) = await query(pool, "SELECT error_attempts, crash_attempts FROM rkyc.ready")
    assert tuple(row) == (0, 0)
