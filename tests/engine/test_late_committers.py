"""Jobs of transactions that commit late: found by the next claim, since nothing but the sweep would find them else.

The sweep is put off for good here: whatever the cursor passed wrongly would wait for ever.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from rkyc.engine.client import Client
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import announce, serve, wait_all_ended, wait_status
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rkyc.engine.dispatcher.SWEEP_S", 1e9)


async def test_a_job_that_thousands_passed_starts_at_its_commit(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, upkeep=UpkeepOptions()), pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        late = await client.enqueue("single", make_input(tmp_path, "late"), conn=conn)
        for _ in range(20):
            await client.enqueue_many("single", [make_input(tmp_path, number) for number in range(100)])
        await wait_all_ended(pool, 2000)
        assert not [one for one in entries(tmp_path) if one.job == "late"]
        await transaction.commit()
        await wait_status(pool, late, "completed")


async def test_more_late_jobs_than_slots_all_start(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, upkeep=UpkeepOptions(), slots=7), pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        for number in range(200):
            await client.enqueue("single", make_input(tmp_path, number), conn=conn)
        await client.enqueue_many("single", [make_input(tmp_path, number) for number in range(200, 300)])
        await wait_all_ended(pool, 100)
        await transaction.commit()
        assert await wait_all_ended(pool, 300) == {"completed": 300}


async def test_transactions_of_all_lengths_lose_no_job_while_a_snapshot_is_pinned(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    chance = random.Random(7)
    writers = await Pool.open(dsn, size_max=12)
    client = Client(pool=writers)

    async def write(number: int) -> None:
        for _ in range(8):
            async with writers.transaction() as conn:
                await client.enqueue("single", make_input(tmp_path, number), conn=conn)
                await asyncio.sleep(chance.random() ** 4 * 0.3)
                await client.enqueue("single", make_input(tmp_path, number), conn=conn)

    await announce(pool, *registry)
    async with (
        serve(dsn, registry=registry, upkeep=UpkeepOptions(), slots=5),
        pool.connection() as reader,
        reader.transaction(isolation="repeatable_read", readonly=True),
    ):
        await reader.fetchval("SELECT count(*) FROM rkyc.job")
        await asyncio.gather(*(write(number) for number in range(10)))
        assert await wait_all_ended(pool, 160) == {"completed": 160}
    await writers.close()


async def test_a_job_put_in_by_sql_starts_at_its_commit(dsn: str, pool: Pool, tmp_path: Path) -> None:
    given = make_input(tmp_path, "late")
    async with serve(dsn, registry=registry, upkeep=UpkeepOptions()):
        async with pool.transaction() as conn:
            await conn.execute(
                "SELECT rkyc.enqueue('single', jsonb_object(ARRAY['ledger', $1, 'job', 'late']))",
                given["ledger"],
            )
            await Client(pool=pool).enqueue_many(
                "single", [make_input(tmp_path, number) for number in range(50)]
            )
            await wait_entries(tmp_path, "ended", 50)
        assert await wait_all_ended(pool, 51) == {"completed": 51}
