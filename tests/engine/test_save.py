"""`save`: in the transaction of its checkpoint, once, bounded in time, its failure its own."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def saved_table(pool: Pool) -> None:
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")


def job(tmp_path: Any, name: Any, **more: Any) -> dict[str, Any]:
    return {"ledger": str(tmp_path / "ledger"), "job": str(name), **more}


async def saved(pool: Pool) -> list[str]:
    return [row["job"] for row in await query(pool, "SELECT job FROM public.saved ORDER BY job")]


@pytest.mark.parametrize("sleeper", ["pg_sleep", "python_sleep", "many_statements"])
async def test_of_a_hundred_saves_at_once_one_breaks_and_one_sleeps(
    dsn: str, pool: Pool, tmp_path: Any, sleeper: str
) -> None:
    inputs = [job(tmp_path, number) for number in range(98)]
    inputs.insert(40, job(tmp_path, "breaks", manner="break"))
    inputs.insert(41, job(tmp_path, "sleeps", manner=sleeper))
    async with serve(dsn, registry=registry, slots=100, save_limit_s=0.5):
        client = Client(pool=pool)
        began = time.monotonic()
        ids = await client.enqueue_many("keeping_last", inputs)

        async def committed() -> bool:
            return len(await saved(pool)) >= 98

        await wait_for(committed)
        took_s = time.monotonic() - began
        counts = await wait_all_ended(pool, 100)
        breaks = await wait_status(pool, ids[40])
        sleeps = await wait_status(pool, ids[41])
    assert counts == {"completed": 98, "failed": 2}
    assert took_s < 5.0
    assert breaks["error_code"] == "OUTPUT_INVALID"
    assert "not-null" in breaks["error_message"]
    assert sleeps["error_code"] == "STEP_TIMEOUT"
    assert len(await saved(pool)) == 98
    assert await tasks_left(pool) == []


async def test_a_save_that_blocks_the_whole_loop_still_ends_by_its_limit(
    dsn: str, pool: Pool, tmp_path: Any
) -> None:
    async with serve(dsn, registry=registry, save_limit_s=0.3):
        client = Client(pool=pool)
        blocker = await client.enqueue("keeping_last", job(tmp_path, "blocks", manner="block", seconds=2.0))
        row = await wait_status(pool, blocker)
    assert (row["status"], row["error_code"]) == ("failed", "STEP_TIMEOUT")
    assert await saved(pool) == []


async def test_an_error_of_the_save_is_an_error_of_the_step(dsn: str, pool: Pool, tmp_path: Any) -> None:
    async with serve(dsn, registry=registry):
        row = await wait_status(
            pool, await Client(pool=pool).enqueue("keeping", job(tmp_path, "x", manner="raise"))
        )
    assert (row["status"], row["error_code"], row["error_message"]) == ("failed", "PERMANENT", "save said no")
    assert row["pipeline_step"] == "keep"
    assert await saved(pool) == []


async def test_a_save_whose_connection_is_cut_is_done_again_and_not_charged(
    dsn: str, pool: Pool, tmp_path: Any
) -> None:
    async with serve(dsn, registry=registry, save_limit_s=5.0):
        client = Client(pool=pool)
        async with pool.connection() as conn:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute("LOCK TABLE public.saved IN EXCLUSIVE MODE")
            ids = [await client.enqueue("keeping_last", job(tmp_path, number)) for number in range(3)]

            async def waiting() -> list[Any]:
                rows = await query(
                    pool,
                    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%public.saved%'",
                )
                return [row["pid"] for row in rows] if len(rows) >= 3 else []

            for pid in await wait_for(waiting):
                await query(pool, "SELECT pg_terminate_backend($1)", pid)
            await transaction.rollback()
        rows = [await wait_status(pool, one) for one in ids]
    assert [row["status"] for row in rows] == ["completed"] * 3
    assert [row["error_attempts"] for row in rows] == [0] * 3
    assert await saved(pool) == ["0", "1", "2"]


async def keep_row(conn: Any, output: dict[str, Any]) -> None:
    await conn.execute("INSERT INTO public.saved VALUES ('lost', 'lose_lease')")


@step(save=keep_row, needs=[Pool])
async def lose_lease(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Have the task reclaimed, as of a process that slept, before its outcome is written."""
    async with ctx.use(Pool).connection() as conn:
        await conn.execute("UPDATE rkyc.running SET fence = fence + 1000, worker_id = worker_id + 1000")
    return {}


async def test_a_save_whose_lease_is_lost_leaves_nothing(dsn: str, pool: Pool) -> None:
    async with serve(dsn, Pipeline("losing", 1, lose_lease), resources={Pool: pool}) as worker:
        await Client(pool=pool).enqueue("losing", {})

        async def is_reclaimed() -> bool:
            return bool(await query(pool, "SELECT FROM rkyc.running WHERE fence > 1000")) and worker.busy == 0

        await wait_for(is_reclaimed)
    assert await saved(pool) == []
    assert await query(pool, "SELECT FROM rkyc.checkpoint") == []
