"""Budgets of jobs: a job pauses before it spends more than it may, and goes on when somebody adds to it."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.wakes import hold_task
from rkyc.errors import ConflictError, InvalidInputError
from rkyc.flow.outcome import Wait
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import Step, step
from rkyc.store.pool import Pool
from rkyc.store.queue import budgets
from tests.support.engine import announce, query, serve, tasks_left, wait_for, wait_status
from tests.support.moves import NOW, add_job, claim

pytestmark = pytest.mark.anyio

asked: list[str] = []


@step
async def spend(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Make four calls of a cent each."""

    async def ask() -> dict[str, Any]:
        asked.append(str(ctx.job_id))
        return {"usage": {"tokens_in": 1, "tokens_out": 1, "cost_usd": 0.01}}

    for number in range(4):
        await ctx.call(f"ask {number}", ask)
    return {}


spending = Pipeline("spending", 1, spend)


async def wait_paused(pool: Pool, job_id: Any, spent: str) -> Any:
    async def look() -> Any:
        row = await wait_status(pool, job_id, "pending")
        return row if row["wait_reason"] == "budget" and spent in row["wait_detail"] else None

    return await wait_for(look, what=f"a pause after {spent}")


async def test_a_job_pauses_at_its_budget_and_goes_on_with_more_and_pays_nothing_twice(
    dsn: str, pool: Pool
) -> None:
    async with serve(dsn, spending):
        client = Client(pool=pool)
        job_id = await client.enqueue("spending", {}, budget_usd=0.02)
        row = await wait_paused(pool, job_id, "0.0200 of 0.0200 USD")
        assert row["error_attempts"] == 0
        await client.add_budget(job_id, 0.01)
        await wait_paused(pool, job_id, "0.0300 of 0.0300 USD")
        await client.add_budget(job_id, 1)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert asked.count(str(job_id)) == 4


async def test_a_pause_lets_calls_beside_it_end_and_be_remembered(dsn: str, pool: Pool) -> None:
    paid: list[str] = []

    async def ask(name: str, seconds: float) -> dict[str, Any]:
        paid.append(name)
        await asyncio.sleep(seconds)
        return {"usage": {"cost_usd": 0.02}}

    @step
    async def spend_in_lines(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        async def line(*calls: tuple[str, float]) -> None:
            for name, seconds in calls:
                await ctx.call(name, functools.partial(ask, name, seconds))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line(("slow", 1.0)))
            tasks.create_task(line(("a", 0.05), ("b", 0.05)))
        return {}

    async with serve(dsn, Pipeline("lines", 1, spend_in_lines)):
        client = Client(pool=pool)
        job_id = await client.enqueue("lines", {}, budget_usd=0.01)
        # What the slow one cost is counted.
        await wait_paused(pool, job_id, "0.0400 of 0.0100 USD")
        await client.add_budget(job_id, 1.0)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert sorted(paid) == ["a", "b", "slow"]


@step
async def spend_within(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Make two calls within a call, twice at the same time."""

    async def ask() -> dict[str, Any]:
        return {"usage": {"cost_usd": 0.02}}

    async def outer(name: str) -> None:
        for number in range(2):
            await ctx.call(f"{name} {number}", ask)

    async with asyncio.TaskGroup() as tasks:
        for name in ("left", "right"):
            tasks.create_task(ctx.call(name, functools.partial(outer, name)))
    return {}


@step
def spend_within_in_a_thread(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Make two calls within a call."""

    def outer() -> None:
        for number in range(2):
            ctx.call(f"inner {number}", lambda: {"usage": {"cost_usd": 0.02}})

    ctx.call("outer", outer)
    return {}


@pytest.mark.parametrize("spend", [spend_within, spend_within_in_a_thread])
async def test_a_pause_within_a_call_does_not_wait_for_that_call(dsn: str, pool: Pool, spend: Step) -> None:
    async with serve(dsn, Pipeline("within", 1, spend)):
        client = Client(pool=pool)
        job_id = await client.enqueue("within", {}, budget_usd=0.01)
        await wait_paused(pool, job_id, "of 0.0100 USD")
        await client.add_budget(job_id, 1.0)
        assert (await wait_status(pool, job_id))["status"] == "completed"


async def test_a_job_without_a_budget_spends_what_it_needs(dsn: str, pool: Pool) -> None:
    async with serve(dsn, spending):
        client = Client(pool=pool)
        job_id = await client.enqueue("spending", {})
        assert (await wait_status(pool, job_id))["status"] == "completed"
        with pytest.raises(ConflictError, match="has ended"):
            await client.add_budget(job_id, 1)


async def test_what_is_added_while_a_job_is_about_to_pause_is_not_missed(pool: Pool) -> None:
    await announce(pool, spending)
    async with pool.connection() as conn:
        number = await add_job(conn, "spending", budget_usd=0.02, traits='{"budget": true}')
        (held,) = await claim(conn, 1)
        row = Wait(held, "spend", "budget", str(number), after=20_000)
        async with conn.transaction():
            assert await budgets.add_budget(conn, number, 0.01)
        async with conn.transaction():
            await hold_task(conn, row, NOW)
    assert [table for table, _, _ in await tasks_left(pool)] == ["ready"]


async def test_a_pause_with_nothing_added_stays(pool: Pool) -> None:
    await announce(pool, spending)
    async with pool.connection() as conn:
        number = await add_job(conn, "spending", budget_usd=0.02, traits='{"budget": true}')
        (held,) = await claim(conn, 1)
        async with conn.transaction():
            await hold_task(conn, Wait(held, "spend", "budget", str(number), after=20_000), NOW)
    assert [table for table, _, _ in await tasks_left(pool)] == ["waiting"]


async def test_only_money_can_be_added_and_only_where_there_is_a_budget(pool: Pool) -> None:
    await announce(pool, spending)
    client = Client(pool=pool)
    job_id = await client.enqueue("spending", {})
    with pytest.raises(ConflictError, match="has no budget"):
        await client.add_budget(job_id, 1)
    with pytest.raises(InvalidInputError):
        await client.add_budget(job_id, -1)
    assert await query(pool, "SELECT FROM rkyc.job_budget") == []
