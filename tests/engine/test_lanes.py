"""Lanes, limits and who serves what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.errors import RetryableException, UnknownLaneError, UnknownPipelineError
from rkyc.flow.graph import chain, group
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input
from tests.support.engine import announce, query, read_job, serve, wait_all_ended, wait_for, wait_status
from tests.support.meter import Meter
from tests.support.probes import gather, pause, tell

pytestmark = pytest.mark.anyio


METERS: dict[str, Meter] = {}


@step(retry=RetryPolicy(max_attempts=1))
async def measured(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    meter = METERS.setdefault(job["meter"], Meter())
    await meter.run(job.get("wait", 0.01))
    return {}


@pytest.fixture(autouse=True)
def fresh_meters() -> None:
    METERS.clear()


async def test_an_unknown_lane_or_pipeline_is_refused_and_named(dsn: str, pool: Pool) -> None:
    await announce(pool, Pipeline("simple", 1, measured))
    client = Client(pool=pool)
    with pytest.raises(
        UnknownLaneError, match="no lane is called 'fast': expected one of high, default, low"
    ):
        await client.enqueue("simple", {}, lane="fast")
    with pytest.raises(
        UnknownPipelineError, match="no pipeline is called 'nobody': this database knows simple"
    ):
        await client.enqueue_many("nobody", [{}])


async def test_no_more_tasks_run_at_once_than_there_are_slots(dsn: str, pool: Pool) -> None:
    async with serve(dsn, Pipeline("simple", 1, measured), slots=7, prefetch=20):
        await Client(pool=pool).enqueue_many("simple", [{"meter": "slots"}] * 80)
        await wait_all_ended(pool, 80)
    assert METERS["slots"].most == 7


async def test_a_lane_is_claimed_ahead_only_as_far_as_it_was_asked_for(dsn: str, pool: Pool) -> None:
    gate = asyncio.Event()

    @step
    async def hold(ctx: Any, input: dict[str, Any]) -> None:
        await gate.wait()

    async def held(lane: str) -> int:
        rows = await query(pool, "SELECT count(*) AS n FROM rkyc.running WHERE lane = $1", lane)
        return int(rows[0]["n"])

    async with serve(dsn, Pipeline("held", 1, hold), slots=2, prefetch={"low": 3}):
        client = Client(pool=pool)
        await client.enqueue_many("held", [{}] * 10, lane="default")
        await client.enqueue_many("held", [{}] * 10, lane="low")

        async def are_claimed() -> bool:
            return await held("default") + await held("low") == 5

        await wait_for(are_claimed, what="two tasks that run, and three of the lane low ahead")
        assert await held("default") == 2
        gate.set()
        await wait_all_ended(pool, 20)


async def test_what_is_claimed_ahead_for_one_lane_starves_no_lane_before_it(dsn: str, pool: Pool) -> None:
    began: list[str] = []

    @step
    async def note(ctx: Any, input: dict[str, Any]) -> None:
        began.append(input["lane"])
        await asyncio.sleep(0.005)

    line = Pipeline("noted", 1, note)
    await announce(pool, line)
    client = Client(pool=pool)
    await client.enqueue_many("noted", [{"lane": "low"}] * 600, lane="low")
    async with serve(dsn, line, slots=2, prefetch={"low": 20}):

        async def is_under_way() -> bool:
            return len(began) > 40

        await wait_for(is_under_way)
        await client.enqueue("noted", {"lane": "high"}, lane="high")
        await wait_all_ended(pool, 601)
    # Not behind all of them: what had been claimed ahead, and what ran until the notice came.
    assert began.index("high") < 300


async def test_what_is_claimed_ahead_for_one_lane_is_none_of_a_fair_key_in_another(
    dsn: str, pool: Pool
) -> None:
    gate = asyncio.Event()

    @step
    async def hold(ctx: Any, input: dict[str, Any]) -> None:
        await gate.wait()

    async with serve(dsn, Pipeline("held", 1, hold), slots=2, prefetch={"low": 20}):
        await Client(pool=pool).enqueue_many("held", [{}] * 10, fair_key="x")

        async def are_claimed() -> int:
            return len(await query(pool, "SELECT FROM rkyc.running"))

        await wait_for(are_claimed)
        await asyncio.sleep(0.3)
        assert await are_claimed() == 2
        gate.set()
        await wait_all_ended(pool, 10)


async def test_a_named_resource_bounds_all_steps_that_name_it(dsn: str, pool: Pool) -> None:
    limited = measured.with_policy(limits=("claude",))
    pipelines = [Pipeline(f"limited{number}", 1, limited.named(f"ask{number}")) for number in range(3)]
    async with serve(dsn, *pipelines, limits={"claude": 4}):
        for number in range(3):
            await Client(pool=pool).enqueue_many(f"limited{number}", [{"meter": "claude"}] * 20)
        await wait_all_ended(pool, 60)
    assert METERS["claude"].most == 4


async def test_two_resources_at_once_can_not_block_each_other(dsn: str, pool: Pool) -> None:
    one = Pipeline("one", 1, measured.with_policy(limits=("a", "b")).named("one"))
    other = Pipeline("other", 1, measured.with_policy(limits=("b", "a")).named("other"))
    async with serve(dsn, one, other, limits={"a": 1, "b": 1}):
        client = Client(pool=pool)
        for _ in range(10):
            await client.enqueue("one", {"meter": "both", "wait": 0.001})
            await client.enqueue("other", {"meter": "both", "wait": 0.001})
        assert await wait_all_ended(pool, 20) == {"completed": 20}
    assert METERS["both"].most == 1


async def test_a_step_bounds_itself_and_no_other(dsn: str, pool: Pool) -> None:
    bounded = Pipeline("bounded", 1, measured.with_policy(concurrency=2).named("bounded"))
    free = Pipeline("free", 1, measured.named("free"))
    async with serve(dsn, bounded, free):
        client = Client(pool=pool)
        await client.enqueue_many("bounded", [{"meter": "bounded", "wait": 0.02}] * 20)
        await client.enqueue_many("free", [{"meter": "free", "wait": 0.1}] * 20)
        await wait_all_ended(pool, 40)
    assert METERS["bounded"].most == 2
    assert METERS["free"].most == 20


async def test_high_goes_before_default_before_low_and_low_does_not_starve(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    pipeline = Pipeline("simple", 1, pause)
    await announce(pool, pipeline)
    client = Client(pool=pool)
    for lane in ("low", "default", "high"):
        inputs = [make_input(tmp_path, f"{lane}{number}", wait=0.002) for number in range(40)]
        await client.enqueue_many("simple", inputs, lane=lane)
    async with serve(dsn, pipeline, slots=1):
        await wait_all_ended(pool, 120, timeout_s=18)
    order = [one.job.rstrip("0123456789") for one in entries(tmp_path) if one.what == "began"]
    first = order[:40]
    assert first.count("high") >= 30
    assert 2 <= first.count("low") <= 8, "every eighth claim takes the oldest of any lane"
    assert order[40:80].count("default") >= 25


async def test_a_step_with_a_lane_runs_where_it_is_served(dsn: str, pool: Pool, tmp_path: Path) -> None:
    pipeline = Pipeline(
        "moving",
        1,
        chain(pause.named("here"), pause.with_policy(lane="gpu").named("there"), pause.named("after")),
    )
    async with serve(dsn, pipeline, lanes=("high", "default", "low")) as ordinary:
        client = Client(pool=pool)
        job_id = await client.enqueue("moving", make_input(tmp_path, 1))

        async def waits() -> bool:
            rows = await query(pool, "SELECT FROM rkyc.ready WHERE lane = 'gpu' AND step = 'there'")
            return bool(rows)

        await wait_for(waits)
        assert (await read_job(pool, job_id))["status"] == "pending"
        assert ordinary.busy == 0
        async with serve(dsn, pipeline, lanes=("gpu",)):
            row = await wait_status(pool, job_id)
    assert row["status"] == "completed"
    assert {one.attempt for one in entries(tmp_path)} == {1}


@step(retry=RetryPolicy(max_attempts=2, initial_s=0.01, max_s=0.01))
async def fail_once(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "began")
    if ctx.attempt == 1:
        raise RetryableException("again")
    return {}


async def test_the_second_attempt_of_a_step_with_a_lane_runs_there_too(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    pipeline = Pipeline(
        "moving", 1, chain(pause.named("here"), fail_once.with_policy(lane="gpu").named("there"))
    )
    async with serve(dsn, pipeline):
        client = Client(pool=pool)
        ids = [await client.enqueue("moving", make_input(tmp_path, number)) for number in range(5)]
        async with serve(dsn, pipeline, lanes=("default",)) as ordinary:
            rows = [await wait_status(pool, one) for one in ids]
            ordinary_id = ordinary.worker_id
    assert {row["status"] for row in rows} == {"completed"}
    workers = await query(pool, "SELECT worker_id FROM rkyc.history WHERE step = 'there'")
    assert ordinary_id not in {row["worker_id"] for row in workers}


async def test_what_nobody_here_serves_is_picked_up_by_who_does(dsn: str, pool: Pool, tmp_path: Path) -> None:
    mine, yours = Pipeline("mine", 1, pause), Pipeline("yours", 1, pause)
    await announce(pool, yours)
    async with serve(dsn, mine):
        job_id = await Client(pool=pool).enqueue("yours", make_input(tmp_path, "other"))
        await wait_for(lambda: _waits(pool, job_id, "no_worker"))
        async with serve(dsn, yours):
            assert (await wait_status(pool, job_id))["status"] == "completed"
    assert {one.attempt for one in entries(tmp_path)} == {1}


async def test_a_job_of_an_older_version_waits_for_a_worker_that_serves_it(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    older, newer = Pipeline("mine", 1, pause), Pipeline("mine", 2, pause)
    await announce(pool, older)
    client = Client(pool=pool)
    job_id = await client.enqueue("mine", make_input(tmp_path, 1))
    async with serve(dsn, newer):
        await wait_for(lambda: _waits(pool, job_id, "version_blocked"))
        async with serve(dsn, older):
            assert (await wait_status(pool, job_id))["status"] == "completed"


async def _waits(pool: Pool, job_id: Any, reason: str) -> bool:
    return bool((await read_job(pool, job_id))["wait_reason"] == reason)


async def test_in_a_mixed_fleet_a_job_does_not_wait_for_a_poll(dsn: str, pool: Pool, tmp_path: Path) -> None:
    """Both claim from one lane; what the wrong one gets must reach the right one at once."""
    mine, yours = Pipeline("mine", 1, pause), Pipeline("yours", 1, pause)
    slow = UpkeepOptions()
    async with serve(dsn, mine, upkeep=slow), serve(dsn, yours, upkeep=slow):
        client = Client(pool=pool)
        for round_number in range(6):
            for name in ("mine", "yours"):
                job_id = await client.enqueue(name, make_input(tmp_path, f"{name}{round_number}"))
                await wait_status(pool, job_id, "completed", timeout_s=2)


async def test_the_lane_of_a_member_is_its_own(dsn: str, pool: Pool, tmp_path: Path) -> None:
    pipeline = Pipeline(
        "spread",
        1,
        chain(group(pause.with_policy(lane="gpu").named("a"), pause.named("b")), gather.named("joined")),
    )
    async with (
        serve(dsn, pipeline, lanes=("default",)) as ordinary,
        serve(dsn, pipeline, lanes=("gpu",)) as special,
    ):
        await wait_status(
            pool, await Client(pool=pool).enqueue("spread", make_input(tmp_path, 1)), "completed"
        )
        rows = await query(pool, "SELECT step, worker_id FROM rkyc.checkpoint WHERE step IN ('a', 'b')")
    assert {row["step"]: row["worker_id"] for row in rows} == {
        "a": special.worker_id,
        "b": ordinary.worker_id,
    }
