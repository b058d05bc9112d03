"""Limits inside an attempt: a soft limit that the body may catch, heartbeats with details, idle progress."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import DatabaseConnectionError, PermanentException, RetryableException, SoftTimeLimit
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.queue import heartbeats
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import query, serve, wait_for, wait_status
from tests.support.fleet import Fleet, open_fleet
from tests.support.ledger import count
from tests.support.probes import tell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
ONCE = RetryPolicy(max_attempts=1)
TWICE = RetryPolicy(max_attempts=2, initial_s=0.01, max_s=0.02)


@step(retry=ONCE, timeouts=Timeouts(soft=0.3, start_to_close=1.0))
async def long(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for long in some way; at the soft limit do what the job says."""
    try:
        if job["waits_in"] == "group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.sleep(60))
        elif job["waits_in"] == "timeout":
            async with asyncio.timeout(60):
                await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))
        else:
            while True:
                await asyncio.sleep(0.01)
    except SoftTimeLimit:
        tell(ctx, job, "told")
        if job["then"] == "save":
            # Later waits are as good as ever.
            async with asyncio.timeout(5):
                await asyncio.sleep(0.05)
            return {"saved": True}
        if job["then"] == "go on":
            await asyncio.sleep(60)
        raise
    return {}


@pytest.mark.parametrize("waits_in", ["sleep", "group", "timeout"])
async def test_at_its_soft_limit_a_body_may_save_what_it_has(
    dsn: str, pool: Pool, tmp_path: Path, waits_in: str
) -> None:
    async with serve(dsn, Pipeline("long", 1, long)):
        values = make_input(tmp_path, 1, waits_in=waits_in, then="save")
        row = await wait_status(pool, await Client(pool=pool).enqueue("long", values))
    assert (row["status"], json.loads(row["result"]), row["partial"]) == ("completed", {"saved": True}, False)
    (warning,) = json.loads(row["warnings"])[0]["items"]
    assert warning["code"] == "TASK_SOFT_TIME_LIMIT" and "0.3 s" in warning["message"]


@pytest.mark.parametrize("waits_in", ["sleep", "group", "timeout"])
async def test_a_body_that_lets_the_soft_limit_out_ends_there(
    dsn: str, pool: Pool, tmp_path: Path, waits_in: str
) -> None:
    async with serve(dsn, Pipeline("long", 1, long)):
        values = make_input(tmp_path, 1, waits_in=waits_in, then="raise")
        row = await wait_status(pool, await Client(pool=pool).enqueue("long", values))
    assert (row["status"], row["error_code"], row["error_class"]) == (
        "failed",
        "TASK_SOFT_TIME_LIMIT",
        "retryable",
    )
    assert [one.what for one in entries(tmp_path)] == ["told"]


async def test_a_body_that_goes_on_is_cut_at_its_hard_limit_and_both_codes_are_kept(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, Pipeline("long", 1, long)):
        values = make_input(tmp_path, 1, waits_in="sleep", then="go on")
        row = await wait_status(pool, await Client(pool=pool).enqueue("long", values))
    assert (row["status"], row["error_code"]) == ("failed", "TASK_TIME_LIMIT")
    assert json.loads(row["error_details"])["codes"] == ["TASK_SOFT_TIME_LIMIT", "TASK_TIME_LIMIT"]
    assert "TASK_SOFT_TIME_LIMIT" in row["error_message"]
    assert len(entries(tmp_path)) == 1


async def test_a_cancel_by_a_person_is_none_of_the_bodys_limits(dsn: str, pool: Pool, tmp_path: Path) -> None:
    patient = long.with_policy(timeouts=Timeouts(soft=50))
    async with serve(dsn, Pipeline("long", 1, patient)) as worker:
        client = Client(pool=pool)
        job_id = await client.enqueue("long", make_input(tmp_path, 1, waits_in="sleep", then="save"))
        await wait_status(pool, job_id, "running")
        assert await client.cancel(job_id)

        async def is_stopped() -> bool:
            return worker.busy == 0

        await wait_for(is_stopped)
    assert entries(tmp_path) == []


@step(retry=TWICE, timeouts=Timeouts(heartbeat=0.4))
async def beating(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Say which page was done last; go silent in the first attempt, go on behind that page in the second."""
    tell(ctx, job, "began")
    start = (ctx.last_heartbeat or {"page": 0})["page"]
    for page in range(start + 1, 21):
        await ctx.heartbeat({"page": page})
        await asyncio.sleep(0.03)
        if page == 15 and ctx.attempt == 1:
            await asyncio.sleep(60)
    tell(ctx, job, "ended")
    return {"from": start}


async def test_a_silent_step_is_cut_and_the_next_attempt_goes_on_where_it_was(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, Pipeline("beating", 1, beating)):
        row = await wait_status(
            pool, await Client(pool=pool).enqueue("beating", make_input(tmp_path, 1)), timeout_s=20
        )
    assert (row["status"], json.loads(row["result"])) == ("completed", {"from": 15})
    (event,) = await query(pool, "SELECT data ->> 'error_code' AS code FROM rkyc.event")
    assert event["code"] == "HEARTBEAT_TIMEOUT"


async def test_heartbeats_of_many_calls_are_few_writes(dsn: str, pool: Pool, tmp_path: Path) -> None:
    @step(timeouts=Timeouts(heartbeat=5.0))
    async def chatty(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        for number in range(5000):
            await ctx.heartbeat({"number": number})
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        return {}

    @step
    async def undeclared(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        await ctx.heartbeat({"number": 1})
        return {"last": ctx.last_heartbeat}

    pipelines = [Pipeline("chatty", 1, chatty), Pipeline("undeclared", 1, undeclared)]
    async with serve(dsn, *pipelines):
        for name in ("chatty", "undeclared"):
            job_id = await Client(pool=pool).enqueue(name, make_input(tmp_path, name))
            assert (await wait_status(pool, job_id))["status"] == "completed"
    rows = await query(pool, "SELECT step FROM rkyc.heartbeat")
    assert {row["step"] for row in rows} <= {"chatty"}

    async def count_writes() -> bool:
        # What sessions did is told a moment later.
        (row,) = await query(
            pool, "SELECT n_tup_ins + n_tup_upd AS n FROM pg_stat_user_tables WHERE relname = 'heartbeat'"
        )
        return bool(row["n"] <= 20)

    await wait_for(count_writes)


async def test_details_that_could_not_be_written_are_written_in_the_next_round(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tried = heartbeats.write_heartbeats, list[bool]()

    async def write_second_time(*args: Any) -> None:
        tried.append(True)
        if len(tried) == 1:
            raise DatabaseConnectionError("meant to be away")
        await write(*args)

    @step(timeouts=Timeouts(heartbeat=30.0))
    async def once(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        await ctx.heartbeat({"page": 7})
        await asyncio.sleep(60)
        return {}

    monkeypatch.setattr("rkyc.store.queue.heartbeats.write_heartbeats", write_second_time)
    async with serve(dsn, Pipeline("once", 1, once)):
        job_id = await Client(pool=pool).enqueue("once", make_input(tmp_path, 1))

        async def is_written() -> bool:
            return bool(await query(pool, "SELECT FROM rkyc.heartbeat WHERE details = '{\"page\": 7}'"))

        await wait_for(is_written, what="the details")
        await Client(pool=pool).cancel(job_id)
    assert len(tried) >= 2


@pytest.mark.parametrize("way", ["retry", "retry_from", "compensation"])
async def test_only_a_run_that_still_counts_tells_how_far_it_came(dsn: str, pool: Pool, way: str) -> None:
    said: list[Any] = []

    async def undo(ctx: Any, output: Any) -> None: ...

    @step(retry=TWICE, timeouts=Timeouts(heartbeat=30.0), compensate=undo if way == "compensation" else None)
    async def read(ctx: Any) -> dict[str, Any]:
        said.append(ctx.last_heartbeat)
        await ctx.heartbeat({"page": len(said)})
        if way != "compensation":
            raise PermanentException("no")
        if ctx.attempt == 1:
            raise RetryableException("not yet")
        return {}

    @step
    async def refuse(ctx: Any) -> None:
        raise PermanentException("no")

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("reading", 1, chain(read, refuse))):
        job_id = await client.enqueue("reading", {})
        assert (await wait_status(pool, job_id))["status"] == "failed"
        await (client.retry_from(job_id, "read") if way == "retry_from" else client.retry(job_id))
        assert (await wait_status(pool, job_id))["status"] == "failed"
    runs = [None, {"page": 1}]
    assert (
        said == {"retry": runs, "retry_from": [None, None], "compensation": [*runs, None, {"page": 3}]}[way]
    )


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, app="tests.engine.test_pulse:registry", dsn=dsn) as opened:
        yield opened


@step(timeouts=Timeouts(heartbeat=30.0))
async def paged(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Do page after page, a second's worth at a time."""
    start = (ctx.last_heartbeat or {"page": 0})["page"]
    tell(ctx, job, f"from-{start}")
    for page in range(start + 1, 101):
        await asyncio.sleep(0.02 if ctx.attempt > 1 else 0.05)
        await ctx.heartbeat({"page": page})
    return {}


registry = Registry([Pipeline("paged", 1, paged)])


async def test_details_outlive_the_process_that_said_them(fleet: Fleet, pool: Pool, tmp_path: Path) -> None:
    first = await fleet.start()
    job_id = await Client(pool=pool).enqueue("paged", make_input(tmp_path, 1))

    async def is_kept() -> bool:
        rows = await query(pool, "SELECT (details ->> 'page')::int AS page FROM rkyc.heartbeat")
        return bool(rows and rows[0]["page"] >= 10)

    await wait_for(is_kept)
    await first.kill()
    await fleet.start()
    row = await wait_status(pool, job_id, timeout_s=30)
    assert (row["status"], row["crash_attempts"]) == ("completed", 0)
    started = [int(one.what.partition("-")[2]) for one in entries(tmp_path)]
    assert started[0] == 0 and started[-1] >= 10


@step(retry=TWICE, timeouts=Timeouts(idle=0.4))
async def talking(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Emit for longer than the limit; then hang in the first attempt."""
    for _ in range(12):
        await ctx.emit("word ")
        await asyncio.sleep(0.05)
    tell(ctx, job, "talked")
    if ctx.attempt == 1:
        await asyncio.sleep(60)
    return {}


async def test_a_step_that_stops_emitting_is_cut_and_tried_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, Pipeline("talking", 1, talking)):
        job_id = await Client(pool=pool).enqueue("talking", make_input(tmp_path, 1))
        await wait_entries(tmp_path, "talked", 1)
        row = await wait_status(pool, job_id, timeout_s=20)
    assert row["status"] == "completed"
    assert count(entries(tmp_path), "talked") == {("1", "talking"): 2}
    (event,) = await query(
        pool, "SELECT data ->> 'error_code' AS code FROM rkyc.event WHERE type = 'step.retrying'"
    )
    assert event["code"] == "IDLE_TIMEOUT"


async def test_a_deaf_body_is_cancelled_again(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.engine.sweeper.STUBBORN_S", 0.1)

    @step(retry=ONCE, timeouts=Timeouts(heartbeat=0.2))
    async def deaf(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
        return {}

    async with serve(dsn, Pipeline("deaf", 1, deaf)):
        row = await wait_status(pool, await Client(pool=pool).enqueue("deaf", make_input(tmp_path, 1)))
    assert (row["status"], row["error_code"]) == ("failed", "HEARTBEAT_TIMEOUT")
