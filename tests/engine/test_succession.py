"""Endless jobs: a run that ends starts the next, linked, in one transaction."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import ConflictError
from rkyc.flow import payload
from rkyc.flow.graph import chain, group, map_over
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_for, wait_status

pytestmark = pytest.mark.anyio


@step
async def count(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    return {"n": job["n"] + 1}


@step
async def again(ctx: Any, input: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    ctx.metadata(seen=input["n"])
    if input["n"] < job["until"]:
        ctx.continue_as_new({**job, "n": input["n"]})
    return input


ENDLESS = Pipeline("endless", 1, chain(count, again))


async def test_each_run_starts_the_next_and_the_chain_is_seen(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, ENDLESS):
        first = await client.enqueue("endless", {"n": 0, "until": 5}, lane="low", metadata={"corp": "7"})
        assert await wait_all_ended(pool, 5) == {"completed": 5}
        runs = await client.runs(first)
        assert [run["kind"] for run in runs] == [None, *["continue"] * 4]
        rows = [await wait_status(pool, run["job_id"]) for run in runs]
    results = [payload.decode(row["result"]) for row in rows]
    assert results == [*({"continued_as": str(run["job_id"])} for run in runs[1:]), {"n": 5}]
    assert {row["lane"] for row in rows} == {"low"}
    metadata = [payload.decode(row["metadata"]) for row in rows]
    assert [one["seen"] for one in metadata] == [1, 2, 3, 4, 5]
    assert {one["corp"] for one in metadata} == {"7"}
    assert [one.get("continued_from") for one in metadata] == [
        None,
        *(str(run["job_id"]) for run in runs[:-1]),
    ]


async def test_a_run_that_went_on_is_not_started_again_and_the_last_one_is(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, ENDLESS):
        first = await client.enqueue("endless", {"n": 0, "until": 2})
        assert await wait_all_ended(pool, 2) == {"completed": 2}
        _, last = await client.runs(first)
        with pytest.raises(ConflictError, match=f"went on as job {last['job_id']}: start that one again"):
            await client.retry_from(first, "again")
        await client.retry_from(last["job_id"], "again")
        await wait_status(pool, last["job_id"], "completed")
    assert len(await client.runs(first)) == 2


async def test_a_run_that_an_item_of_a_map_let_go_on_is_not_rerun_and_forked_before_it_only(
    dsn: str, pool: Pool
) -> None:
    @step
    async def split(ctx: Any, job: dict[str, Any]) -> list[int]:
        return list(job["items"])

    @step
    async def item(ctx: Any, input: int) -> int:
        if input == 2:
            ctx.continue_as_new({"items": []})
        return input

    @step
    async def gather(ctx: Any, input: list[int]) -> list[int]:
        return input

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("mapped", 1, chain(split, map_over(item, at_once=1), gather))):
        first = await client.enqueue("mapped", {"items": [1, 2, 3]})
        assert await wait_all_ended(pool, 2) == {"completed": 2}
        _, last = await client.runs(first)
        many: list[dict[str, Any]] = [{}, {"input": {"items": [7]}}, {"dry_run": True}]
        for options in many:
            with pytest.raises(ConflictError, match=f"went on as job {last['job_id']}"):
                await client.rerun(first, **options)
        with pytest.raises(ConflictError, match=f"went on as job {last['job_id']}"):
            await client.fork(first, "gather")
        assert len(await client.runs(first)) == 2
        fork = await client.fork(first, "item")
        assert (await wait_status(pool, fork))["status"] == "completed"
        assert (await client.rerun(last["job_id"])).job_id is None


async def test_the_next_run_is_of_the_newest_version(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)

    @step
    async def newer(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        return {"newer": job["n"]}

    async with serve(dsn, ENDLESS):
        first = await client.enqueue("endless", {"n": 0, "until": 1_000_000})

        async def has_run() -> bool:
            return len(await query(pool, "SELECT FROM rkyc.history")) >= 3

        await wait_for(has_run, what="three runs")
        async with serve(dsn, Pipeline("endless", 2, newer)):

            async def has_ended() -> Any:
                last = (await client.runs(first))[-1]
                return last if last["status"] == "completed" and last["version"] == 2 else None

            last = await wait_for(has_ended, what="a run of version 2")
            assert "newer" in payload.decode((await client.get(last["job_id"]))["result"])


async def test_the_other_branches_of_the_run_end_with_it(dsn: str, pool: Pool) -> None:

    @step
    async def leave(ctx: Any, job: dict[str, Any]) -> None:
        if not job.get("last"):
            ctx.continue_as_new({"last": True})

    @step
    async def linger(ctx: Any, job: dict[str, Any]) -> None:
        await asyncio.sleep(0 if job.get("last") else 60)

    @step
    async def meet(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"met": sorted(input)}

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("parting", 1, chain(group(leave, linger), meet))) as worker:
        first = await client.enqueue("parting", {})
        assert await wait_all_ended(pool, 2) == {"completed": 2}
        last = (await client.runs(first))[-1]
        assert payload.decode((await client.get(last["job_id"]))["result"]) == {"met": ["leave", "linger"]}

        async def is_idle() -> bool:
            return worker.busy == 0

        await wait_for(is_idle)
    assert await tasks_left(pool) == []
