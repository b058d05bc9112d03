"""Fairness at full size: tenant A with 10,000 jobs of 100 ms, B with 10, four slots."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, wait_for, wait_status

pytestmark = [pytest.mark.anyio, pytest.mark.prove, pytest.mark.timeout(300)]
STEP_S = 0.1
STEPS_MAX = 3


@step
async def work(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(STEP_S)
    return {}


async def test_ten_jobs_begin_within_three_step_lengths_beside_ten_thousand(dsn: str, pool: Pool) -> None:
    async with serve(dsn, Pipeline("working", 1, work), slots=4):
        client = Client(pool=pool)
        await client.enqueue_many("working", [{}] * 10_000, fair_key="a")

        async def is_busy() -> bool:
            (row,) = await query(pool, "SELECT count(*) >= 100 AS is_busy FROM rkyc.history")
            return bool(row["is_busy"])

        await wait_for(is_busy, timeout_s=60, what="a hundred jobs of A")
        waits = []
        for number in range(5):
            ids = await client.enqueue_many("working", [{}] * 10, fair_key=f"b{number}")
            rows = [await wait_status(pool, job_id) for job_id in ids]
            waits += [(row["started_at"] - row["created_at"]).total_seconds() for row in rows]
        (row,) = await query(
            pool,
            "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 * 4 / count(*) AS s FROM rkyc.history",
        )
    # A step's length as the slots see it: the body, its commit and the next claim.
    step_s = row["s"]
    waits.sort()
    p95_s = waits[round(0.95 * len(waits)) - 1]
    print(
        f"B waits {p95_s / step_s:.2f} step lengths of {step_s * 1000:.0f} ms (p95), at most {waits[-1] / step_s:.2f}"
    )
    assert p95_s <= STEPS_MAX * step_s
