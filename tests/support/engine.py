"""Workers inside the test's own process: for everything that needs no kill.

`serve` runs a worker on a database and yields it ready; leaving drains it. `wait_for` polls a
condition without a fixed sleep.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from rkyc.engine.upkeep import UpkeepOptions
from rkyc.engine.worker import Worker, WorkerOptions
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.store.pool import Pool, Record
from rkyc.store.queue import jobs, pipelines
from rkyc.telemetry.metrics import Metrics

# Intervals for tests: everything that waits in seconds waits in tenths here.
FAST = UpkeepOptions(
    beat_s=0.2, poll_s=0.2, deaf_poll_s=0.1, absence_s=0.3, frozen_after_s=30.0, restart_grace_s=1.0
)
ENDED = ("completed", "failed", "cancelled")


def make_worker(
    pool: Pool,
    registry: Registry,
    *,
    resources: Mapping[type, Any] | None = None,
    on_suspects: Callable[[], None] = lambda: None,
    **options: Any,
) -> Worker:
    options.setdefault("slots", 50)
    options.setdefault("grace_s", 5.0)
    options.setdefault("upkeep", FAST)
    return Worker(
        pool=pool,
        registry=registry,
        resources=resources or {},
        metrics=Metrics(),
        options=WorkerOptions(**options),
        on_suspects=on_suspects,
    )


@contextlib.asynccontextmanager
async def serve(
    dsn: str, *defined: Pipeline, registry: Registry | None = None, **options: Any
) -> AsyncIterator[Worker]:
    """Run a worker on a pool of its own until the block ends; then drain it."""
    pool = await Pool.open(dsn)
    try:
        worker = make_worker(pool, registry if registry is not None else Registry(defined), **options)
        running = asyncio.create_task(worker.run())
        ready = asyncio.create_task(worker.ready.wait())
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if running.done():
            running.result()
        try:
            yield worker
        finally:
            worker.stop()
            await running
    finally:
        await pool.close()


async def announce(pool: Pool, *defined: Pipeline) -> None:
    """Make pipelines known without a worker."""
    async with pool.connection() as conn:
        await pipelines.register_pipelines(conn, Registry(defined))


async def wait_for(
    condition: Callable[[], Awaitable[Any]], *, timeout_s: float = 15.0, what: str = "the condition"
) -> Any:
    """Poll until the condition gives something true, and return it."""
    end = time.monotonic() + timeout_s
    while True:
        value = await condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s")
        await asyncio.sleep(0.01)


async def read_job(pool: Pool, job_id: UUID) -> Record:
    async with pool.connection() as conn:
        row = await jobs.read_job(conn, job_id)
    assert row is not None
    return row


async def wait_status(pool: Pool, job_id: UUID, *statuses: str, timeout_s: float = 15.0) -> Record:
    """Wait until the job has one of the states (by default: an end) and return its row."""
    wanted = statuses or ENDED

    async def look() -> Record | None:
        row = await read_job(pool, job_id)
        return row if row["status"] in wanted else None

    row: Record = await wait_for(look, timeout_s=timeout_s, what=f"job {job_id}: {' or '.join(wanted)}")
    return row


async def wait_all_ended(pool: Pool, number: int, *, timeout_s: float = 15.0) -> dict[str, int]:
    """Wait until so many jobs have ended and return how many of each state."""

    async def look() -> dict[str, int] | None:
        rows = await query(pool, "SELECT state, count(*) AS n FROM rkyc.history GROUP BY state")
        counts = {row["state"]: row["n"] for row in rows}
        return counts if sum(counts.values()) >= number else None

    counts: dict[str, int] = await wait_for(look, timeout_s=timeout_s, what=f"the end of {number} jobs")
    return counts


async def query(pool: Pool, sql: str, *values: Any) -> list[Record]:
    async with pool.connection() as conn:
        rows: list[Record] = await conn.fetch(sql, *values)
    return rows


async def tasks_left(pool: Pool) -> list[tuple[str, int, int]]:
    """Return (table, job, branch) of every task that stands anywhere."""
    rows = await query(
        pool,
        """SELECT 'ready' AS t, job_id, branch FROM rkyc.ready UNION ALL
           SELECT 'running', job_id, branch FROM rkyc.running UNION ALL
           SELECT 'scheduled', job_id, branch FROM rkyc.scheduled UNION ALL
           SELECT 'waiting', job_id, branch FROM rkyc.waiting ORDER BY 1, 2, 3""",
    )
    return [tuple(row) for row in rows]
