"""How long ended jobs are kept: by pipeline and outcome, in bounded pages, and never one that is live."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from rkyc.engine.client import Client
from rkyc.engine.retire import Retire
from rkyc.engine.uniqueness import sweep_keys
from rkyc.errors import NotFoundError
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retention import Retention
from rkyc.flow.unique import Unique
from rkyc.store.pool import Pool
from rkyc.store.queue.dead_letters import Filter
from tests.support.clocks import FixedClock
from tests.support.crashes import make_input
from tests.support.engine import announce, query, serve, wait_all_ended, wait_for, wait_status
from tests.support.probes import call_and_pause, fail, pause

pytestmark = pytest.mark.anyio
DAY = dt.timedelta(days=1)
KEPT = Pipeline("kept", 1, pause.named("only"))
BRIEF = Pipeline(
    "brief", 1, fail.named("only"), retention=Retention(completed_days=1, failed_days=10, cancelled_days=5)
)
OF_JOBS = (
    "job",
    "history",
    "checkpoint",
    "event",
    "journal",
    "dead_letter",
    "idempotency",
    "heartbeat",
    "signal",
)


async def retire_at(pool: Pool, since: dt.timedelta, default_days: float | None = 30) -> set[str]:
    """Walk over all ends so long from now; return the pipelines whose jobs are left."""
    retire = Retire(pool=pool, clock=FixedClock(dt.datetime.now(dt.UTC) + since), default_days=default_days)
    while await retire.run_once() < 1:
        pass
    return {row["pipeline"] for row in await query(pool, "SELECT pipeline FROM rkyc.job")}


async def test_each_outcome_of_each_pipeline_is_kept_as_long_as_it_says(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, KEPT, BRIEF):
        client = Client(pool=pool)
        kept = await client.enqueue("kept", make_input(tmp_path, "kept"), idempotency_key="k")
        done = await client.enqueue("brief", make_input(tmp_path, "done"))
        failed = await client.enqueue("brief", make_input(tmp_path, "failed", permanent=True))
        await wait_all_ended(pool, 3)
    cancelled = await client.enqueue("brief", {})
    await client.cancel(cancelled)
    await client.dead_letters.discard(Filter(), by="tester")

    async def left() -> set[object]:
        return {row["uuid"] for row in await query(pool, "SELECT uuid FROM rkyc.job")}

    await retire_at(pool, 0.9 * DAY)
    assert await left() == {kept, done, failed, cancelled}
    await retire_at(pool, 1.1 * DAY)
    assert await left() == {kept, failed, cancelled}
    await retire_at(pool, 5.1 * DAY)
    assert await left() == {kept, failed}
    await retire_at(pool, 10.1 * DAY)
    assert await left() == {kept}
    await retire_at(pool, 300 * DAY, default_days=None)
    assert await left() == {kept}
    await retire_at(pool, 30.1 * DAY)
    assert await left() == set()
    with pytest.raises(NotFoundError):
        await client.get(kept)
    for table in OF_JOBS:
        assert await query(pool, f"SELECT FROM rkyc.{table}") == [], table


async def test_a_live_job_is_never_touched_and_neither_is_one_that_was_started_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    calling = Pipeline("calling", 1, call_and_pause)
    async with serve(dsn, calling, BRIEF):
        client = Client(pool=pool)
        running = await client.enqueue("calling", make_input(tmp_path, "running", wait=1))
        later = await client.enqueue("calling", {}, run_at=dt.datetime.now(dt.UTC) + DAY)
        await wait_status(pool, running, "running")
        await client.cancel(later)
        await client.retry(later)
        failed = await client.enqueue("brief", make_input(tmp_path, "failed", failures=9))
        await wait_status(pool, failed, "failed")
        await retire_at(pool, 1000 * DAY)
        # Its dead letter is kept: somebody may start it again.
        assert (await client.get(failed))["status"] == "failed"
        row = await wait_status(pool, running)
        assert row["status"] == "completed" and '"calls": 1' in row["usage"]
        await client.dead_letters.discard(Filter(), by="tester")
    await retire_at(pool, 1000 * DAY)
    assert await query(pool, "SELECT FROM rkyc.history") == []


async def test_many_are_removed_page_by_page_by_several_at_once(pool: Pool) -> None:
    await announce(pool, KEPT)
    await query(
        pool,
        """WITH j AS (INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, created_at)
             SELECT gen_random_uuid(), 'kept', 1, 'default', '{}', now() FROM generate_series(1, 2500) RETURNING id)
           INSERT INTO rkyc.history (job_id, state, seq, finished_at)
             SELECT id, 'completed', 1, '2020-01-01'::timestamptz + (id % 3) * interval '1 s' FROM j""",
    )
    walks = [Retire(pool=pool, clock=FixedClock(dt.datetime.now(dt.UTC)), default_days=30) for _ in range(3)]
    for _ in range(20):
        for walk in walks:
            await walk.run_once()
    assert await query(pool, "SELECT FROM rkyc.history") == [] == await query(pool, "SELECT FROM rkyc.job")


async def test_a_worker_removes_what_is_over_by_itself(dsn: str, pool: Pool, tmp_path: Path) -> None:
    await announce(pool, KEPT)
    client = Client(pool=pool)
    job_id = await client.enqueue("kept", {})
    await client.cancel(job_id)
    await query(pool, "UPDATE rkyc.history SET finished_at = finished_at - interval '8 days'")
    async with serve(dsn, registry=Registry([KEPT]), retention_days=7.0):

        async def is_gone() -> bool:
            return not await query(pool, "SELECT FROM rkyc.job")

        await wait_for(is_gone)


async def test_jobs_are_found_by_their_metadata(dsn: str, pool: Pool, tmp_path: Path) -> None:
    await announce(pool, KEPT)
    client = Client(pool=pool)
    text = await client.enqueue("kept", {}, metadata={"customer": "7", "region": "eu"})
    number = await client.enqueue("kept", {}, metadata={"customer": 7, "tags": ["a"]})
    await client.enqueue("kept", {}, metadata={"customer": "8"})
    await client.enqueue("kept", {})

    async def find(**metadata: str) -> list[object]:
        return [row["job_id"] for row in await client.list_jobs(metadata=metadata)]

    assert await find(customer="7") == [number, text]
    assert await find(customer="7", region="eu") == [text]
    assert await find(tags='["a"]') == [number]
    assert await find(customer="nobody") == []
    assert [row["job_id"] for row in await client.list_jobs(metadata={"customer": "7"}, limit=1)] == [number]
    assert [row["job_id"] for row in await client.list_jobs(metadata={"customer": "7"}, before=number)] == [
        text
    ]


async def test_the_keys_of_jobs_that_are_gone_are_forgotten(pool: Pool) -> None:
    await announce(pool, KEPT)
    client = Client(pool=pool)
    for key in ("often asked for", "asked for once"):
        await client.cancel(await client.enqueue("kept", {}, unique=Unique(key)))
    assert await retire_at(pool, 31 * DAY) == set()
    held = await client.enqueue("kept", {}, unique=Unique("often asked for"))
    await query(pool, "UPDATE rkyc.unique_key SET asked_at = asked_at - interval '1 hour'")
    await sweep_keys(pool)
    rows = await query(
        pool, "SELECT h.key, j.uuid FROM rkyc.unique_holder h LEFT JOIN rkyc.job j ON j.id = h.job_id"
    )
    assert [tuple(row) for row in rows] == [("often asked for", held)]
    assert [row["key"] for row in await query(pool, "SELECT key FROM rkyc.unique_key")] == ["often asked for"]
