"""A registry in the test kit counts whole: schedules, policies of lanes, handlers of events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from rkyc.errors import RetryableException
from rkyc.flow.broadcast import Broadcast, Subscription
from rkyc.flow.graph import chain
from rkyc.flow.lane import LanePolicy
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.schedule import Schedule
from rkyc.flow.step import step
from rkyc.testing.kit import Kit
from rkyc.testing.runs import JobRun

pytestmark = pytest.mark.anyio
HOUR_S = 3600.0


@step
async def double(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"n": input["n"] * 2}


@step
async def rest(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    await ctx.sleep(3 * HOUR_S)
    return input


doubling = Pipeline("doubling", 1, double)
resting = Pipeline("resting", 1, rest)


def hourly(**options: Any) -> Registry:
    schedule = Schedule("hourly", "doubling", {"n": 4}, interval_s=HOUR_S, **options)
    return Registry([doubling, resting], schedules=[schedule])


def ticks_of(runs: list[JobRun]) -> list[datetime]:
    return [datetime.fromisoformat(run.metadata["tick"]) for run in runs]


def test_overlay_forgets_nothing_that_a_registry_holds() -> None:
    async def handle(event: Broadcast) -> None:
        pass

    whole = Registry(
        [doubling],
        [LanePolicy("slow", ttl_s=60.0)],
        schedules=[Schedule("hourly", "doubling", interval_s=HOUR_S)],
        subscriptions=[Subscription("rates", handle)],
    )
    assert vars(Registry().overlay(whole)) == vars(whole)
    # What is there already comes once.
    assert vars(whole.overlay(whole)) == vars(whole)


def test_of_one_name_the_later_counts_in_an_overlay() -> None:
    newer = Pipeline("doubling", 1, chain(double, double.named("again")))
    older = Registry([doubling], [LanePolicy("slow", ttl_s=60.0)])
    both = older.overlay(Registry([newer], [LanePolicy("slow", ttl_s=5.0)]))
    assert list(both) == [newer]
    assert both.policies["slow"].ttl_s == 5.0


async def test_a_schedule_ticks_as_the_clock_passes(rkyc_kit: Kit) -> None:
    rkyc_kit.add(hourly())
    runs = await rkyc_kit.drain(within_s=3 * HOUR_S)
    assert [(run.status, run.result) for run in runs] == [("completed", {"n": 8})] * 3
    first, second, third = ticks_of(runs)
    assert second - first == third - second == timedelta(hours=1)
    assert third <= rkyc_kit.clock.now() < third + timedelta(hours=1)


async def test_without_a_bound_nothing_runs_for_the_sake_of_a_tick(rkyc_kit: Kit) -> None:
    rkyc_kit.add(hourly())
    assert await rkyc_kit.drain() == []
    assert rkyc_kit.clock.offset_s == 0


@pytest.mark.parametrize(("catch_up", "count"), [("all", 3), ("last", 1), ("none", 0)])
async def test_ticks_that_were_passed_over_are_caught_up_as_declared(
    rkyc_kit: Kit, catch_up: Any, count: int
) -> None:
    rkyc_kit.add(hourly(catch_up=catch_up, overlap="allow"))
    assert await rkyc_kit.drain() == []
    # To the middle of an hour: none of the ticks is on time.
    into_hour_s = rkyc_kit.clock.now().timestamp() % HOUR_S
    rkyc_kit.clock.advance(3.5 * HOUR_S - into_hour_s)
    assert len(await rkyc_kit.drain()) == count


async def test_a_jump_over_ticks_fires_them_too(rkyc_kit: Kit) -> None:
    rkyc_kit.add(hourly())
    job = await rkyc_kit.run_inline(resting, {})
    assert job.status == "completed"
    await rkyc_kit.drain()
    await rkyc_kit.assert_enqueued(doubling, {"n": 4}, count=1)


async def test_a_task_expires_at_the_ttl_of_its_lane(rkyc_kit: Kit) -> None:
    quick = Pipeline("quick", 1, double.with_policy(lane="quick"))
    rkyc_kit.add(Registry([quick], [LanePolicy("quick", ttl_s=60.0)]))
    late = await rkyc_kit.enqueue(quick, {"n": 1})
    rkyc_kit.clock.advance(61)
    # Born at the kit's time: it has waited for no minute.
    punctual = await rkyc_kit.enqueue(quick, {"n": 2})
    runs = {run.job_id: (run.status, run.error_code) for run in await rkyc_kit.drain()}
    assert runs == {late: ("failed", "TTL_EXPIRED"), punctual: ("completed", None)}


async def test_a_wait_for_a_turn_begins_at_the_kits_time(rkyc_kit: Kit) -> None:
    rkyc_kit.clock.advance(HOUR_S)
    await rkyc_kit.enqueue(doubling, {"n": 1}, fair_key="anna")
    conn = await asyncpg.connect(rkyc_kit.dsn)
    try:
        since: datetime = await conn.fetchval("SELECT since FROM rkyc.waiting WHERE kind = 'fair'")
    finally:
        await conn.close()
    assert abs(rkyc_kit.clock.now() - since) < timedelta(minutes=10)


async def test_jobs_of_ticks_are_born_at_the_kits_time(rkyc_kit: Kit) -> None:
    schedule = Schedule("hourly", "quick", {"n": 1}, interval_s=HOUR_S, lane="quick")
    quick = Pipeline("quick", 1, double)
    rkyc_kit.add(Registry([quick], [LanePolicy("quick", ttl_s=60.0)], schedules=[schedule]))
    runs = await rkyc_kit.drain(within_s=4 * HOUR_S)
    assert [run.status for run in runs] == ["completed"] * 4


async def test_a_deadline_counts_from_the_kits_time(rkyc_kit: Kit) -> None:
    await rkyc_kit.run_inline(resting, {})
    job = await rkyc_kit.run_inline(doubling, {"n": 1}, deadline_s=60.0)
    assert job.status == "completed"


async def test_dead_letters_are_started_again_by_their_lanes_policy(rkyc_kit: Kit) -> None:
    tries: list[int] = []

    @step(retry=RetryPolicy(max_attempts=1), lane="flaky")
    async def answer_late(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        tries.append(1)
        if len(tries) < 3:
            raise RetryableException("not yet")
        return {}

    flaky = Pipeline("flaky", 1, answer_late)
    rkyc_kit.add(Registry([flaky], [LanePolicy("flaky", redrive_every_s=300.0)]))
    job = await rkyc_kit.run_inline(flaky, {})
    assert (job.status, len(tries)) == ("failed", 1)
    await rkyc_kit.drain(within_s=300)
    assert ((await rkyc_kit.read(job.job_id)).status, len(tries)) == ("failed", 2)
    await rkyc_kit.drain(within_s=300)
    assert ((await rkyc_kit.read(job.job_id)).status, len(tries)) == ("completed", 3)


async def test_a_handler_gets_each_event_once_over_all_workers(rkyc_kit: Kit) -> None:
    heard: list[Any] = []

    async def hear(event: Broadcast) -> None:
        heard.append(event.payload)

    registry = Registry([doubling])
    registry.subscribe("rates", hear)
    rkyc_kit.add(registry)
    async with rkyc_kit.client() as client:
        await client.broadcast("rates", 1)
        await rkyc_kit.run_inline(doubling, {"n": 1})
        assert heard == [1]
        await client.broadcast("rates", 2)
        await client.broadcast("others", 3)
        rkyc_kit.crash_at("double", "after_commit")
        await rkyc_kit.run_inline(doubling, {"n": 1})
    await rkyc_kit.drain()
    assert heard == [1, 2]


async def test_an_event_of_the_last_step_is_heard_before_the_run_is_over(rkyc_kit: Kit) -> None:
    heard: list[Any] = []

    async def hear(event: Broadcast) -> None:
        heard.append(event.payload)

    async def tell(conn: Any, output: dict[str, Any]) -> None:
        await conn.execute("SELECT rkyc.broadcast('done', 'event', '{}')")

    telling = Pipeline("telling", 1, double.with_policy(save=tell))
    rkyc_kit.add(Registry([telling], subscriptions=[Subscription("done", hear)]))
    await rkyc_kit.run_inline(telling, {"n": 1})
    assert heard == [{}]


async def test_a_handler_that_always_fails_fails_the_test(rkyc_kit: Kit) -> None:
    async def refuse(event: Broadcast) -> None:
        raise RuntimeError("meant to fail")

    rkyc_kit.patience_s = 0.5
    rkyc_kit.add(Registry([doubling], subscriptions=[Subscription("rates", refuse)]))
    async with rkyc_kit.client() as client:
        await client.broadcast("rates", 1)
    with pytest.raises(AssertionError, match="does a handler of events fail each time"):
        await rkyc_kit.drain()
