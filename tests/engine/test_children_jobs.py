"""Child jobs: started once, waited for without a slot, ended with their parent as they were started to be."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.errors import WorkerBaseException
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.queue import children as store
from tests.engine.test_waits import wait_reason
from tests.support.crashes import entries, make_input
from tests.support.engine import query, read_job, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.ledger import count
from tests.support.waiters import registry

pytestmark = pytest.mark.anyio


def leading(
    tmp_path: Path, manner: str, number: int, *, parent: str = "parent", **more: Any
) -> dict[str, Any]:
    """The input of a parent of so many children; `child` is what each of them is told."""
    child = more.pop("child", {})
    inputs = [make_input(tmp_path, f"child-{n}", **child) for n in range(number)]
    return make_input(tmp_path, parent, manner=manner, children=inputs, **more)


async def child_ids(pool: Pool) -> list[UUID]:
    return [row["job_id"] for row in await query(pool, "SELECT job_id FROM rkyc.child_job ORDER BY name")]


async def states(pool: Pool, pipeline: str) -> list[str]:
    rows = await query(
        pool, f"SELECT status FROM rkyc.job_status WHERE pipeline = '{pipeline}' ORDER BY created_at"
    )
    return [row["status"] for row in rows]


@pytest.mark.parametrize("manner", ["one by one", "each", "all"])
async def test_a_parent_gets_the_results_of_its_children(
    dsn: str, pool: Pool, tmp_path: Path, manner: str
) -> None:
    client = Client(pool=pool)
    # One slot: a parent that kept it would wait for ever.
    async with serve(dsn, registry=registry, slots=1):
        job_id = await client.enqueue("leading", leading(tmp_path, manner, 5))
        said = await client.result(job_id, 30)
    assert said == {"results": [{"done": f"child-{n}"} for n in range(5)]}
    assert count(entries(tmp_path), "ended").total() == 6
    assert await tasks_left(pool) == []
    rows = await query(pool, f"SELECT ended FROM rkyc.child_job WHERE parent_id = '{job_id}'")
    assert [row["ended"] for row in rows] == ["completed"] * 5


async def test_a_waiting_parent_says_for_whom_and_runs_again_once(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, slots=4) as worker:
        job_id = await client.enqueue("leading", leading(tmp_path, "all", 20, child={"wait": 0.3}))
        row = await wait_reason(pool, job_id, "child")
        assert re.fullmatch(r"waiting for \d+ children", row["wait_detail"])
        await client.result(job_id, 30)
        assert worker.busy == 0
    assert [one.what for one in entries(tmp_path) if one.job == "parent"] == ["began", "began", "ended"]


async def test_a_retry_finds_the_children_that_were_started(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("leading", leading(tmp_path, "all", 3, failures=2))
        assert len((await client.result(job_id, 30))["results"]) == 3
    assert len(await child_ids(pool)) == 3
    assert await states(pool, "working") == ["completed"] * 3


async def test_children_of_two_branches_are_kept_apart(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("leading_by_two", leading(tmp_path, "all", 3))
        assert await client.result(job_id, 30) == {"inputs": ["l1", "l2"]}
    assert len(await child_ids(pool)) == 6


async def test_a_child_that_fails_fails_its_parent_and_the_others_are_cancelled(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    inputs = [make_input(tmp_path, "bad", fails=True), make_input(tmp_path, "slow", wait=60)]
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue(
            "leading", make_input(tmp_path, "parent", manner="each", children=inputs)
        )
        row = await wait_status(pool, job_id)
        assert (row["status"], row["error_code"]) == ("failed", "CHILD_FAILED")
        assert "PERMANENT the child was meant to fail" in row["error_message"]
        await wait_all_ended(pool, 3)
    assert await states(pool, "working") == ["failed", "cancelled"]
    assert await query(pool, "SELECT FROM rkyc.orphaned") == [] or await tasks_left(pool) == []


async def test_a_failure_may_be_returned_instead(dsn: str, pool: Pool, tmp_path: Path) -> None:
    inputs = [make_input(tmp_path, "good"), make_input(tmp_path, "bad", fails=True)]
    told = make_input(tmp_path, "parent", manner="all", children=inputs, on_failure="return")
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        said = await client.result(await client.enqueue("leading", told), 30)
    good, bad = said["results"]
    assert (good["status"], good["result"], good["error_code"]) == ("completed", {"done": "good"}, None)
    assert (bad["status"], bad["result"], bad["error_code"]) == ("failed", None, "PERMANENT")


@pytest.mark.parametrize(("on_parent_end", "left"), [("cancel", "cancelled"), ("leave", "running")])
@pytest.mark.parametrize("end", ["cancel", "fail"])
async def test_the_end_of_the_parent_reaches_its_children_as_declared(
    dsn: str, pool: Pool, tmp_path: Path, on_parent_end: str, left: str, end: str
) -> None:
    client = Client(pool=pool)
    manner = "all" if end == "cancel" else "fail"
    told = leading(tmp_path, manner, 3, child={"wait": 60}, on_parent_end=on_parent_end)
    async with serve(dsn, registry=registry, grace_s=0):
        parent = await client.enqueue("leading", told)
        if end == "cancel":
            await wait_reason(pool, parent, "child")
            assert await client.cancel(parent)
        assert (await wait_status(pool, parent))["status"] in ("cancelled", "failed")
        for job_id in await child_ids(pool):
            row = await wait_status(pool, job_id, left)
            assert row["error_message"] == ("its parent ended" if left == "cancelled" else None)

        async def forgotten() -> bool:
            return await query(pool, "SELECT FROM rkyc.orphaned") == []

        await wait_for(forgotten)


async def test_grandchildren_are_cancelled_too(dsn: str, pool: Pool, tmp_path: Path) -> None:
    inner = leading(tmp_path, "all", 2, parent="middle", child={"wait": 60})
    outer = make_input(tmp_path, "top", manner="all", children=[inner], pipeline="leading")
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        top = await client.enqueue("leading", outer)

        async def all_run() -> bool:
            return await states(pool, "working") == ["running"] * 2

        await wait_for(all_run)
        await client.cancel(top)
        await wait_all_ended(pool, 4)
    assert await states(pool, "working") == ["cancelled"] * 2


async def test_a_parent_that_completes_leaves_its_children_running(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        parent = await client.enqueue("leading", leading(tmp_path, "forget", 2, child={"wait": 0.5}))
        assert await client.result(parent, 30) == {"started": 2}
        assert "completed" not in await states(pool, "working")
        await wait_all_ended(pool, 3)
    assert await states(pool, "working") == ["completed"] * 2


async def test_a_parent_that_is_started_again_starts_anew_what_did_not_complete(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, grace_s=0):
        inputs = [make_input(tmp_path, "good"), make_input(tmp_path, "slow", wait=60)]
        told = make_input(tmp_path, "parent", manner="all", children=inputs)
        parent = await client.enqueue("leading", told)
        await wait_reason(pool, parent, "child")

        async def first_ended() -> bool:
            return "completed" in await states(pool, "working")

        await wait_for(first_ended)
        await client.cancel(parent)
        await wait_all_ended(pool, 3)
        await client.retry(parent)
        await wait_reason(pool, parent, "child")
        assert sorted(await states(pool, "working")) == ["cancelled", "completed", "running"]


async def test_a_child_that_a_person_starts_again_counts_for_a_parent_that_is_started_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        told = leading(tmp_path, "all", 1, child={"wait": 1.0})
        parent = await client.enqueue("leading", told)
        await wait_reason(pool, parent, "child")
        (child,) = await child_ids(pool)
        await client.cancel(child)
        assert (await wait_status(pool, parent))["error_code"] == "CHILD_FAILED"
        await client.retry(child)
        await client.retry(parent)
        assert (await client.result(parent, 30))["results"] == [{"done": "child-0"}]
    assert await child_ids(pool) == [child]


async def test_a_step_that_a_person_begins_again_starts_children_of_its_own(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        parent = await client.enqueue("leading", leading(tmp_path, "all", 2))
        await client.result(parent, 30)
        before = await child_ids(pool)
        await client.retry_from(parent, "lead")
        assert len((await client.result(parent, 30))["results"]) == 2
    assert not set(before) & set(await child_ids(pool))
    assert await states(pool, "working") == ["completed"] * 4


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"pipeline": "nobody"}, "PIPELINE_UNKNOWN"),
        ({"on_failure": "ignore"}, "DEFINITION_INVALID"),
        ({"on_parent_end": "follow"}, "DEFINITION_INVALID"),
    ],
)
async def test_a_child_that_can_not_be_started_fails_the_step(
    dsn: str, pool: Pool, tmp_path: Path, told: dict[str, str], code: str
) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("leading", leading(tmp_path, "all", 1, **told))
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", code)
    assert await child_ids(pool) == []


async def test_a_child_takes_no_metadata_that_is_no_object(dsn: str, pool: Pool) -> None:
    @step
    async def mislabel(ctx: Any) -> Any:
        return await ctx.spawn("leading", {}, metadata=[1])

    async with serve(dsn, Pipeline("mislabelling", 1, mislabel)):
        job_id = await Client(pool=pool).enqueue("mislabelling", {})
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "INPUT_INVALID")
    assert "expected a dict" in row["error_message"]


async def test_a_pipeline_that_starts_itself_ends_somewhere(dsn: str, pool: Pool) -> None:
    @step
    async def again(ctx: Any, input: dict[str, Any]) -> Any:
        return await ctx.spawn("endless", input)

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("endless", 1, again)):
        job_id = await client.enqueue("endless", {})
        with pytest.raises(WorkerBaseException, match="failed"):
            await client.result(job_id, 60)
    assert len(await query(pool, "SELECT FROM rkyc.job")) == 21


async def test_the_last_of_many_children_wakes_the_parent_whichever_it_is(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry), serve(dsn, registry=registry):
        parents = await client.enqueue_many(
            "leading", [leading(tmp_path, "all", 10, parent=f"parent-{n}") for n in range(10)]
        )
        # All ends come at once, from two processes: whoever is last must see that all others have ended.
        results = await asyncio.gather(*(client.result(job_id, 60) for job_id in parents))
    assert [len(one["results"]) for one in results] == [10] * 10


async def test_a_child_is_started_with_its_row_or_not_at_all(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_child, fails = store.add_child, [True]

    async def fail_once(conn: Any, **values: Any) -> None:
        if fails.pop() if fails else False:
            # The server ends the session between the job and its row.
            await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await add_child(conn, **values)

    monkeypatch.setattr(store, "add_child", fail_once)
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("leading", leading(tmp_path, "all", 1))
        await client.result(job_id, 30)
    assert not fails
    assert (await read_job(pool, job_id))["error_attempts"] == 0
    assert len(await query(pool, "SELECT FROM rkyc.job WHERE pipeline = 'working'")) == 1
