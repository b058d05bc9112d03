"""The users' test kit: inline runs, drains, the clock that jumps, deaths at named steps, assertions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rkyc.engine.suspend import Suspend
from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.batch import Batch
from rkyc.flow.graph import chain, chord
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.testing.kit import Kit

pytestmark = pytest.mark.anyio


@step
async def count_up(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {**input, "n": input["n"] + 1}


@step(retry=RetryPolicy(max_attempts=3, initial_s=3600.0, max_s=86_400.0, jitter=False))
async def answer_late(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    if ctx.attempt < 3:
        raise RetryableException("not yet")
    return {**input, "at": ctx.now.timestamp()}


@step
async def refuse(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    raise PermanentException("never")


@step
async def add_up(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"sum": sum(one["n"] for one in input.values())}


counting = Pipeline(
    "counting", 1, chain(count_up.named("one"), count_up.named("two"), count_up.named("three"))
)
late = Pipeline("late", 1, chain(count_up, answer_late))
refusing = Pipeline("refusing", 1, chain(count_up, refuse))
meeting = Pipeline(
    "meeting", 1, chain(count_up, chord([count_up.named("left"), count_up.named("right")], add_up))
)


async def test_a_job_runs_to_its_end(rkyc_kit: Kit) -> None:
    job = await rkyc_kit.run_inline(counting, {"n": 0})
    assert (job.status, job.result, job.ran) == ("completed", {"n": 3}, ["one", "two", "three"])
    assert [one.status for one in job.steps.values()] == ["completed"] * 3


async def test_a_failure_is_told_and_not_raised(rkyc_kit: Kit) -> None:
    job = await rkyc_kit.run_inline(refusing, {"n": 0})
    assert (job.status, job.error_code, job.error_message) == ("failed", "PERMANENT", "never")
    assert [one.how for one in job.attempts] == ["completed", "failed"]


def test_no_plugin_for_async_tests_is_needed(rkyc_kit: Kit) -> None:
    assert asyncio.run(rkyc_kit.run_inline(counting, {"n": 4})).result == {"n": 7}


async def test_the_clock_jumps_over_the_pauses_between_attempts(rkyc_kit: Kit) -> None:
    began = datetime.now(UTC)
    job = await rkyc_kit.run_inline(late, {"n": 0})
    assert job.ran == ["count_up", "answer_late", "answer_late", "answer_late"]
    # 3600 s before the second attempt, 7200 s before the third.
    assert job.result["at"] - began.timestamp() >= 10_800 - 1
    assert rkyc_kit.clock.offset_s == pytest.approx(10_800, abs=60)


async def test_a_job_of_next_week_runs_when_the_clock_is_there(rkyc_kit: Kit) -> None:
    week = timedelta(days=7)
    job_id = await rkyc_kit.enqueue(counting, {"n": 0}, run_at=datetime.now(UTC) + week)
    (job,) = await rkyc_kit.drain(within_s=week.total_seconds() - 60)
    assert (job.job_id, job.status, job.wait_reason) == (job_id, "pending", "scheduled")
    (job,) = await rkyc_kit.drain()
    assert job.status == "completed"
    assert await rkyc_kit.drain() == []


async def test_a_drain_runs_what_any_program_enqueued(rkyc_kit: Kit) -> None:
    rkyc_kit.add(Registry([counting, meeting]))
    await rkyc_kit.enqueue(counting, {"n": 0})
    async with rkyc_kit.client() as client:
        await client.enqueue("meeting", {"n": 1})
    first, second = await rkyc_kit.drain()
    assert (first.result, second.result) == ({"n": 3}, {"sum": 6})
    assert sorted(second.ran) == ["add_up", "count_up", "left", "right"]


@pytest.mark.parametrize(
    ("when", "ran"),
    [("before_commit", ["one", "two", "two", "three"]), ("after_commit", ["one", "two", "three"])],
)
async def test_another_worker_goes_on_where_one_died(rkyc_kit: Kit, when: Any, ran: list[str]) -> None:
    rkyc_kit.crash_at("two", when)
    job = await rkyc_kit.run_inline(counting, {"n": 0})
    assert (job.status, job.result, job.ran) == ("completed", {"n": 3}, ran)
    assert [one.how for one in job.attempts].count("crashed") == ran.count("two") - 1


async def keep(conn: Any, outputs: list[Any]) -> None: ...


@pytest.mark.parametrize("save", [None, keep], ids=["plain", "saves"])
@pytest.mark.parametrize(("when", "ran"), [("before_commit", 2), ("after_commit", 1)])
async def test_a_batch_is_lost_with_its_worker_and_made_again(
    rkyc_kit: Kit, when: Any, ran: int, save: Any
) -> None:
    calls: list[int] = []

    @step(name="pair", batch=Batch(2, 0.05), save=save)
    async def pair(ctx: Any, inputs: list[Any]) -> list[Any]:
        calls.append(len(inputs))
        return inputs

    rkyc_kit.crash_at("pair", when)
    job = await rkyc_kit.run_inline(Pipeline("paired", 1, chain(pair, count_up)), {"n": 0})
    assert (job.status, job.result, len(calls)) == ("completed", {"n": 1}, ran)
    hows = [one.how for one in job.attempts if one.step == "pair"]
    assert hows == ["crashed", "completed"][2 - ran :]


async def undo(ctx: Any, output: Any) -> None: ...


async def test_the_failure_that_a_job_is_undone_for_is_an_attempt_that_may_crash(rkyc_kit: Kit) -> None:
    undone = Pipeline("undone", 1, chain(count_up.with_policy(compensate=step(undo)), refuse))
    rkyc_kit.crash_at("refuse")
    job = await rkyc_kit.run_inline(undone, {"n": 0})
    assert job.status == "failed"
    assert [one.how for one in job.attempts if one.step == "refuse"] == ["crashed", "failed"]


async def test_a_death_at_the_last_commit_leaves_a_job_that_ended(rkyc_kit: Kit) -> None:
    rkyc_kit.crash_at("three", "after_commit")
    job = await rkyc_kit.run_inline(counting, {"n": 0})
    assert (job.status, job.ran) == ("completed", ["one", "two", "three"])


async def test_a_step_that_always_takes_its_process_down_is_buried(rkyc_kit: Kit) -> None:
    rkyc_kit.crash_at("two", times=5)
    job = await rkyc_kit.run_inline(counting, {"n": 0})
    assert (job.status, job.error_code) == ("failed", "POISON")


async def test_a_join_runs_once_over_a_death_of_its_members(rkyc_kit: Kit) -> None:
    rkyc_kit.crash_at("left")
    job = await rkyc_kit.run_inline(meeting, {"n": 1})
    assert (job.status, job.result, job.ran.count("add_up")) == ("completed", {"sum": 6}, 1)


async def test_a_crash_that_was_not_reached_fails_the_test(rkyc_kit: Kit) -> None:
    rkyc_kit.crash_at("nowhere")
    with pytest.raises(AssertionError, match="crash_at\\('nowhere', 'before_commit'\\) was not reached"):
        await rkyc_kit.run_inline(counting, {"n": 0})


async def test_what_was_enqueued_can_be_asserted(rkyc_kit: Kit) -> None:
    await rkyc_kit.enqueue(counting, {"n": 1, "who": "anna"}, lane="high")
    await rkyc_kit.assert_enqueued(counting, {"who": "anna"})
    await rkyc_kit.assert_enqueued("counting", lane="high", count=1)
    await rkyc_kit.assert_enqueued("late", count=0)
    with pytest.raises(AssertionError, match=r"with \{'who': 'otto'\}, found 0; enqueued were: .*anna"):
        await rkyc_kit.assert_enqueued(counting, {"who": "otto"})


async def test_a_body_that_never_ends_fails_the_test(rkyc_kit: Kit) -> None:
    @step
    async def hang(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    rkyc_kit.patience_s = 0.5
    with pytest.raises(AssertionError, match=r"no standstill after 0\.5 s"):
        await rkyc_kit.run_inline(Pipeline("hanging", 1, hang), {})


async def test_a_wait_with_a_time_is_over_when_the_clock_is_there(rkyc_kit: Kit) -> None:
    @step
    async def wait_a_day(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        if ctx.now.timestamp() < input["until"]:
            raise Suspend("event", "never", datetime.fromtimestamp(input["until"], UTC))
        return {}

    until = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    job = await rkyc_kit.run_inline(Pipeline("patient", 1, wait_a_day), {"until": until})
    assert (job.status, job.ran) == ("completed", ["wait_a_day"])


async def test_a_job_that_waits_for_what_no_clock_brings_comes_back(rkyc_kit: Kit) -> None:
    @step
    async def wait_for_ever(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        raise Suspend("event", "never")

    job = await rkyc_kit.run_inline(Pipeline("stuck", 1, wait_for_ever), {})
    assert (job.status, job.wait_reason) == ("pending", "event")
