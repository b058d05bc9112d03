"""A cancel and a checkpoint that meet: the cancel comes after it, and knows of it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from rkyc.engine.client import Client
from rkyc.store.pool import Pool
from tests.support.engine import announce, query, wait_for
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


async def test_cancel_that_waits_for_a_checkpoint_is_numbered_after_it(dsn: str, pool: Pool) -> None:
    """A retry would otherwise run the completed step again, under a number that is taken."""
    await announce(pool, registry.latest("chained"))
    client = Client(pool=pool)
    job_id = await client.enqueue("chained", {})
    await query(
        pool,
        """WITH gone AS (DELETE FROM rkyc.ready RETURNING *)
        INSERT INTO rkyc.running (job_id, branch, fence, worker_id, lane, step, events, error_attempts, crash_attempts,
          alone_crashes, started_at, step_started_at, claimed_at)
        SELECT job_id, branch, seq, 1, lane, step, 0, 0, 0, 0, now(), now(), now() FROM gone""",
    )
    worker = await asyncpg.connect(dsn)
    try:
        async with worker.transaction():
            await worker.execute("SELECT FROM rkyc.running FOR SHARE")
            await worker.execute(
                """INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, started_at,
                     finished_at)
                SELECT job_id, 1, 0, 's1', 's2', 1, fence, 1, now(), now() FROM rkyc.running"""
            )
            cancelling = asyncio.create_task(client.cancel(job_id))
            await wait_for(lambda: _someone_waits(pool), what="the cancel's wait for the lock")
    finally:
        await worker.close()
    assert await cancelling
    (history,) = await query(pool, "SELECT seq, step FROM rkyc.history")
    assert tuple(history) == (2, "s2")
    await client.retry(job_id)
    (ready,) = await query(pool, "SELECT step, events FROM rkyc.ready")
    assert tuple(ready) == ("s2", 2)


async def _someone_waits(pool: Pool) -> bool:
    sql = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND application_name = 'rkyc'"
    )
    return bool(await query(pool, sql))
