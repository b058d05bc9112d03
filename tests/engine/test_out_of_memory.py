"""A step that runs out of memory: it waits longer than others, and goes to another process where there is one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.flow import retry
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import MEMORY_PAUSE_S, RetryPolicy, memory_pause_s
from rkyc.flow.step import Step, step
from rkyc.store.pool import Pool
from tests.support.engine import serve, wait_all_ended, wait_status

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Process:
    """Who runs a body, and who ran out of memory, by job."""

    name: str
    fell: dict[UUID, list[str]] = field(default_factory=dict)


@step(needs=[Process], retry=RetryPolicy(max_attempts=3, initial_s=0.0))
async def hungry(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    process = ctx.use(Process)
    if ctx.attempt <= input["falls"]:
        process.fell.setdefault(ctx.job_id, []).append(process.name)
        raise MemoryError
    return {"by": process.name}


HUNGRY = Pipeline("hungry", version=1, steps=chain(hungry))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "MEMORY_PAUSE_S", 0.3)


async def test_the_next_attempt_is_another_process(dsn: str, pool: Pool, soon: None) -> None:
    client, fell = Client(pool=pool), dict[UUID, list[str]]()
    async with (
        serve(dsn, HUNGRY, resources={Process: Process("a", fell)}),
        serve(dsn, HUNGRY, resources={Process: Process("b", fell)}),
    ):
        for _ in range(5):
            job_id = await client.enqueue("hungry", {"falls": 1})
            await wait_status(pool, job_id, "completed")
            assert fell[job_id] != [(await client.output(job_id))["by"]]


async def test_alone_in_a_fleet_it_tries_again_itself(dsn: str, pool: Pool, soon: None) -> None:
    async with serve(dsn, HUNGRY, resources={Process: Process("a")}):
        await Client(pool=pool).enqueue("hungry", {"falls": 2})
        assert await wait_all_ended(pool, 1) == {"completed": 1}


def eat() -> None:
    raise MemoryError


async def save_too_much(conn: Any, output: Any) -> None:
    raise MemoryError


@step(name="in_child", retry=RetryPolicy(max_attempts=1))
async def in_child(ctx: Any, input: Any) -> None:
    await ctx.run_in_process(eat)


@step(name="in_group", retry=RetryPolicy(max_attempts=1))
async def in_group(ctx: Any, input: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(eat))


@step(name="in_save", retry=RetryPolicy(max_attempts=1), save=save_too_much)
async def in_save(ctx: Any, input: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("where", [in_child, in_group, in_save], ids=lambda where: where.name)
async def test_wherever_it_runs_out_the_error_is_the_same(where: Step, dsn: str, pool: Pool) -> None:
    async with serve(dsn, Pipeline("somewhere", version=1, steps=where)):
        row = await wait_status(pool, await Client(pool=pool).enqueue("somewhere", {}), "failed")
        assert row["error_code"] == "OUT_OF_MEMORY"


async def test_it_is_not_tried_for_ever(dsn: str, pool: Pool, soon: None) -> None:
    async with serve(dsn, HUNGRY, resources={Process: Process("a")}):
        job_id = await Client(pool=pool).enqueue("hungry", {"falls": 9})
        row = await wait_status(pool, job_id, "failed")
        assert (row["error_code"], row["error_attempts"]) == ("OUT_OF_MEMORY", 3)


def test_the_pause_is_long_grows_and_is_not_the_same_for_all() -> None:
    assert memory_pause_s(1, 0.0) == MEMORY_PAUSE_S >= 5
    assert [memory_pause_s(n, 0.0) for n in (2, 3, 4)] == [10, 20, 40]
    assert memory_pause_s(1, 0.5) > memory_pause_s(1, 0.4)
    assert memory_pause_s(1000, 0.99) < 600
