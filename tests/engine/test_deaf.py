"""Without LISTEN, as behind a transaction-mode pooler: polls and beats do all the work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rkyc.engine.client import Client
from rkyc.engine.presence import Presence
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import make_worker, query, serve, wait_all_ended, wait_for, wait_status
from tests.support.probes import registry

pytestmark = pytest.mark.anyio
DEAF = UpkeepOptions(beat_s=0.4, poll_s=5.0, deaf_poll_s=0.1, deaf_dead_after_s=1.0)


HEAR = Presence._hear


@pytest.fixture(autouse=True)
def no_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every notification get lost."""
    monkeypatch.setattr("rkyc.engine.presence.ECHO_S", 0.05)
    monkeypatch.setattr("rkyc.engine.presence.Presence._hear", lambda *_: None)


async def test_jobs_run_retries_come_and_forks_join(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry, upkeep=DEAF):
        client = Client(pool=pool)
        for name in ("chained", "failing", "forked"):
            await client.enqueue_many(
                name, [make_input(tmp_path, f"{name}{n}", failures=1) for n in range(5)]
            )
        assert await wait_all_ended(pool, 15) == {"completed": 15}


async def test_one_that_was_slow_at_its_start_listens_later(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.engine.presence.DEAF_S", 0.2)

    async def has_presence() -> bool:
        (row,) = await query(pool, "SELECT presence_at IS NOT NULL AS stands FROM rkyc.worker")
        return bool(row["stands"])

    async with serve(dsn, registry=registry, upkeep=DEAF):
        assert not await has_presence()
        monkeypatch.setattr("rkyc.engine.presence.Presence._hear", HEAR)
        monkeypatch.setattr("rkyc.engine.presence.ECHO_S", 2.0)
        await wait_for(has_presence)


async def test_a_cancel_reaches_a_running_body(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry, upkeep=DEAF) as worker:
        client = Client(pool=pool)
        job_id = await client.enqueue("single", make_input(tmp_path, 1, wait=60))
        await wait_entries(tmp_path, "began", 1)
        assert await client.cancel(job_id)

        async def idle() -> bool:
            return worker.busy == 0

        await wait_for(idle, timeout_s=3)


async def test_the_tasks_of_a_dead_one_go_on_by_its_missing_beat(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    dying_pool = await Pool.open(dsn)
    dying = make_worker(dying_pool, registry, upkeep=DEAF)
    running = asyncio.create_task(dying.run())
    await dying.ready.wait()
    job_id = await Client(pool=pool).enqueue("single", make_input(tmp_path, 1, wait=1))
    await wait_entries(tmp_path, "began", 1)
    # As good as dead: no loop of it runs any more, and nothing is given back.
    for execution in dying._executor.executions.values():
        execution.cancel("fenced")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await dying_pool.close()
    async with serve(dsn, registry=registry, upkeep=DEAF):
        row = await wait_status(pool, job_id)
    assert row["status"] == "completed"
    assert [one.attempt for one in entries(tmp_path)] == [1, 2, 2]


async def test_a_live_one_is_not_taken_for_dead(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry, upkeep=DEAF), serve(dsn, registry=registry, upkeep=DEAF):
        ids = await Client(pool=pool).enqueue_many(
            "single", [make_input(tmp_path, n, wait=2.5) for n in range(10)]
        )
        for one in ids:
            await wait_status(pool, one, "completed")
    assert {one.attempt for one in entries(tmp_path)} == {1}
    assert len(await query(pool, "SELECT FROM rkyc.event")) == 0
