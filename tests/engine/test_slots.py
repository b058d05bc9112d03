"""Limits of the whole fleet: never more at once, by key, without a slot of the executor, and none forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import DefinitionError, PermanentException
from rkyc.flow.graph import chain
from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.queue import slots
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_for, wait_status

pytestmark = pytest.mark.anyio

now_in: Counter[str] = Counter()
most_in: Counter[str] = Counter()
gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


@pytest.fixture(autouse=True)
def empty_meters() -> Iterator[None]:
    yield
    now_in.clear()
    most_in.clear()
    gates.clear()


@step(retry=RetryPolicy(max_attempts=2, initial_s=0.01, max_s=0.01))
async def meter(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Count who is in; stay as long as the job says, or until its gate opens; fail when it is told to."""
    name = str(job.get("corp", "all"))
    now_in[name] += 1
    most_in[name] = max(most_in[name], now_in[name])
    try:
        await asyncio.sleep(job.get("wait", 0.005))
        if gate := job.get("gate"):
            await gates[gate].wait()
        if job.get("fails"):
            raise PermanentException("meant to fail")
    finally:
        now_in[name] -= 1
    return {"corp": name}


def limited(*limits: str | Limit, name: str = "limited") -> Pipeline:
    return Pipeline(name, 1, meter.with_policy(limits=limits).named(name))


async def held(pool: Pool) -> int:
    (row,) = await query(pool, "SELECT count(job_id) AS n FROM rkyc.limit_slot")
    return int(row["n"])


async def until(pool: Pool, sql: str, what: str) -> None:
    async def look() -> bool:
        return bool((await query(pool, sql))[0][0])

    await wait_for(look, what=what)


async def until_waiting(pool: Pool, number: int) -> None:
    await until(
        pool,
        f"SELECT count(*) = {number} FROM rkyc.waiting WHERE kind = 'limit'",
        f"{number} tasks that wait for a place",
    )


async def test_two_workers_together_run_no_more_than_the_size(dsn: str, pool: Pool) -> None:
    async with (
        serve(dsn, limited("claude"), limits={"claude": 3}),
        serve(dsn, limited("claude"), limits={"claude": 3}),
    ):
        await Client(pool=pool).enqueue_many("limited", [{}] * 60)
        assert await wait_all_ended(pool, 60) == {"completed": 60}
    assert most_in["all"] == 3
    assert await held(pool) == 0


async def test_each_key_is_bounded_by_itself(dsn: str, pool: Pool) -> None:
    async with serve(dsn, limited(Limit("corp", size=2, key="corp"))):
        inputs = [{"corp": name, "wait": 0.02} for name in "abc" * 8]
        await Client(pool=pool).enqueue_many("limited", inputs)
        assert await wait_all_ended(pool, 24) == {"completed": 24}
    assert most_in == {"a": 2, "b": 2, "c": 2}


async def test_who_leaves_while_others_are_freed_is_freed_too(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = slots.free_slots

    async def free_slowly(*args: Any) -> set[str]:
        scopes = await free(*args)
        gates["late"].set()
        await asyncio.sleep(0.3)
        return scopes

    monkeypatch.setattr("rkyc.store.queue.slots.free_slots", free_slowly)
    async with serve(dsn, limited(Limit("claude", size=2))):
        await Client(pool=pool).enqueue_many("limited", [{}, {"gate": "late"}])
        await wait_all_ended(pool, 2)
        await until(pool, "SELECT count(job_id) = 0 FROM rkyc.limit_slot", "places that are free")


async def test_a_worker_that_ends_leaves_no_place_taken(dsn: str, pool: Pool) -> None:
    for number in range(1, 4):
        async with serve(dsn, limited(Limit("claude", size=3))):
            await Client(pool=pool).enqueue_many("limited", [{"wait": 0.0}] * 30)
            await wait_all_ended(pool, 30 * number)
        assert await held(pool) == 0


async def test_each_tenant_is_bounded_by_itself(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, limited(Limit("places", size=2, by_tenant=True))):
        for name in ("bank", "shop", ""):
            await client.enqueue_many("limited", [{"corp": name, "wait": 0.02}] * 8, tenant=name)
        assert await wait_all_ended(pool, 24) == {"completed": 24}
    assert most_in == {"bank": 2, "shop": 2, "": 2}
    with pytest.raises(DefinitionError, match="counts by tenant and by key"):
        Limit("both", key="corp", by_tenant=True)


async def test_a_key_may_be_read_off_the_steps_input(dsn: str, pool: Pool) -> None:
    by_length = Limit("size", size=1, key=lambda before: len(before["corp"]))
    pipeline = Pipeline(
        "two", 1, chain(meter.named("first"), meter.with_policy(limits=[by_length]).named("second"))
    )
    async with serve(dsn, pipeline):
        await Client(pool=pool).enqueue("two", {"corp": "abc"})
        await wait_all_ended(pool, 1)
    (row,) = await query(pool, "SELECT scope FROM rkyc.limit_slot")
    assert row["scope"] == "size:3"


async def test_a_job_without_the_field_of_the_key_fails_and_says_so(dsn: str, pool: Pool) -> None:
    async with serve(dsn, limited(Limit("corp", size=1, key="corp"))):
        row = await wait_status(pool, await Client(pool=pool).enqueue("limited", {}))
    assert row["status"] == "failed"
    assert "the job's input has no field 'corp'" in row["error_message"]


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"], ids=["NUL", "half a pair"])
async def test_a_key_that_can_not_be_stored_bounds_like_any_other(dsn: str, pool: Pool, name: str) -> None:
    by_name = Limit("name", size=1, key=lambda _: name)
    async with serve(dsn, limited(by_name)):
        await Client(pool=pool).enqueue_many("limited", [{}] * 4)
        assert await wait_all_ended(pool, 4) == {"completed": 4}
    assert most_in["all"] == 1


async def test_a_round_that_the_database_refuses_fails_no_other(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say_scope(limit: Limit, values: Any, tenant: str = "") -> str:
        return "corp:half of \ud800" if values["job"]["corp"] == "bad" else "corp:good"

    monkeypatch.setattr(Limit, "scope", say_scope)
    one_try = meter.with_policy(limits=[Limit("corp", size=1, key="corp")], retry=RetryPolicy(max_attempts=1))
    async with serve(dsn, Pipeline("limited", 1, one_try)):
        client = Client(pool=pool)
        bad = await wait_status(pool, await client.enqueue("limited", {"corp": "bad"}))
        assert (bad["status"], bad["error_class"]) == ("failed", "permanent")
        await client.enqueue_many("limited", [{"corp": "good"}] * 6)
        assert await wait_all_ended(pool, 7) == {"failed": 1, "completed": 6}


async def test_a_task_that_waits_for_a_place_holds_no_slot_and_says_for_what(dsn: str, pool: Pool) -> None:
    async with serve(dsn, limited("claude"), Pipeline("free", 1, meter), limits={"claude": 1}, slots=2):
        client = Client(pool=pool)
        await client.enqueue("limited", {"gate": "open"})
        waiting = await client.enqueue_many("limited", [{}] * 5)
        await until_waiting(pool, 5)
        row = await wait_status(pool, waiting[0], "pending")
        assert (row["wait_reason"], row["wait_detail"]) == ("limit", "a place of limit claude")
        # One slot is left, and free.
        await client.enqueue_many("free", [{}] * 5)
        await wait_all_ended(pool, 5)
        gates["open"].set()
        assert await wait_all_ended(pool, 11) == {"completed": 11}


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_a_place_is_handed_on_however_its_holder_ends(dsn: str, pool: Pool, end: str) -> None:
    async with serve(dsn, limited("claude"), limits={"claude": 1}):
        client = Client(pool=pool)
        holder = await client.enqueue("limited", {"gate": "open", "fails": True})
        await until(pool, "SELECT count(job_id) = 1 FROM rkyc.limit_slot", "a holder")
        waiting = await client.enqueue("limited", {})
        await until_waiting(pool, 1)
        if end == "cancelled":
            await client.cancel(holder)
        else:
            gates["open"].set()
        assert (await wait_status(pool, waiting))["status"] == "completed"
        assert (await wait_status(pool, holder))["status"] == end
    assert await held(pool) == 0


async def test_a_cancelled_waiter_does_not_keep_the_place_from_others(dsn: str, pool: Pool) -> None:
    async with serve(dsn, limited("claude"), limits={"claude": 1}):
        client = Client(pool=pool)
        await client.enqueue("limited", {"gate": "open"})
        await until(pool, "SELECT count(job_id) = 1 FROM rkyc.limit_slot", "a holder")
        first = await client.enqueue("limited", {})
        await until_waiting(pool, 1)
        second = await client.enqueue("limited", {})
        await until_waiting(pool, 2)
        await client.cancel(first)
        gates["open"].set()
        assert (await wait_status(pool, second))["status"] == "completed"
    assert await tasks_left(pool) == []


async def test_a_place_is_free_as_soon_as_its_step_is_done(dsn: str, pool: Pool) -> None:
    pipeline = Pipeline(
        "two", 1, chain(meter.with_policy(limits=["claude"]).named("first"), meter.named("second"))
    )

    async with serve(dsn, pipeline, limited("claude"), limits={"claude": 1}):
        client = Client(pool=pool)
        long = await client.enqueue("two", {"wait": 0.3})
        await until(pool, "SELECT count(*) = 1 FROM rkyc.checkpoint", "the first step done")
        row = await wait_status(pool, await client.enqueue("limited", {}))
        assert row["status"] == "completed"
        assert (await wait_status(pool, long))["status"] == "completed"


async def test_several_limits_are_taken_together_or_not_at_all(dsn: str, pool: Pool) -> None:
    both = limited("a", "b", name="both")
    async with serve(dsn, both, limited("a", name="one"), limits={"a": 2, "b": 1}):
        client = Client(pool=pool)
        await client.enqueue("both", {"gate": "open"})
        await until(pool, "SELECT count(job_id) = 2 FROM rkyc.limit_slot", "a holder of both")
        await client.enqueue("both", {})
        await until_waiting(pool, 1)
        # The second one waits for b and holds nothing of a.
        assert await held(pool) == 2
        await wait_status(pool, await client.enqueue("one", {}))
        gates["open"].set()
        assert await wait_all_ended(pool, 3) == {"completed": 3}


async def test_who_waits_for_a_limit_that_a_deploy_took_out_goes_on(dsn: str, pool: Pool) -> None:
    async with serve(dsn, limited(Limit("bank", size=1)), grace_s=0.2):
        await Client(pool=pool).enqueue_many("limited", [{"wait": 0.1}] * 8)
        await asyncio.sleep(0.25)
    assert await query(pool, "SELECT FROM rkyc.waiting WHERE kind = 'limit'")
    async with serve(dsn, limited()):
        assert await wait_all_ended(pool, 8, timeout_s=8) == {"completed": 8}


async def test_who_waits_for_a_limit_of_other_code_is_left_to_it(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    async with serve(dsn, limited(Limit("bank", size=1))):
        await client.enqueue_many("limited", [{"gate": "open"}] * 3)
        await until_waiting(pool, 2)
        since = "SELECT since FROM rkyc.waiting ORDER BY 1"
        before = await query(pool, since)
        async with serve(dsn, limited(name="other")):
            await wait_status(pool, await client.enqueue("other", {"wait": 0.3}))
        assert await query(pool, since) == before
        gates["open"].set()
        assert await wait_all_ended(pool, 4) == {"completed": 4}


async def test_a_limit_without_a_size_bounds_nothing(dsn: str, pool: Pool) -> None:
    async with serve(dsn, limited("nobody_says")):
        await Client(pool=pool).enqueue_many("limited", [{"wait": 0.1}] * 20)
        await wait_all_ended(pool, 20)
    assert most_in["all"] == 20


@pytest.mark.parametrize("values", [{"name": "Big"}, {"name": "a:b"}, {"name": "a", "size": 0}])
def test_a_limit_that_can_not_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="limit"):
        Limit(**values)
