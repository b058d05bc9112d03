"""Unique jobs: who holds a key, when it is free again, and many that ask for it at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client, Submitted
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.notices import Notices
from rkyc.engine.redrive import Redrive
from rkyc.engine.uniqueness import sweep_keys
from rkyc.errors import ConflictError, InvalidInputError, RetryableException
from rkyc.flow.graph import chord
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.flow.unique import Unique
from rkyc.store.pool import Pool
from rkyc.store.queue.dead_letters import Filter
from rkyc.telemetry.metrics import Metrics
from tests.support.engine import announce, query, serve, wait_all_ended, wait_status

pytestmark = pytest.mark.anyio

GATE = asyncio.Event()


@step
async def wait_for_gate(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    await GATE.wait()
    return {}


@step
async def note(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    return {}


NOTED = Pipeline("noted", 1, note)
GATED = Pipeline("gated", 1, wait_for_gate)
FORKED = Pipeline(
    "forked", 1, chord([wait_for_gate.named("left"), wait_for_gate.named("right")], note.named("merge"))
)


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[Client]:
    GATE.clear()
    await announce(pool, NOTED, GATED, FORKED)
    one = Client(pool=pool)
    yield one
    GATE.set()
    await one.aclose()


async def ask(client: Client, pipeline: str = "noted", **terms: Any) -> Submitted:
    return await client.submit(pipeline, {}, unique=Unique("corp-7", **terms))


async def status_of(client: Client, job_id: UUID) -> str:
    return str((await client.get(job_id))["status"])


async def test_a_held_key_gives_the_job_that_holds_it(client: Client) -> None:
    first = await ask(client)
    again = await ask(client)
    assert (first.is_new, again) == (True, Submitted(first.job_id, False))
    assert (await client.submit("noted", {}, unique=Unique("corp-8"))).is_new
    assert await client.enqueue("noted", {}, unique=Unique("corp-7")) == first.job_id


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_the_end_of_a_job_frees_its_key_in_the_same_commit(
    client: Client, dsn: str, pool: Pool, end: str
) -> None:
    first = await ask(client)
    if end == "completed":
        async with serve(dsn, NOTED):
            await wait_status(pool, first.job_id)
    elif end == "cancelled":
        await client.cancel(first.job_id)
    else:
        async with serve(dsn, Pipeline("noted", 1, failing.named("note"))):
            await wait_status(pool, first.job_id)
    assert await status_of(client, first.job_id) == end
    assert (await ask(client)).is_new


@step
async def failing(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("meant to fail")


async def test_while_pending_the_key_is_free_once_the_job_runs(client: Client, dsn: str, pool: Pool) -> None:
    first = await ask(client, "gated", while_="pending")
    assert not (await ask(client, "gated", while_="pending")).is_new
    async with serve(dsn, GATED):
        await wait_status(pool, first.job_id, "running")
        assert (await ask(client, while_="pending")).is_new
        GATE.set()
        await wait_all_ended(pool, 1)


async def test_while_running_the_key_is_held_by_the_one_that_runs(
    client: Client, dsn: str, pool: Pool
) -> None:
    first = await ask(client, "gated", while_="running")
    second = await ask(client, "noted", while_="running")
    assert second.is_new
    async with serve(dsn, GATED):
        await wait_status(pool, first.job_id, "running")
        assert await ask(client, "noted", while_="running") == Submitted(first.job_id, False)
        GATE.set()
        await wait_all_ended(pool, 1)
    assert (await ask(client, "noted", while_="running")).is_new


async def test_for_a_period_the_key_is_held_whatever_became_of_the_job(client: Client, pool: Pool) -> None:
    first = await ask(client, for_s=3600)
    await client.cancel(first.job_id)
    assert await ask(client, for_s=3600) == Submitted(first.job_id, False)
    await query(pool, "UPDATE rkyc.unique_holder SET until = until - interval '1 hour'")
    assert (await ask(client, for_s=3600)).is_new


@pytest.mark.parametrize("pipeline", ["gated", "forked"])
async def test_replace_cancels_a_pending_holder_and_keeps_a_running_one(
    client: Client, dsn: str, pool: Pool, pipeline: str
) -> None:
    first = await ask(client, pipeline)
    second = await ask(client, pipeline, on_conflict="replace")
    assert second.is_new
    assert [await status_of(client, one.job_id) for one in (first, second)] == ["cancelled", "pending"]
    assert "replaced by a newer job" in (await client.get(first.job_id))["error_message"]
    async with serve(dsn, GATED, FORKED):
        await wait_status(pool, second.job_id, "running")
        assert await ask(client, pipeline, on_conflict="replace") == Submitted(second.job_id, False)
        GATE.set()
        assert (await wait_status(pool, second.job_id))["status"] == "completed"


async def test_of_many_producers_at_once_one_makes_the_job(client: Client) -> None:
    made = await asyncio.gather(*(ask(client) for _ in range(40)))
    assert sum(one.is_new for one in made) == 1
    assert len({one.job_id for one in made}) == 1


async def test_of_many_that_replace_at_once_the_last_one_stands(client: Client, pool: Pool) -> None:
    made = await asyncio.gather(*(ask(client, on_conflict="replace") for _ in range(40)))
    assert all(one.is_new for one in made)
    rows = await query(pool, "SELECT status, count(*) AS n FROM rkyc.job_status GROUP BY status")
    assert {row["status"]: row["n"] for row in rows} == {"pending": 1, "cancelled": 39}


async def test_no_two_jobs_of_a_key_run_at_once_under_load(client: Client, dsn: str, pool: Pool) -> None:
    # Seen in one snapshot each: times of different commits tell no order to the millisecond.
    seen: list[int] = []

    @step
    async def count_running(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        seen.extend(row["n"] for row in await query(pool, "SELECT count(*) AS n FROM rkyc.running"))
        return {}

    async with serve(dsn, Pipeline("noted", 1, count_running.named("note")), slots=20):

        async def produce() -> int:
            made = [await ask(client, on_conflict="replace") for _ in range(15)]
            return sum(one.is_new for one in made)

        new = sum(await asyncio.gather(*(produce() for _ in range(8))))
        ended = await wait_all_ended(pool, new)
    assert sum(ended.values()) == new
    assert seen == [1] * ended["completed"]


async def test_a_key_is_the_callers_transactions_own(client: Client, pool: Pool) -> None:
    async with pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await client.submit("noted", {}, unique=Unique("corp-7"), conn=conn)
        await transaction.rollback()
    assert (await ask(client)).is_new


async def test_keys_that_nobody_holds_are_forgotten(client: Client, pool: Pool) -> None:
    held = await ask(client)
    for number in range(5):
        one = await client.submit("noted", {}, unique=Unique(f"old-{number}"))
        await client.cancel(one.job_id)
    await query(pool, "UPDATE rkyc.unique_key SET asked_at = asked_at - interval '1 hour'")
    await sweep_keys(pool)
    assert [row["key"] for row in await query(pool, "SELECT key FROM rkyc.unique_key")] == ["corp-7"]
    assert len(await query(pool, "SELECT FROM rkyc.unique_holder")) == 1
    assert await ask(client) == Submitted(held.job_id, False)


@pytest.mark.parametrize("is_swept", [False, True])
async def test_a_job_is_started_again_only_while_no_other_holds_its_key(
    client: Client, dsn: str, pool: Pool, is_swept: bool
) -> None:
    first = (await ask(client)).job_id
    async with serve(dsn, Pipeline("noted", 1, stumbling.named("note"))):
        await wait_status(pool, first)
    if is_swept:
        await query(pool, "UPDATE rkyc.unique_key SET asked_at = asked_at - interval '1 hour'")
        await sweep_keys(pool)
    second = (await ask(client)).job_id
    assert second != first
    with pytest.raises(ConflictError, match=f"while job {second} holds its unique key"):
        await client.retry(first)
    with pytest.raises(ConflictError, match=f"while job {second} holds its unique key"):
        await client.retry_from(first, "note")
    assert await client.dead_letters.requeue(Filter(), by="tester") == 0
    assert await status_of(client, first) == "failed"
    await client.cancel(second)
    assert await client.dead_letters.requeue(Filter(), by="tester") == 1
    assert await ask(client) == Submitted(first, False), "it holds its key again"
    with pytest.raises(ConflictError, match=f"while job {first} holds its unique key"):
        await client.retry(second)
    with pytest.raises(ConflictError, match="neither failed nor cancelled"):
        await client.retry(first)


async def test_of_dead_letters_of_one_key_one_is_started_again(client: Client, dsn: str, pool: Pool) -> None:
    async with serve(dsn, Pipeline("noted", 1, stumbling.named("note"))):
        for _ in range(3):
            await wait_status(pool, (await ask(client)).job_id)
    assert await client.dead_letters.requeue(Filter(), by="tester") == 1
    assert await client.dead_letters.count(Filter()) == 2
    await query(pool, "UPDATE rkyc.lane SET redrive_every_s = 60, redrive_at = now() WHERE name = 'default'")
    redrive = Redrive(
        pool=pool, clock=DatabaseClock(), notices=Notices(pool=pool), metrics=Metrics(), interval_s=15.0
    )
    assert await redrive.redrive(datetime.now(UTC) + timedelta(seconds=1)) == 0
    rows = await query(pool, "SELECT state, retry_count FROM rkyc.dead_letter ORDER BY id")
    assert [tuple(row) for row in rows] == [("requeued", 0), ("dead", 1), ("dead", 1)]


@step(retry=RetryPolicy(max_attempts=1))
async def stumbling(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    raise RetryableException("meant to fail")


async def test_two_kinds_of_keys_at_once_are_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="give one of them"):
        await client.submit("noted", {}, idempotency_key="i", unique=Unique("u"))
