"""Pause and resume of jobs, lanes, pipelines and tenants."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from rkyc.engine.client import Client
from rkyc.engine.pausing import keep_resumed
from rkyc.engine.worker import Worker
from rkyc.errors import InvalidInputError, NotFoundError
from rkyc.store.pool import Pool
from tests.support.crashes import checkpoints_by_step, entries, make_input, wait_entries
from tests.support.engine import announce, query, read_job, serve, wait_all_ended, wait_for, wait_status
from tests.support.probes import CHAIN_STEPS, registry

pytestmark = pytest.mark.anyio


async def waits_as(pool: Pool, job_id: UUID, reason: str) -> Any:
    async def look() -> Any:
        row = await read_job(pool, job_id)
        return row if row["wait_reason"] == reason else None

    return await wait_for(look, what=f"job {job_id} waits as {reason}")


async def hears(worker: Worker, key: str) -> None:
    """Wait until the worker knows of a pause: until then it may begin what is held back."""

    async def knows() -> bool:
        return key in worker._executor.pauses.keys

    await wait_for(knows, what=f"the worker knows that {key} is paused")


async def held(pool: Pool) -> Any:
    return await query(pool, "SELECT * FROM rkyc.waiting WHERE kind = 'paused' ORDER BY job_id, branch")


async def test_a_paused_job_stops_at_once_and_goes_on_at_its_checkpoint_uncharged(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry) as worker:
        job_id = await client.enqueue("chained", make_input(tmp_path, 1, waits={"s3": 60}))
        await wait_entries(tmp_path, "began", 1, step="s3")
        assert await client.pause(job_id, "manual check", by="tester")
        row = await read_job(pool, job_id)
        assert (row["status"], row["wait_reason"], row["pipeline_step"]) == ("pending", "paused", "s3")
        assert row["wait_detail"] == "the job is paused by tester: manual check"

        async def is_idle() -> bool:
            return worker.busy == 0

        await wait_for(is_idle, what="the body's end")
        (task,) = await held(pool)
        assert (task["error_attempts"], task["crash_attempts"]) == (0, 0)
        await query(pool, "UPDATE rkyc.job SET input = jsonb_set(input, '{waits}', '{}')")
        assert await client.resume(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
        assert not await client.pause(job_id), "it has ended"
        assert not await client.resume(job_id)
    began = [(entry.step, entry.attempt) for entry in entries(tmp_path) if entry.what == "began"]
    assert began == [(step, 1) for step in CHAIN_STEPS[:3] + CHAIN_STEPS[2:]]


async def test_a_scheduled_job_keeps_its_time_over_a_pause(pool: Pool) -> None:
    await announce(pool, registry.latest("single"))
    client = Client(pool=pool)
    run_at = datetime.now(UTC) + timedelta(days=1)
    job_id = await client.enqueue("single", {}, run_at=run_at)
    assert await client.pause(job_id)
    (task,) = await held(pool)
    assert task["due_at"] is None and task["resume_at"] == run_at
    assert await client.resume(job_id)
    rows = await query(pool, "SELECT due_at, reason FROM rkyc.scheduled")
    assert [tuple(row) for row in rows] == [(run_at, "scheduled")]


async def test_all_branches_of_a_paused_job_wait_and_join_once(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("forked", make_input(tmp_path, 1, waits={"m1": 60, "m2": 60}))
        await wait_entries(tmp_path, "ended", 3)

        async def are_in() -> bool:
            return len(await query(pool, "SELECT FROM rkyc.checkpoint")) == 4

        await wait_for(are_in, what="three members that arrived")
        assert await client.pause(job_id)
        assert [row["branch"] for row in await held(pool)] == [1, 2]
        await query(pool, "UPDATE rkyc.job SET input = jsonb_set(input, '{waits}', '{}')")
        await client.resume(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert Counter(entry.what for entry in entries(tmp_path))["joined"] == 1


@pytest.mark.parametrize("pipeline", ["chained", "forked", "nested"])
async def test_a_pause_misses_no_task_between_two_tables(
    dsn: str, pool: Pool, tmp_path: Path, pipeline: str
) -> None:
    """Jobs of many short steps are paused at any moment: from then on nothing of them is written."""
    client = Client(pool=pool)
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")
    async with serve(dsn, registry=registry):
        for number in range(12):
            job_id = await client.enqueue(pipeline, make_input(tmp_path, number, wait=0.001))
            await asyncio.sleep(number * 0.004)
            if not await client.pause(job_id):
                continue
            job = (await query(pool, "SELECT id FROM rkyc.job WHERE uuid = $1", job_id))[0]["id"]
            places = "SELECT count(*) FROM rkyc.{} WHERE job_id = $1"
            tables = ("ready", "running", "scheduled", "checkpoint")
            sql = "SELECT " + ", ".join(f"({places.format(name)}) AS {name}" for name in tables)
            (before,) = await query(pool, sql, job)
            assert tuple(before)[:3] == (0, 0, 0)
            await asyncio.sleep(0.05)
            (after,) = await query(pool, sql, job)
            assert tuple(after) == tuple(before), "a paused job writes nothing"
            assert await client.resume(job_id)
        counts = await wait_all_ended(pool, 12)
    assert counts == {"completed": 12}
    assert set((await checkpoints_by_step(pool)).values()) == {1}


async def test_a_paused_lane_is_not_claimed_and_says_so(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        first = await client.enqueue("chained", make_input(tmp_path, 1, wait=0.05), lane="low")
        await wait_entries(tmp_path, "began", 1)
        assert await client.pause_all("lane", "low", "provider is down", by="tester")
        assert not await client.pause_all("lane", "low"), "it is paused already"
        row = await waits_as(pool, first, "paused")
        assert row["wait_detail"].startswith("lane low is paused by tester since ")
        assert row["wait_detail"].endswith(": provider is down")
        second = await client.enqueue("single", make_input(tmp_path, 2), lane="low")
        other = await client.enqueue("single", make_input(tmp_path, 3))
        assert (await wait_status(pool, other))["status"] == "completed"
        assert (await read_job(pool, second))["wait_reason"] == "paused"
        assert [tuple(row)[:2] for row in await client.pauses()] == [("lane", "low")]
        (why,) = await query(pool, "SELECT * FROM rkyc.why($1)", second)
        assert (why["reason"], why["remedy"]) == ("paused", "rkyc lanes resume low")
        assert why["why"].startswith("lane low is paused by tester since 2")
        assert await client.resume_all("lane", "low")
        for job_id in (first, second):
            assert (await wait_status(pool, job_id))["status"] == "completed"
    assert {entry.attempt for entry in entries(tmp_path)} == {1}


async def test_a_paused_pipeline_waits_behind_its_checkpoint_and_others_go_on(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        running = await client.enqueue("chained", make_input(tmp_path, 1, wait=0.05))
        await wait_entries(tmp_path, "began", 1)
        await client.pause_all("pipeline", "chained")
        await waits_as(pool, running, "paused")
        queued = await client.enqueue("chained", make_input(tmp_path, 2))

        async def both() -> bool:
            return len(await held(pool)) == 2

        await wait_for(both, what="two tasks held back")
        other = await client.enqueue("single", make_input(tmp_path, 3))
        assert (await wait_status(pool, other))["status"] == "completed"
        assert await client.resume_all("pipeline", "chained")
        assert not await client.resume_all("pipeline", "chained")
        for job_id in (running, queued):
            assert (await wait_status(pool, job_id))["status"] == "completed"
    assert {entry.attempt for entry in entries(tmp_path)} == {1}
    assert set((await checkpoints_by_step(pool)).values()) == {1}


async def test_a_paused_tenant_holds_back_its_own_jobs_alone(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry) as worker:
        await client.pause_all("tenant", "acme")
        await hears(worker, "tenant:acme")
        run_at = datetime.now(UTC) + timedelta(seconds=0.5)
        ids = [await client.enqueue("single", make_input(tmp_path, n), run_at=run_at) for n in range(2)]
        await query(pool, """UPDATE rkyc.job SET traits = '{"tenant": "acme"}' WHERE uuid = $1""", ids[0])
        assert (await wait_status(pool, ids[1]))["status"] == "completed"
        row = await waits_as(pool, ids[0], "paused")
        assert row["wake_key"] == "tenant:acme"
        await client.resume_all("tenant", "acme")
        assert (await wait_status(pool, ids[0]))["status"] == "completed"


async def test_what_was_held_back_after_the_resume_is_found_all_the_same(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    """A worker may hear of the resume late, and park a task when nobody looks for one any more."""
    client = Client(pool=pool)
    async with serve(dsn, registry=registry) as worker:
        await client.pause_all("pipeline", "single")
        await hears(worker, "pipeline:single")
        job_id = await client.enqueue("single", make_input(tmp_path, 1))
        await waits_as(pool, job_id, "paused")

        async def is_held() -> bool:
            return bool(await held(pool))

        await wait_for(is_held)
        # As if it came after the client's own sweep.
        await query(pool, "UPDATE rkyc.pause SET resumed_at = now()")
        assert (await wait_status(pool, job_id))["status"] == "completed"
        await query(pool, "UPDATE rkyc.pause SET resumed_at = now() - interval '1 hour'")
        async with pool.connection() as conn:
            await keep_resumed(conn, [])
        assert await query(pool, "SELECT FROM rkyc.pause") == []


async def test_what_is_not_there_can_not_be_paused(pool: Pool) -> None:
    client = Client(pool=pool)
    with pytest.raises(NotFoundError, match="no lane is called 'nowhere'"):
        await client.pause_all("lane", "nowhere")
    with pytest.raises(NotFoundError, match="no pipeline is called 'nothing'"):
        await client.pause_all("pipeline", "nothing")
    with pytest.raises(NotFoundError):
        await client.pause(uuid4())


@pytest.mark.parametrize("name", ["", "t" * 256, "a\0b", "\ud800"], ids=ascii)
async def test_a_name_that_no_tenant_can_have_is_refused(pool: Pool, name: str) -> None:
    client = Client(pool=pool)
    for change in (client.pause_all("tenant", name), client.resume_all("tenant", name)):
        with pytest.raises(InvalidInputError, match="no tenant can be called"):
            await change
