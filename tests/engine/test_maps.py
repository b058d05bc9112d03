"""Maps: an item per element, each on its own, bounded over the fleet, and one list at the end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, group, map_over, route
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.ledger import count, read_ledger
from tests.support.probes import pause, tell

pytestmark = pytest.mark.anyio
QUICK = RetryPolicy(max_attempts=3, initial_s=0.01, max_s=0.02)


@step
async def list_files(ctx: Any, job: dict[str, Any]) -> list[Any]:
    return job["elements"]


@step(retry=QUICK)
async def read(ctx: Any, input: Any, job: dict[str, Any]) -> dict[str, Any]:
    manner = input.get("manner") if isinstance(input, dict) else None
    tell(ctx, job, f"{ctx.item.index}")
    if manner == "retried" and ctx.attempt < 3:
        raise RetryableException("not yet")
    if manner == "permanent" and not Path(job["ledger"] + ".healed").exists():
        raise PermanentException("can't be read")
    await asyncio.sleep(job.get("wait", 0))
    return {"element": input, "index": ctx.item.index, "key": ctx.item.key, "attempt": ctx.attempt}


@step
async def collect(ctx: Any, input: list[Any]) -> dict[str, Any]:
    return {"results": input}


READING = Pipeline("reading", 1, chain(list_files, map_over(read, at_once=3, key="name"), collect))


def job(tmp_path: Path, *elements: Any, **more: Any) -> dict[str, Any]:
    return {"ledger": str(tmp_path / "ledger"), "job": "1", "elements": list(elements), **more}


async def run(pool: Pool, pipeline: Pipeline, given: dict[str, Any], **more: Any) -> Any:
    row = await wait_status(pool, await Client(pool=pool).enqueue(pipeline.name, given), timeout_s=60)
    assert row["status"] == "completed", row["error_message"]
    return json.loads(row["result"])


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 40])
async def test_each_element_gets_an_item_and_the_results_stand_in_their_order(
    dsn: str, pool: Pool, tmp_path: Path, number: int
) -> None:
    elements = [{"name": f"f{index}", "n": index} for index in range(number)]
    async with serve(dsn, READING):
        result = await run(pool, READING, job(tmp_path, *elements))
    assert result["results"] == [
        {"element": element, "index": index, "key": f"f{index}", "attempt": 1}
        for index, element in enumerate(elements)
    ]
    assert await tasks_left(pool) == []


@step
async def look_twice(ctx: Any, read: dict[str, Any], list_files: list[Any]) -> list[Any]:
    return [read["element"], len(list_files), ctx.item.index]


@step
async def report(
    ctx: Any, look_twice: list[Any], list_files: list[Any], job: dict[str, Any]
) -> dict[str, Any]:
    return {"seen": look_twice, "listed": list_files}


async def test_a_chain_runs_per_item_and_its_results_have_a_name(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    """Also what is asked for from across the map's bounds, and elements that are no objects."""
    pipeline = Pipeline(
        "chained_map", 1, chain(list_files, map_over(chain(read, look_twice), at_once=2), pause, report)
    )
    async with serve(dsn, pipeline), serve(dsn, pipeline):
        result = await run(pool, pipeline, job(tmp_path, "a", 2, None, [3], {"x": 1}))
    assert result["listed"] == ["a", 2, None, [3], {"x": 1}]
    assert result["seen"] == [["a", 5, 0], [2, 5, 1], [None, 5, 2], [[3], 5, 3], [{"x": 1}, 5, 4]]


async def test_no_more_items_are_under_way_than_declared(dsn: str, pool: Pool, tmp_path: Path) -> None:
    seen = []

    async def look() -> bool:
        rows = await query(
            pool,
            """SELECT (SELECT count(*) FROM rkyc.ready WHERE branch > 131071) + (SELECT count(*) FROM rkyc.running WHERE branch > 131071) AS n,
                      (SELECT count(*) FROM rkyc.history) AS ended""",
        )
        seen.append(rows[0]["n"])
        return bool(rows[0]["ended"])

    async with serve(dsn, READING), serve(dsn, READING):
        await Client(pool=pool).enqueue("reading", job(tmp_path, *range(40), wait=0.01))
        await wait_for(look)
    assert max(seen) == 3


async def test_an_item_is_tried_again_by_itself_and_shown_for_itself(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    given = job(tmp_path, {"name": "bad", "manner": "retried"}, {"name": "good"}, wait=0.05)
    async with serve(dsn, READING) as worker:
        result = await run(pool, READING, given)
        assert [one["attempt"] for one in result["results"]] == [3, 1]
        rows = await query(pool, "SELECT step, item_key, attempt, status, worker FROM rkyc.step_status")
        name = worker.name
    assert [tuple(row) for row in rows] == [
        ("list_files", "", 1, "completed", name),
        ("read", "bad", 3, "completed", name),
        ("read", "good", 1, "completed", name),
        ("collect", "", 1, "completed", name),
    ]
    assert count(read_ledger(tmp_path / "ledger"), "0") == {("1", "read"): 3}


async def test_items_that_wait_for_their_turn_say_so(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, READING):
        one = await Client(pool=pool).enqueue("reading", job(tmp_path, *range(6), wait=30))

        async def look() -> Any:
            rows = await query(
                pool, "SELECT item_key, status, wait_reason FROM rkyc.step_status WHERE step = 'read'"
            )
            return rows if sum(row["status"] == "running" for row in rows) == 3 else None

        rows = await wait_for(look)
        assert [tuple(row) for row in rows] == [
            *((str(n), "running", None) for n in range(3)),
            *((str(n), "pending", "map") for n in range(3, 6)),
        ]
        assert await Client(pool=pool).cancel(one)
        assert await tasks_left(pool) == []
        rows = await query(pool, "SELECT DISTINCT status FROM rkyc.step_status WHERE step = 'read'")
        assert [row["status"] for row in rows] == ["cancelled"]


async def test_a_failed_item_ends_the_job_and_a_retry_keeps_the_bound(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    elements = [{"name": f"f{n}"} for n in range(12)]
    elements[4]["manner"] = "permanent"
    client = Client(pool=pool)
    async with serve(dsn, READING):
        one = await client.enqueue("reading", job(tmp_path, *elements, wait=0.02))
        row = await wait_status(pool, one)
        assert (row["status"], row["error_code"]) == ("failed", "PERMANENT")
        assert await tasks_left(pool) == []
        failed = await query(pool, "SELECT item_key FROM rkyc.step_status WHERE status = 'failed'")
        assert [row["item_key"] for row in failed] == ["f4"]
        Path(f"{tmp_path / 'ledger'}.healed").touch()
        await client.retry(one)
        held = await query(pool, "SELECT count(*) AS n FROM rkyc.waiting WHERE kind = 'map'")
        row = await wait_status(pool, one, "completed", "failed")
    assert held[0]["n"] >= 4
    assert row["status"] == "completed"
    assert [each["element"] for each in json.loads(row["result"])["results"]] == elements
    ran = Counter(entry.what for entry in read_ledger(tmp_path / "ledger"))
    assert ran["0"] == 1


async def test_an_optional_item_that_fails_leaves_none_in_its_place(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    pipeline = Pipeline(
        "lenient",
        1,
        chain(list_files, map_over(chain(read, pause, optional=True), at_once=2), collect),
    )
    elements = [{"name": "a"}, {"name": "b", "manner": "permanent"}, {"name": "c"}]
    async with serve(dsn, pipeline):
        one = await Client(pool=pool).enqueue("lenient", job(tmp_path, *elements))
        row = await wait_status(pool, one)
    assert (row["status"], row["partial"]) == ("completed", True)
    results = json.loads(row["result"])["results"]
    assert [result is None for result in results] == [False, True, False]
    (warned,) = json.loads(row["warnings"])
    assert warned["step"] == "read"
    skipped = await query(pool, "SELECT item_key, step FROM rkyc.step_status WHERE status = 'skipped'")
    assert [tuple(row) for row in skipped] == [("1", "pause")]


@step
async def sort_out(ctx: Any, input: dict[str, Any]) -> str:
    return str(input["kind"])


@step
async def scan(ctx: Any, input: str) -> str:
    return f"scanned {ctx.item.index}"


@step
async def copy(ctx: Any, input: str) -> str:
    return f"copied {ctx.item.index}"


async def test_items_take_routes_of_their_own(dsn: str, pool: Pool, tmp_path: Path) -> None:
    pipeline = Pipeline(
        "sorted",
        1,
        chain(list_files, map_over(route(sort_out, {"image": scan, "text": copy, "other": None})), collect),
    )
    async with serve(dsn, pipeline):
        result = await run(
            pool, pipeline, job(tmp_path, *({"kind": kind} for kind in ("image", "text", "other", "image")))
        )
    assert result["results"] == ["scanned 0", "copied 1", "other", "scanned 3"]
    rows = await query(
        pool,
        "SELECT step, item, status FROM rkyc.step_status WHERE step IN ('scan', 'copy', 'skip_1') ORDER BY item, step",
    )
    taken = [(row["step"], row["item"]) for row in rows if row["status"] == "completed"]
    assert taken == [("scan", 0), ("copy", 1), ("skip_1", 2), ("scan", 3)]
    assert {row["status"] for row in rows} == {"completed", "skipped"}


@pytest.mark.parametrize("elements", [[], [1, 2, 3, 4, 5]])
async def test_maps_follow_one_another_and_stand_in_groups(
    dsn: str, pool: Pool, tmp_path: Path, elements: list[int]
) -> None:
    @step
    async def double(ctx: Any, input: int) -> int:
        return 2 * input

    pipeline = Pipeline(
        "many_maps",
        1,
        chain(
            list_files,
            group(
                chain(map_over(double, at_once=2), map_over(double.named("quadruple"), at_once=4)),
                map_over(double.named("other")),
                pause,
            ),
            map_over(double.named("last"), over="collect_2"),
        ),
    )
    async with serve(dsn, pipeline), serve(dsn, pipeline):
        result = await run(pool, pipeline, job(tmp_path, *elements))
    assert result == [8 * element for element in elements]


async def test_two_hundred_items_of_many_jobs_leave_nothing_behind(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, READING, slots=20), serve(dsn, READING, slots=20, prefetch=5):
        await Client(pool=pool).enqueue_many("reading", [job(tmp_path, *range(20)) for _ in range(10)])
        assert await wait_all_ended(pool, 10, timeout_s=60) == {"completed": 10}
    assert await tasks_left(pool) == []
    rows = await query(
        pool, "SELECT count(*) AS n, count(DISTINCT (job_id, branch, step)) AS each FROM rkyc.checkpoint"
    )
    assert rows[0]["n"] == rows[0]["each"] == 10 * 22 - 10


async def test_each_item_runs_where_its_lane_is_served(dsn: str, pool: Pool, tmp_path: Path) -> None:
    """The step before, the items, one step of their chain and the step behind, on workers of three lanes."""
    pipeline = Pipeline(
        "laned",
        1,
        chain(
            list_files,
            map_over(chain(read.with_policy(lane="ocr"), pause.with_policy(lane="llm")), at_once=4),
            collect,
        ),
    )
    async with (
        serve(dsn, pipeline, lanes=("default",)) as plain,
        serve(dsn, pipeline, lanes=("ocr",)) as ocr,
        serve(dsn, pipeline, lanes=("llm",)) as llm,
    ):
        await run(pool, pipeline, job(tmp_path, *range(10)))
        # By number: the workers of one process share its name.
        rows = await query(
            pool,
            "SELECT step, worker_id FROM rkyc.checkpoint UNION SELECT 'collect', worker_id FROM rkyc.history",
        )
        where = {(row["step"], row["worker_id"]) for row in rows}
        assert where == {
            ("list_files", plain.worker_id),
            ("read", ocr.worker_id),
            ("pause", llm.worker_id),
            ("collect", plain.worker_id),
        }


async def test_the_deadline_of_a_job_ends_all_its_items(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, READING):
        one = await Client(pool=pool).enqueue("reading", job(tmp_path, *range(9), wait=60), deadline_s=0.5)
        row = await wait_status(pool, one)
        assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED")
        assert await tasks_left(pool) == []


@pytest.mark.parametrize("given", [{"not": "a list"}, None, "text"])
async def test_what_is_no_list_fails_the_step_that_gave_it(
    dsn: str, pool: Pool, tmp_path: Path, given: Any
) -> None:
    async with serve(dsn, READING):
        one = await Client(pool=pool).enqueue("reading", job(tmp_path) | {"elements": given})
        row = await wait_status(pool, one)
    assert (row["status"], row["error_code"], row["pipeline_step"]) == (
        "failed",
        "OUTPUT_INVALID",
        "list_files",
    )


async def test_a_job_goes_on_from_a_step_behind_its_map_and_from_one_before(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, READING):
        given = job(tmp_path, "a", "b", "c", "d")
        one = await client.enqueue("reading", given)
        await wait_status(pool, one, "completed")
        forked = await client.fork(one, "collect")
        result = json.loads((await wait_status(pool, forked, "completed"))["result"])
        assert [each["element"] for each in result["results"]] == given["elements"]
        assert len(read_ledger(tmp_path / "ledger")) == 4
        steps = await client.steps(forked)
        assert [row["item_key"] for row in steps] == ["", "0", "1", "2", "3", ""]
        await client.retry_from(one, "collect")
        await wait_status(pool, one, "completed")
        assert len(read_ledger(tmp_path / "ledger")) == 4
        await client.retry_from(one, "read")
        await wait_status(pool, one, "completed")
        assert len(read_ledger(tmp_path / "ledger")) == 8
