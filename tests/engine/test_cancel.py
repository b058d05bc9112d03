"""Cancel: at once, whatever the job is doing; nothing is written afterwards; once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rkyc.engine.client import Client
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.errors import ConflictError, NotFoundError, WorkerBaseException
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, read_job, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.ledger import count, read_ledger
from tests.support.probes import pause, registry

pytestmark = pytest.mark.anyio
# As slow as in production: what is quick here does not come from a quick poll.
SLOW = UpkeepOptions()


def job(tmp_path: Path, name: Any = 1, **more: Any) -> dict[str, Any]:
    return {"ledger": str(tmp_path / "ledger"), "job": str(name), **more}


async def expect_cancelled(pool: Pool, client: Client, job_id: Any) -> None:
    assert await client.cancel(job_id, "enough")
    row = await read_job(pool, job_id)
    assert (row["status"], row["error_message"], row["wait_reason"]) == ("cancelled", "enough", None)
    assert await tasks_left(pool) == []
    assert not await client.cancel(job_id)


async def test_a_ready_job(pool: Pool, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        pass
    client = Client(pool=pool)
    job_id = await client.enqueue("chained", job(tmp_path))
    await expect_cancelled(pool, client, job_id)


async def test_a_scheduled_job(pool: Pool, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        client = Client(pool=pool)
        job_id = await client.enqueue("chained", job(tmp_path), run_at=datetime.now(UTC) + timedelta(hours=1))
        await expect_cancelled(pool, client, job_id)


async def test_a_job_that_waits_for_its_next_attempt(pool: Pool, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        client = Client(pool=pool)
        job_id = await client.enqueue("failing", job(tmp_path, failures=1, retry_after=600))

        async def waits() -> bool:
            return bool((await read_job(pool, job_id))["wait_reason"] == "retry_backoff")

        await wait_for(waits)
        await expect_cancelled(pool, client, job_id)


async def test_a_job_that_waits_for_a_worker(pool: Pool, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, Pipeline("strange", 1, pause)):
        pass
    async with serve(dsn, registry=registry):
        client = Client(pool=pool)
        job_id = await client.enqueue("strange", job(tmp_path))

        async def waits() -> bool:
            return bool((await read_job(pool, job_id))["wait_reason"] == "no_worker")

        await wait_for(waits)
        await expect_cancelled(pool, client, job_id)


async def test_a_running_body_is_stopped_at_once(pool: Pool, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry, upkeep=SLOW) as worker:
        client = Client(pool=pool)
        job_id = await client.enqueue("chained", job(tmp_path, waits={"s2": 60}))

        async def inside() -> bool:
            return any(entry.step == "s2" for entry in read_ledger(tmp_path / "ledger"))

        await wait_for(inside)
        await expect_cancelled(pool, client, job_id)

        async def idle() -> bool:
            return worker.busy == 0

        await wait_for(idle, timeout_s=2)
    assert count(read_ledger(tmp_path / "ledger"), "ended") == {("1", "s1"): 1}


async def test_a_save_that_holds_the_task_wins(pool: Pool, dsn: str, tmp_path: Path) -> None:
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")
    async with serve(dsn, registry=registry):
        client = Client(pool=pool)
        async with pool.connection() as blocker:
            transaction = blocker.transaction()
            await transaction.start()
            await blocker.execute("LOCK TABLE public.saved IN EXCLUSIVE MODE")
            job_id = await client.enqueue("keeping_last", job(tmp_path))

            async def saving() -> list[Any]:
                return await query(
                    pool,
                    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%public.saved%'",
                )

            await wait_for(saving)
            cancelling = asyncio.create_task(client.cancel(job_id))
            await asyncio.wait({cancelling}, timeout=0.1)
            await transaction.rollback()
        assert not await cancelling
        assert (await wait_status(pool, job_id))["status"] == "completed"


async def test_cancels_at_any_moment_leave_nothing_behind(pool: Pool, dsn: str, tmp_path: Path) -> None:
    """Chains with retries and releases, cancelled while they move between tables on two workers."""
    client = Client(pool=pool)
    number = 80
    async with serve(dsn, registry=registry, slots=9, prefetch=9), serve(dsn, registry=registry, slots=9):
        ids = await client.enqueue_many(
            "failing", [job(tmp_path, name, wait=0.002, failures=2) for name in range(number)]
        )

        async def cancel(index: int) -> bool:
            await asyncio.sleep(0.01 * index)
            return await client.cancel(ids[index])

        cancelled = await asyncio.gather(*(cancel(index) for index in range(number)))
        counts = await wait_all_ended(pool, number)
        assert counts.get("cancelled", 0) == sum(cancelled)
        assert sum(counts.values()) == number

        async def nothing_left() -> bool:
            return not await tasks_left(pool)

        await wait_for(nothing_left)


async def test_a_cancelled_job_goes_on_when_it_is_started_again(pool: Pool, dsn: str, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, upkeep=SLOW):
        for round_number in range(10):
            name = f"r{round_number}"
            job_id = await client.enqueue("calling", job(tmp_path, name, waits={"call_and_pause": 0.3}))

            async def asked(name: str = name) -> bool:
                entries = read_ledger(tmp_path / "ledger")
                return any(entry.job == name and entry.step == "call_and_pause" for entry in entries)

            await wait_for(asked)
            assert await client.cancel(job_id)
            await client.retry(job_id)
            assert (await wait_status(pool, job_id, "completed", timeout_s=5))["status"] == "completed"
    ended = count(read_ledger(tmp_path / "ledger"), "ended")
    assert {key: number for key, number in ended.items() if number != 1} == {}


async def test_the_waiting_client_learns_of_the_cancel(pool: Pool, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        client = Client(pool=pool)
        job_id = await client.enqueue("chained", job(tmp_path, waits={"s1": 60}))
        waiting = asyncio.create_task(client.result(job_id, timeout_s=10))
        await client.cancel(job_id)
        with pytest.raises(WorkerBaseException, match="cancelled") as caught:
            await waiting
        assert caught.value.details["status"] == "cancelled"


async def test_what_is_not_there_or_not_ended_is_refused(pool: Pool, dsn: str, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        with pytest.raises(NotFoundError):
            await client.cancel(uuid4())
        with pytest.raises(NotFoundError):
            await client.retry(uuid4())
        job_id = await client.enqueue("single", job(tmp_path))
        await wait_status(pool, job_id)
        with pytest.raises(ConflictError):
            await client.retry(job_id)
        assert not await client.cancel(job_id)


@step(retry=RetryPolicy(max_attempts=1))
async def deaf(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Go on whatever comes."""
    deadline = asyncio.get_running_loop().time() + 1.0
    while asyncio.get_running_loop().time() < deadline:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return {"ended": "by itself"}


async def test_a_body_that_ignores_its_cancel_writes_nothing(pool: Pool, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, Pipeline("deaf", 1, chain(deaf, pause))) as worker:
        client = Client(pool=pool)
        job_id = await client.enqueue("deaf", job(tmp_path))
        await wait_status(pool, job_id, "running")
        await expect_cancelled(pool, client, job_id)

        async def idle() -> bool:
            return worker.busy == 0

        await wait_for(idle)
    assert await query(pool, "SELECT FROM rkyc.checkpoint") == []
    assert (await read_job(pool, job_id))["status"] == "cancelled"
    assert read_ledger(tmp_path / "ledger") == []
