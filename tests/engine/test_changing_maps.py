"""Jobs with maps that are started again in part."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.errors import ConflictError, PermanentException
from rkyc.flow.graph import chain, map_over
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, wait_status

pytestmark = pytest.mark.anyio


@step
async def split(ctx: Any) -> list[int]:
    return [0, 1]


@step
async def end(ctx: Any, input: Any) -> Any:
    return input


async def test_what_the_items_of_a_map_saved_is_carried_over_or_the_fork_is_refused(
    dsn: str, pool: Pool
) -> None:
    await query(pool, "CREATE TABLE public.carried (job uuid NOT NULL, n int NOT NULL)")

    async def save(conn: Any, output: dict[str, Any]) -> None:
        await conn.execute("INSERT INTO public.carried VALUES ($1, $2)", UUID(output["id"]), output["n"])

    async def carry(conn: Any, source_job_id: UUID, job_id: UUID) -> None:
        await conn.execute(
            "INSERT INTO public.carried SELECT $2, n FROM public.carried WHERE job = $1",
            source_job_id,
            job_id,
        )

    @step(save=save, carry=carry)
    async def keep(ctx: Any, input: int) -> dict[str, Any]:
        return {"id": str(ctx.job_id), "n": input}

    carrying = Pipeline("carrying", 1, chain(split, map_over(keep), end))
    client = Client(pool=pool)
    async with serve(dsn, carrying):
        job_id = await client.enqueue("carrying", {})
        await wait_status(pool, job_id, "completed")
        with pytest.raises(ConflictError, match="step keep saved rows that must be carried over"):
            await client.fork(job_id, "end")
        forked = await client.fork(job_id, "end", registry=Registry([carrying]))
        await wait_status(pool, forked, "completed")
    rows = await query(pool, "SELECT n FROM public.carried WHERE job = $1 ORDER BY n", forked)
    assert [row["n"] for row in rows] == [0, 1]


async def test_one_item_of_a_map_that_was_done_in_part_is_enough_for_a_rerun(dsn: str, pool: Pool) -> None:
    @step(optional=True)
    async def maybe(ctx: Any, input: int) -> int:
        if input == 0:
            raise PermanentException("meant to fail")
        # The last one to complete is whole.
        await ctx.sleep(0.1)
        return input

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("halves", 1, chain(split, map_over(maybe), end))):
        job_id = await client.enqueue("halves", {})
        assert (await wait_status(pool, job_id, "completed"))["partial"]
        planned = await client.rerun(job_id, degraded=True, dry_run=True)
    assert planned.reasons["maybe"] == "it was degraded"
