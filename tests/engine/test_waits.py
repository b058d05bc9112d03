"""Durable sleeps and events to many: without a slot, over retries and restarts."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import RetryableException
from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import Step, step
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input
from tests.support.engine import query, read_job, serve, tasks_left, wait_for, wait_status
from tests.support.ledger import count
from tests.support.waiters import registry

pytestmark = pytest.mark.anyio
# A time there may be none in UTC.
WEST = dt.timezone(dt.timedelta(hours=-12))


async def wait_reason(pool: Pool, job_id: Any, reason: str) -> Any:
    """Wait until a job waits for that reason and return its status row."""

    async def look() -> Any:
        row = await read_job(pool, job_id)
        return row if row["wait_reason"] == reason else None

    return await wait_for(look, what=f"job {job_id} waits: {reason}")


async def test_a_sleep_holds_no_slot_and_says_until_when(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, slots=1) as worker:
        sleeping = await client.enqueue("napping", make_input(tmp_path, "sleeper", naps=[3600]))
        row = await wait_reason(pool, sleeping, "sleep")
        assert row["wait_detail"] == f"sleeping until {row['due_at']:%Y-%m-%dT%H:%M:%SZ}"
        assert row["due_at"] > row["created_at"] + dt.timedelta(minutes=59)
        assert worker.busy == 0
        # The only slot is free for others.
        assert await client.result(await client.enqueue("napping", make_input(tmp_path, 2, naps=[])), 15)
        assert await client.cancel(sleeping)
    assert await tasks_left(pool) == []


async def test_each_sleep_is_slept_once_and_charges_no_attempt(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("napping", make_input(tmp_path, 1, naps=[0.05, 0, 0.05]))
        assert await client.result(job_id, 15) == {"attempt": 1}
    # Once at first, once more behind each sleep that was not over at its first look.
    assert count(entries(tmp_path), "began").total() <= 3
    assert count(entries(tmp_path), "ended").total() == 1


async def test_a_sleep_goes_on_where_it_was_after_a_restart(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("napping", make_input(tmp_path, 1, naps=[3600]))
        before = await wait_reason(pool, job_id, "sleep")
    # Woken too early, by whatever it may be: it sleeps on until the same instant.
    await query(pool, "UPDATE rkyc.waiting SET due_at = now(), since = '2020-01-01'")
    async with serve(dsn, registry=registry):

        async def sleeps_again() -> bool:
            return bool(await query(pool, "SELECT FROM rkyc.waiting WHERE since > '2020-01-02'"))

        await wait_for(sleeps_again)
        assert (await read_job(pool, job_id))["due_at"] == before["due_at"]


async def test_a_retry_does_not_sleep_again(dsn: str, pool: Pool) -> None:
    slept: list[int] = []

    @step(retry=RetryPolicy(max_attempts=2, initial_s=0.0))
    async def nap_and_fail(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        await ctx.sleep(until=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.05))
        slept.append(ctx.attempt)
        if ctx.attempt == 1:
            raise RetryableException("not yet")
        return {}

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("failing_nap", 1, nap_and_fail)):
        assert await client.result(await client.enqueue("failing_nap", {}), 15) == {}
    assert slept == [1, 2]


@pytest.mark.parametrize("name", ["event:create", "signal:ask"])
@pytest.mark.parametrize("answer", [{"id": 7, "due_at": "2026-01-01"}, {"due_at": "2026-01-01"}, 7])
async def test_a_retry_keeps_a_call_that_is_named_like_a_wait(
    dsn: str, pool: Pool, name: str, answer: Any
) -> None:
    paid: list[int] = []

    @step
    async def pay_and_wait(ctx: Any, input: dict[str, Any]) -> Any:
        async def pay() -> Any:
            paid.append(1)
            return answer

        answered = await ctx.call(name, pay)
        # The wait itself begins anew.
        await ctx.wait_event("news", timeout_s=60 if retried else 0.0)
        return answered

    retried: list[int] = []
    client = Client(pool=pool)
    async with serve(dsn, Pipeline("paying", 1, pay_and_wait)):
        job_id = await client.enqueue("paying", {})
        assert (await wait_status(pool, job_id))["status"] == "failed"
        retried.append(1)
        await client.retry(job_id)
        await wait_reason(pool, job_id, "event")
        await client.publish("news", {})
        assert await client.result(job_id, 15) == answer
    assert paid == [1]


@pytest.mark.parametrize(
    "arguments", [{}, {"seconds": 1, "until": dt.datetime.now(dt.UTC)}, {"seconds": float("nan")},
                  {"seconds": 1e12}, {"until": dt.datetime.now(dt.UTC).replace(tzinfo=None)},
                  {"until": dt.datetime.max.replace(tzinfo=dt.UTC)}, {"until": dt.datetime.max.replace(tzinfo=WEST)}]
)  # fmt: skip
async def test_a_sleep_that_can_not_be_meant_fails_the_step(
    dsn: str, pool: Pool, arguments: dict[str, Any]
) -> None:
    @step
    async def nap_wrong(ctx: Any, input: dict[str, Any]) -> None:
        await ctx.sleep(**arguments)

    async with serve(dsn, Pipeline("wrong_nap", 1, nap_wrong)):
        row = await wait_status(pool, await Client(pool=pool).enqueue("wrong_nap", {}))
    assert (row["status"], row["error_code"]) == ("failed", "DEFINITION_INVALID")


async def test_an_event_reaches_all_that_wait_for_its_topic(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        all_ids = await client.enqueue_many("listening", [{"topic": "rates"}] * 20)
        other = await client.enqueue("listening", {"topic": "news"})
        for job_id in [*all_ids, other]:
            row = await wait_reason(pool, job_id, "event")
        assert row["wait_detail"] == "waiting for event news"
        assert await client.publish("rates", {"usd": 1.5}) == 20
        for job_id in all_ids:
            assert await client.result(job_id, 15) == {"heard": [{"usd": 1.5}]}
        assert (await read_job(pool, other))["wait_reason"] == "event"


async def test_only_an_event_that_matches_wakes(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("listening", {"topic": "orders", "match": {"order": 5}})
        await wait_reason(pool, job_id, "event")
        assert await client.publish("orders", {"order": 4}) == 0
        assert await client.publish("orders", {"order": 5, "paid": True}) == 1
        assert await client.result(job_id, 15) == {"heard": [{"order": 5, "paid": True}]}


async def test_the_look_back_finds_an_event_of_before_once(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        await client.publish("rates", 1)
        await client.publish("rates", 2)
        blind = await client.enqueue("listening", {"topic": "rates", "timeout_s": 0.1, "default": "none"})
        assert await client.result(blind, 15) == {"heard": ["none"]}
        seeing = {"topic": "rates", "look_back_s": 60, "events": 3}
        job_id = await client.enqueue("listening", seeing)
        await wait_reason(pool, job_id, "event")
        await client.publish("rates", 3)
        assert await client.result(job_id, 15) == {"heard": [1, 2, 3]}


async def test_events_that_are_published_while_jobs_begin_to_wait_are_not_missed(
    dsn: str, pool: Pool
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        ids = await client.enqueue_many(
            "listening", [{"topic": "busy", "events": 3, "look_back_s": 600}] * 20
        )

        async def all_ended() -> bool:
            return len(await query(pool, "SELECT FROM rkyc.history")) == len(ids)

        # No more than the jobs ask for: a wake-up that was lost would leave one waiting.
        for number in range(3):
            await client.publish("busy", number)
        await wait_for(all_ended, timeout_s=30)
        for job_id in ids:
            assert await client.result(job_id) == {"heard": [0, 1, 2]}


async def test_an_event_that_is_not_committed_yet_is_waited_for(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    await client.publish("rates", 0)
    async with serve(dsn, registry=registry):
        async with pool.transaction() as conn:
            await client.publish("rates", 1, conn=conn)
            job_id = await client.enqueue("listening", {"topic": "rates"})

            async def stands_at_the_lock() -> bool:
                waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%watch_topic%'"
                return bool(await query(pool, waits))

            await wait_for(stands_at_the_lock)
        assert await client.result(job_id, 15) == {"heard": [1]}


async def test_thousands_that_wait_leave_a_small_worker_to_others(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, slots=4) as worker:
        inputs = [make_input(tmp_path, n, naps=[36_000]) for n in range(2000)]
        await client.enqueue_many("napping", inputs)

        async def all_wait() -> bool:
            rows = await query(pool, "SELECT count(*) AS n FROM rkyc.waiting")
            return bool(rows[0]["n"] == len(inputs))

        await wait_for(all_wait, timeout_s=60, what="2,000 sleeping jobs")
        assert worker.busy == 0
        others = await client.enqueue_many("napping", [make_input(tmp_path, "other", naps=[])] * 20)
        for job_id in others:
            assert await client.result(job_id, 15) == {"attempt": 1}


@step(name="sleeps", timeouts=Timeouts(total=1.0))
async def sleeps(ctx: Any, input: Any) -> None:
    await ctx.sleep(60)


@step(name="listens", timeouts=Timeouts(total=1.0))
async def listens(ctx: Any, input: Any) -> None:
    await ctx.wait_signal("never")


@step(name="queues", timeouts=Timeouts(total=1.0), limits=[Limit("slow", rate=1, per_s=60.0)])
async def queues(ctx: Any, input: Any) -> None: ...


@pytest.mark.parametrize("waiting", [sleeps, listens, queues], ids=lambda one: one.name)
async def test_the_limit_of_all_attempts_bounds_a_wait_too(waiting: Step, dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, Pipeline("bounded", version=1, steps=waiting)):
        # Of a rate the first one takes what there is.
        await wait_status(pool, await client.enqueue("bounded", {}))
        row = await wait_status(pool, await client.enqueue("bounded", {}), "failed")
        assert row["error_code"] == "DEADLINE_EXCEEDED"
        assert "1 s in all" in row["error_message"]
