"""What a job asked for when it ends happens once, with its end or not at all, whichever way it ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine import endings
from rkyc.engine.client import Client
from rkyc.flow import payload
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import jobs, waits
from tests.support.crashes import make_input
from tests.support.engine import query, serve, wait_for, wait_status
from tests.support.moves import NOW, add_job, claim, park
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def told(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook `tell` that leaves a row in the job's own transaction, and a hook `wake`."""
    await query(pool, "CREATE TABLE public.told (job_id bigint PRIMARY KEY, state text, at timestamptz)")

    async def tell(conn: Connection, job_id: int, state: str, now: dt.datetime) -> Sequence[str]:
        await conn.execute("INSERT INTO public.told VALUES ($1, $2, $3)", job_id, state, now)
        return []

    async def wake(conn: Connection, job_id: int, state: str, now: dt.datetime) -> Sequence[str]:
        return await waits.wake_tasks(conn, "turn", "next", 1)

    monkeypatch.setitem(endings.HOOKS, "tell", tell)
    monkeypatch.setitem(endings.HOOKS, "wake", wake)


async def states(pool: Pool) -> list[str]:
    return [row["state"] for row in await query(pool, "SELECT state FROM public.told ORDER BY job_id")]


async def submit(pool: Pool, pipeline: str, job: dict[str, Any], **options: Any) -> UUID:
    """Enqueue a job that asks for the hook `tell`."""
    async with pool.connection() as conn:
        new = jobs.NewJobs(pipeline, traits='{"on_end": ["tell", "of_a_newer_program"]}', **options)
        job_id: UUID = await conn.fetchval("SELECT gen_random_uuid()")
        await jobs.enqueue_jobs(conn, new, [job_id], [payload.encode(job)], tells=True)
    return job_id


@pytest.mark.parametrize("pipeline", ["single", "chained", "forked", "keeping_last"])
async def test_a_job_that_completes(dsn: str, pool: Pool, tmp_path: Path, pipeline: str) -> None:
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")
    async with serve(dsn, registry=registry):
        job_id = await submit(pool, pipeline, make_input(tmp_path, 1))
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert await states(pool) == ["completed"]


async def test_a_job_that_asks_for_nothing(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("single", make_input(tmp_path, 1))
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert await states(pool) == []


@pytest.mark.parametrize("pipeline", ["failing", "nested"])
async def test_a_job_that_fails(dsn: str, pool: Pool, tmp_path: Path, pipeline: str) -> None:
    async with serve(dsn, registry=registry):
        job_id = await submit(pool, pipeline, make_input(tmp_path, 1, permanent=True))
        assert (await wait_status(pool, job_id))["status"] == "failed"
    assert await states(pool) == ["failed"]


@pytest.mark.parametrize("pipeline", ["single", "forked"])
async def test_a_job_that_is_cancelled(dsn: str, pool: Pool, tmp_path: Path, pipeline: str) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await submit(pool, pipeline, make_input(tmp_path, 1, wait=60))
        await wait_status(pool, job_id, "running")
        assert await client.cancel(job_id)
        assert not await client.cancel(job_id)
    assert await states(pool) == ["cancelled"]


async def test_a_job_that_expires_while_it_waits(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        job_id = await submit(pool, "single", make_input(tmp_path, 1), run_at=later, deadline_s=0.1)
        assert (await wait_status(pool, job_id))["error_code"] == "DEADLINE_EXCEEDED"
    assert await states(pool) == ["failed"]


async def test_a_hook_that_makes_tasks_ready_wakes_their_workers(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry):
        pass
    async with pool.connection() as conn:
        waiting = await add_job(conn, "single", payload.encode(make_input(tmp_path, "woken")))
        (held,) = await claim(conn, 1)
        await waits.hold_tasks(conn, [park(held, "turn", wake_key="next")], NOW)
        await add_job(
            conn,
            "single",
            payload.encode(make_input(tmp_path, "first")),
            traits='{"on_end": ["wake"]}',
        )
    async with serve(dsn, registry=registry):

        async def woken() -> bool:
            return bool(await query(pool, f"SELECT FROM rkyc.history WHERE job_id = {waiting}"))

        await wait_for(woken, what="the woken job's end")


async def test_a_job_does_not_end_without_what_it_asked_for(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(conn: Connection, job_id: int, state: str, now: dt.datetime) -> Sequence[str]:
        await conn.execute("INSERT INTO public.told VALUES ($1, $2, $3)", job_id, state, now)
        await conn.execute("SELECT 1 / CASE WHEN $1 = 'completed' THEN 0 ELSE 1 END", state)
        return []

    monkeypatch.setitem(endings.HOOKS, "tell", refuse)
    async with serve(dsn, registry=registry):
        job_id = await submit(pool, "single", make_input(tmp_path, 1))
        row = await wait_status(pool, job_id)
    # The completion was taken back whole; the failure that followed stands with its row.
    assert (row["status"], await states(pool)) == ("failed", ["failed"])
