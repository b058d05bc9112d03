"""Signals: kept from the moment they are sent, each taken once, none lost between two that come at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pydantic
import pytest

from rkyc.engine.client import Client
from rkyc.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
    RetryableException,
    SignalTimeoutError,
)
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.engine.test_waits import wait_reason
from tests.support.crashes import entries, make_input
from tests.support.engine import query, serve, tasks_left, wait_status
from tests.support.ledger import count
from tests.support.waiters import registry

pytestmark = pytest.mark.anyio


class Verdict(pydantic.BaseModel):
    by: str
    ok: bool


async def test_a_signal_ends_the_wait(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry) as worker:
        job_id = await client.enqueue("approved", make_input(tmp_path, 1))
        row = await wait_reason(pool, job_id, "signal")
        assert (row["wait_detail"], row["pipeline_step"], worker.busy) == (
            "waiting for signal approve",
            "approve",
            0,
        )
        assert await client.signal(job_id, "refuse", {})
        assert (await wait_reason(pool, job_id, "signal"))["wait_reason"] == "signal"
        assert await client.signal(job_id, "approve", {"by": "kim"})
        assert await client.result(job_id, 15) == {"said": [{"by": "kim"}], "attempt": 1}
    assert count(entries(tmp_path), "began").total() == 2
    assert await tasks_left(pool) == []


async def test_signals_of_before_the_wait_are_taken_in_their_order(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        pass
    job_id = await client.enqueue("approved", make_input(tmp_path, 1, signals=3))
    for number in range(3):
        await client.signal(job_id, "approve", number)
    async with serve(dsn, registry=registry):
        assert (await client.result(job_id, 15))["said"] == [0, 1, 2]
    assert count(entries(tmp_path), "began").total() == 1
    taken = await query(pool, "SELECT taken_by, taken_at IS NOT NULL AS is_taken FROM rkyc.signal")
    assert {(row["taken_by"], row["is_taken"]) for row in taken} == {("approve", True)}


async def test_a_retry_gets_the_same_signal_again(dsn: str, pool: Pool) -> None:
    said: list[Any] = []

    @step(retry=RetryPolicy(max_attempts=3, initial_s=0.0))
    async def ask(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        said.append(await ctx.wait_signal("go", returns=Verdict))
        if ctx.attempt < 3:
            raise RetryableException("not yet")
        return {"next": await ctx.wait_signal("go")}

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("asking", 1, ask)):
        job_id = await client.enqueue("asking", {})
        await client.signal(job_id, "go", {"by": "kim", "ok": True})
        await client.signal(job_id, "go", 2)
        assert await client.result(job_id, 15) == {"next": 2}
    assert said == [Verdict(by="kim", ok=True)] * 3


async def test_an_approval_that_nobody_gives_takes_its_default(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue(
            "approved", make_input(tmp_path, 1, timeout_s=0.1, default={"by": "nobody"})
        )
        assert (await client.result(job_id, 15))["said"] == [{"by": "nobody"}]
        waiting = await client.enqueue("approved", make_input(tmp_path, 2, timeout_s=600, default=None))
        row = await wait_reason(pool, waiting, "signal")
        assert row["wait_detail"] == f"waiting for signal approve until {row['due_at']:%Y-%m-%dT%H:%M:%SZ}"


async def test_without_a_default_the_deadline_fails_the_job_and_a_person_may_start_it_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("approved", make_input(tmp_path, 1, timeout_s=0.3))
        row = await wait_status(pool, job_id)
        assert (row["status"], row["error_code"]) == ("failed", "SIGNAL_TIMEOUT")
        assert "no signal approve came in time" in row["error_message"]
        await client.retry(job_id)
        await wait_reason(pool, job_id, "signal")
        await client.signal(job_id, "approve", "late")
        assert (await client.result(job_id, 15))["said"] == ["late"]


async def test_a_wait_that_gave_up_gives_up_again_whatever_comes_later(dsn: str, pool: Pool) -> None:
    @step
    async def escalate(ctx: Any, input: dict[str, Any]) -> list[Any]:
        try:
            first = await ctx.wait_signal("clerk", timeout_s=0.05)
        except SignalTimeoutError:
            first = "nobody"
        return [first, await ctx.wait_signal("boss"), await ctx.wait_signal("clerk")]

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("escalating", 1, escalate)):
        job_id = await client.enqueue("escalating", {})
        while "boss" not in (await wait_reason(pool, job_id, "signal"))["wait_detail"]:
            await asyncio.sleep(0.01)
        await client.signal(job_id, "clerk", "too late")
        await client.signal(job_id, "boss", "yes")
        assert await client.result(job_id, 15) == ["nobody", "yes", "too late"]


async def test_a_payload_of_the_wrong_shape_fails_the_job(dsn: str, pool: Pool) -> None:
    @step
    async def ask(ctx: Any, input: dict[str, Any]) -> None:
        await ctx.wait_signal("go", returns=Verdict)

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("asking", 1, ask)):
        job_id = await client.enqueue("asking", {})
        await client.signal(job_id, "go", {"by": "kim"})
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "VALIDATION_ERROR")


async def test_two_branches_take_one_signal_each(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("approved_by_two", make_input(tmp_path, 1))
        await client.signal(job_id, "approve", 1)
        await client.signal(job_id, "approve", 2)
        said = await client.result(job_id, 15)
    assert sorted(said["a1"] + said["a2"]) == [1, 2]


async def test_a_delivery_counts_once(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("approved", make_input(tmp_path, 1, signals=2))
        assert await client.signal(job_id, "approve", 1, delivery_id="a")
        assert not await client.signal(job_id, "approve", 1, delivery_id="a")
        assert await client.signal(job_id, "approve", 2, delivery_id="b")
        assert (await client.result(job_id, 15))["said"] == [1, 2]
        assert not await client.signal(job_id, "approve", 2, delivery_id="b")


async def test_what_can_not_be_sent_is_refused(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("approved", make_input(tmp_path, 1))
        await client.signal(job_id, "approve")
        assert (await client.result(job_id, 15))["said"] == [None]
    with pytest.raises(ConflictError, match="has ended"):
        await client.signal(job_id, "approve")
    with pytest.raises(NotFoundError):
        await client.signal(uuid4(), "approve")
    other = await client.enqueue("approved", make_input(tmp_path, 2))
    for name in ("", "x" * 201, "a\0b"):
        with pytest.raises(InvalidInputError):
            await client.signal(other, name)
    with pytest.raises(PayloadTooLargeError):
        await client.signal(other, "approve", "x" * 2_000_001)
    with pytest.raises(InvalidInputError):
        await client.signal(other, "approve", float("nan"))
    assert await query(pool, "SELECT FROM rkyc.signal WHERE taken_at IS NULL") == []


async def test_signals_that_meet_tasks_about_to_wait_are_never_lost(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        ids = await client.enqueue_many("approved", [make_input(tmp_path, n, signals=5) for n in range(30)])

        async def send(job_id: Any) -> None:
            for number in range(5):
                await client.signal(job_id, "approve", number)

        # Exactly as many as are waited for: one lost wake-up, and a job waits for ever.
        await asyncio.gather(*map(send, ids))
        for job_id in ids:
            assert (await client.result(job_id, 30))["said"] == [0, 1, 2, 3, 4]


async def test_a_signal_that_is_not_committed_yet_is_waited_for(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        pass
    job_id = await client.enqueue("approved", make_input(tmp_path, 1))
    async with pool.transaction() as conn:
        await conn.execute("SELECT rkyc.signal($1, 'approve', '7')", job_id)
        async with serve(dsn, registry=registry) as worker:
            # It looks, finds nothing, and stands at the lock that the sender holds.
            while not await query(
                pool,
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%lock_job%'",
            ):
                await asyncio.sleep(0.01)
            assert worker.busy == 1
            await conn.execute("COMMIT")
            assert (await client.result(job_id, 15))["said"] == [7]
            await conn.execute("BEGIN")


async def test_sql_sends_signals_too(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("approved", make_input(tmp_path, 1))
        await wait_reason(pool, job_id, "signal")
        assert (
            await query(pool, f"SELECT rkyc.signal('{job_id}', 'approve', '{{\"by\": \"sql\"}}') AS said")
        )[0]["said"]
        assert (await client.result(job_id, 15))["said"] == [{"by": "sql"}]
    async with pool.connection() as conn:
        with pytest.raises(asyncpg.PostgresError, match="has ended") as ended:
            await conn.execute("SELECT rkyc.signal($1, 'approve')", job_id)
        assert ended.value.sqlstate == "RK007"
        with pytest.raises(asyncpg.PostgresError, match="no job") as unknown:
            await conn.execute("SELECT rkyc.signal($1, 'approve')", uuid4())
        assert unknown.value.sqlstate == "RK006"
        with pytest.raises(asyncpg.PostgresError, match="isolation level") as level:
            async with conn.transaction(isolation="repeatable_read"):
                await conn.execute("SELECT rkyc.signal($1, 'approve')", job_id)
        assert level.value.sqlstate == "RK008"
