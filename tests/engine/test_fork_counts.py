"""Who numbers what happens to a job: its one task before a fork, a row of its own behind it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.errors import RetryableException
from rkyc.flow.batch import Batch
from rkyc.flow.graph import chain, group
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import announce, query, serve, wait_for, wait_status

pytestmark = pytest.mark.anyio


async def save_nothing(conn: Any, outputs: list[Any]) -> None:
    await conn.execute("SELECT 1")


@step(batch=Batch(size=1), save=save_nothing)
async def gather(ctx: Any, inputs: list[Any]) -> list[Any]:
    return list(inputs)


@step(retry=RetryPolicy(max_attempts=5, initial_s=3600.0, max_s=3600.0, jitter=False))
async def hesitate(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    if job.get("hesitates"):
        raise RetryableException("meant to be tried again")
    return {}


@step
async def rest(ctx: Any) -> None:
    return None


PARTS = chain(gather, hesitate, group(rest.named("left"), rest.named("right")), rest.named("end"))
LATE = Pipeline("late", 1, PARTS)
NEWER = Pipeline("late", 2, PARTS, upcast={(1, 2): lambda value, outputs: (value, {})})


async def count_rows(pool: Pool, table: str, job_id: UUID) -> int:
    sql = f"SELECT count(*) AS n FROM rkyc.{table} t JOIN rkyc.job j ON j.id = t.job_id WHERE j.uuid = $1"
    return int((await query(pool, sql, job_id))[0]["n"])


async def start_over(client: Client, dsn: str, way: str) -> UUID:
    """Return a job that is to begin at its first step, in one of the ways in which that comes about."""
    job_id = await client.enqueue("late", {})
    if way == "forked":
        return await client.fork(job_id, "end")
    if way != "enqueued":
        async with serve(dsn, LATE):
            assert await client.result(job_id, 20) is None
    if way == "from a step":
        await client.retry_from(job_id, "gather")
    if way == "moved":
        await client.retry_from(job_id, "left")
        assert await client.migrate(job_id, Registry([NEWER])) == 2
    return job_id


@pytest.mark.parametrize("way", ["enqueued", "forked", "from a step", "moved"])
async def test_before_its_fork_a_job_is_numbered_by_its_task(dsn: str, pool: Pool, way: str) -> None:
    await announce(pool, LATE)
    async with Client(dsn) as client:
        job_id = await start_over(client, dsn, way)
        await query(pool, """UPDATE rkyc.job SET input = '{"hesitates": true}'""")
        async with serve(dsn, LATE, NEWER):

            async def is_scheduled() -> bool:
                return await count_rows(pool, "scheduled", job_id) == 1

            await wait_for(is_scheduled, what="a step that is to be tried again")
            assert await count_rows(pool, "branching", job_id) == 0
            assert await client.cancel(job_id)
            await query(pool, "UPDATE rkyc.job SET input = '{}'")
            await client.retry(job_id)
            assert (await wait_status(pool, job_id))["status"] == "completed"
