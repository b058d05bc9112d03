"""Turns of fairness keys: nobody starves, weights count, and jobs without a key are left alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import DefinitionError
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import jobs, turns
from rkyc.store.queue.jobs import NewJobs
from tests.support.engine import FAST, announce, query, serve, wait_all_ended, wait_status
from tests.support.moves import NOW, add_job

pytestmark = pytest.mark.anyio
BURST = 4.0


@step
async def work(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(job.get("wait", 0))
    return {}


working = Pipeline("working", 1, work)


@pytest.fixture(autouse=True)
async def known(pool: Pool) -> None:
    await announce(pool, working)


async def add(conn: Connection, key: str, number: int, weight: float = 1.0) -> None:
    for _ in range(number):
        traits = f'{{"fair_key": "{key}", "weight": {weight}}}'
        await add_job(conn, "working", fair_key=key, traits=traits)


async def claim(conn: Connection, slots: int) -> Counter[str]:
    """Take so many tasks and return how many of each key."""
    async with conn.transaction():
        await turns.lock_turns(conn, "default", NOW)
        claims = await turns.claim_turns(
            conn, lane="default", slots=slots, burst=BURST, keys_max=100, worker_id=1, now=NOW
        )
    return Counter(str((one.traits or {})["fair_key"]) for one in claims)


async def test_keys_with_work_share_equally(pool: Pool) -> None:
    async with pool.connection() as conn:
        await add(conn, "a", 40)
        await add(conn, "b", 40)
        await add(conn, "c", 3)
        assert await claim(conn, 9) == {"a": 3, "b": 3, "c": 3}
        assert await claim(conn, 8) == {"a": 4, "b": 4}


async def test_weights_count(pool: Pool) -> None:
    async with pool.connection() as conn:
        await add(conn, "heavy", 40, weight=3)
        await add(conn, "light", 40)
        assert await claim(conn, 20) == {"heavy": 15, "light": 5}


async def test_who_comes_late_overtakes_by_a_burst_and_no_more(pool: Pool) -> None:
    async with pool.connection() as conn:
        await add(conn, "early", 60)
        assert await claim(conn, 30) == {"early": 30}
        await add(conn, "late", 20)
        # The early one stands a turn behind the last that it got: five until they are even.
        assert await claim(conn, 5) == {"late": 5}
        assert await claim(conn, 10) == {"early": 5, "late": 5}


async def test_tasks_of_a_key_begin_in_the_order_of_their_jobs(pool: Pool) -> None:
    async with pool.connection() as conn:
        await add(conn, "a", 6)
        await claim(conn, 2)
        rows = await conn.fetch("SELECT job_id FROM rkyc.running ORDER BY job_id")
        assert [row["job_id"] for row in rows] == [1, 2]


async def test_two_that_claim_at_once_take_different_tasks(pool: Pool) -> None:
    async with pool.connection() as conn, pool.connection() as other:
        await add(conn, "a", 10)
        taken = await asyncio.gather(claim(conn, 4), claim(other, 4))
        assert taken == [{"a": 4}, {"a": 4}]
        assert len(await conn.fetch("SELECT DISTINCT job_id FROM rkyc.running")) == 8


async def test_a_job_that_waits_for_its_turn_says_so_and_can_be_cancelled(pool: Pool) -> None:
    client = Client(pool=pool)
    job_id = await client.enqueue("working", {}, fair_key="acme", weight=2)
    row = await wait_status(pool, job_id, "pending")
    assert (row["wait_reason"], row["wait_detail"]) == ("fair", "a turn of acme")
    assert await client.cancel(job_id)
    assert (await wait_status(pool, job_id))["status"] == "cancelled"


async def test_a_job_that_was_paused_keeps_its_place_in_the_line_of_its_key(pool: Pool) -> None:
    client = Client(pool=pool)
    ids = await client.enqueue_many("working", [{}] * 3, fair_key="a")
    for number in (0, 2):
        assert await client.pause(ids[number])
        assert await client.resume(ids[number])
    row = await wait_status(pool, ids[2], "pending")
    assert (row["wait_reason"], row["wait_detail"]) == ("fair", "a turn of a")
    async with pool.connection() as conn:
        await claim(conn, 2)
        rows = await conn.fetch("SELECT job_id FROM rkyc.running ORDER BY job_id")
        assert [row["job_id"] for row in rows] == [1, 2]
    # What had begun goes on at once: its turn was its own.
    assert await client.pause(ids[0])
    assert await client.resume(ids[0])
    assert (await wait_status(pool, ids[0], "pending"))["wait_reason"] == "queued"


async def test_an_idle_worker_hears_of_a_resumed_job_with_a_key(dsn: str, pool: Pool) -> None:
    client = Client(pool=pool)
    job_id = await client.enqueue("working", {}, fair_key="a")
    assert await client.pause(job_id)
    async with serve(dsn, working, upkeep=replace(FAST, beat_s=60.0, poll_s=60.0)):
        await asyncio.sleep(0.5)
        assert await client.resume(job_id)
        assert (await wait_status(pool, job_id, timeout_s=10))["status"] == "completed"


async def test_jobs_with_a_key_run_beside_those_without(dsn: str, pool: Pool) -> None:
    async with serve(dsn, working, slots=4):
        client = Client(pool=pool)
        await client.enqueue_many("working", [{}] * 60, fair_key="a")
        await client.enqueue_many("working", [{}] * 60)
        await client.enqueue_many("working", [{}] * 60, fair_key="b")
        assert await wait_all_ended(pool, 180) == {"completed": 180}


async def test_an_idle_worker_hears_of_a_job_with_a_key(dsn: str, pool: Pool) -> None:
    async with serve(dsn, working):
        client = Client(pool=pool)
        for number in range(3):
            job_id = await client.enqueue("working", {}, fair_key="a", idempotency_key=str(number))
            assert (await wait_status(pool, job_id))["status"] == "completed"


async def test_a_small_tenant_does_not_wait_for_a_large_ones_backlog(dsn: str, pool: Pool) -> None:
    """Ten jobs that come while hundreds wait begin before the backlog has moved by more than its share."""
    async with serve(dsn, working, slots=4):
        client = Client(pool=pool)
        await client.enqueue_many("working", [{"wait": 0.01}] * 300, fair_key="large")
        small = await client.enqueue_many("working", [{"wait": 0.01}] * 10, fair_key="small")
        for job_id in small:
            await wait_status(pool, job_id)
        rows = await query(
            pool,
            """SELECT count(*) AS n FROM rkyc.history h JOIN rkyc.job j ON j.id = h.job_id
               WHERE j.traits ->> 'fair_key' = 'large' AND h.started_at < (
                 SELECT max(h.started_at) FROM rkyc.history h JOIN rkyc.job j ON j.id = h.job_id WHERE j.traits ->> 'fair_key' = 'small')""",
        )
        # Those that ran before the small one came, and its share of the turns since.
        assert rows[0]["n"] < 150
        await wait_all_ended(pool, 310, timeout_s=30)


@pytest.mark.parametrize(
    "values", [{"fair_key": ""}, {"fair_key": "a", "weight": 0}, {"fair_key": "a" * 201}]
)
async def test_a_key_or_weight_that_can_not_be_is_refused(pool: Pool, values: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        await Client(pool=pool).enqueue("working", {}, **values)


async def test_an_unknown_pipeline_is_refused_with_a_key_as_well(pool: Pool) -> None:
    async with pool.connection() as conn:
        assert await jobs.enqueue_jobs(conn, NewJobs("nobody", fair_key="a"), [], []) == (None, 0)
