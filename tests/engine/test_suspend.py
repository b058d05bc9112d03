"""A body that leaves its slot: uncharged, woken by its key or by its time, whoever caught the exception."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.suspend import Suspend
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.queue import jobs, waits
from tests.support.engine import serve, tasks_left, wait_status

pytestmark = pytest.mark.anyio


@step
async def first(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return input


def leaving(leave: Any) -> Pipeline:
    """A pipeline whose second step leaves on its first run and tells its attempt on the second."""
    runs: list[int] = []

    @step
    async def second(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        runs.append(ctx.attempt)
        if len(runs) == 1:
            await leave()
        return {"runs": runs}

    return Pipeline("leaving", version=1, steps=chain(first, second))


async def test_a_body_that_leaves_is_woken_by_its_key(dsn: str, pool: Pool) -> None:
    async def leave() -> None:
        raise Suspend("turn", "mine", detail="waiting for its turn")

    client = Client(pool=pool)
    async with serve(dsn, leaving(leave)) as worker:
        job_id = await client.enqueue("leaving", {})
        row = await wait_status(pool, job_id, "pending")
        while row["wait_reason"] != "turn":
            row = await wait_status(pool, job_id, "pending")
        assert (row["pipeline_step"], row["wait_detail"]) == ("second", "waiting for its turn")
        assert worker.busy == 0
        async with pool.connection() as conn:
            lanes = await waits.wake_tasks(conn, "turn", "mine", 1)
            await jobs.notify(conn, jobs.WAKE_CHANNEL, lanes)
        assert await client.result(job_id, 15) == {"runs": [1, 1]}
    assert await tasks_left(pool) == []


async def test_a_body_that_leaves_is_woken_by_its_time(dsn: str, pool: Pool) -> None:
    async def leave() -> None:
        raise Suspend("turn", "mine", dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.1))

    client = Client(pool=pool)
    async with serve(dsn, leaving(leave)):
        assert await client.result(await client.enqueue("leaving", {}), 15) == {"runs": [1, 1]}


async def test_a_wait_inside_a_task_group_is_a_wait(dsn: str, pool: Pool) -> None:
    async def leave() -> None:
        async def wait() -> None:
            raise Suspend("turn", "mine", dt.datetime.now(dt.UTC))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait())

    client = Client(pool=pool)
    async with serve(dsn, leaving(leave)):
        assert await client.result(await client.enqueue("leaving", {}), 15) == {"runs": [1, 1]}


async def test_a_group_of_strangers_fails_the_attempt(dsn: str, pool: Pool) -> None:
    async def leave() -> None:
        raise BaseExceptionGroup("several", [GeneratorExit()])

    client = Client(pool=pool)
    async with serve(dsn, leaving(leave)):
        row = await wait_status(pool, await client.enqueue("leaving", {}))
        assert (row["status"], row["error_code"]) == ("failed", "WORKER_ERROR")
