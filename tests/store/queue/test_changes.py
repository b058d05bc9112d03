"""The moves of changes in flight: each is made where it may be, and refused everywhere else."""

from __future__ import annotations

import uuid

import pytest

from rkyc.engine.client import Client
from rkyc.errors import ConflictError
from rkyc.flow.graph import Chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import commits, pauses
from tests.support.engine import announce, tasks_left
from tests.support.moves import dump
from tests.support.places import WHERE, put
from tests.support.probes import registry

pytestmark = pytest.mark.anyio
ENDED = ("completed", "failed", "cancelled")
CHAINED = registry.latest("chained")


async def uuid_of(conn: Connection, number: int) -> uuid.UUID:
    found: uuid.UUID = await conn.fetchval("SELECT uuid FROM rkyc.job WHERE id = $1", number)
    return found


@pytest.mark.parametrize("where", WHERE)
async def test_whatever_has_not_ended_is_paused_and_put_back(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        job_id = await uuid_of(conn, number)
        before = await dump(conn)
        assert await pauses.resume_job(conn, number, job_id) == [], "it is not paused"
        assert await dump(conn) == before
        fences = [fence for _, fence in await commits.lock_leases(conn, number)]
        moved = await pauses.pause_job(conn, number, job_id, fences=fences, detail="paused")
        assert moved == (None if where in ENDED else 1)
        if moved is None:
            assert await dump(conn) == before
            return
        assert await tasks_left(pool) == [("waiting", number, 0)]
        assert await pauses.pause_job(conn, number, job_id, fences=[], detail="again") == 0
        lanes = await pauses.resume_job(conn, number, job_id)
        is_later = where in ("scheduled", "backoff")
        assert lanes == (["due"] if is_later else ["default"])
        assert await tasks_left(pool) == [("scheduled" if is_later else "ready", number, 0)]


async def test_a_lease_that_was_taken_since_the_lock_is_left_and_nothing_is_paused(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, "running")
        job_id = await uuid_of(conn, number)
        assert await pauses.pause_job(conn, number, job_id, fences=[], detail="paused") is None
        assert await tasks_left(pool) == [("running", number, 0)]


@pytest.mark.parametrize("where", WHERE)
async def test_only_an_ended_job_is_started_again_from_a_step(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        job_id = await uuid_of(conn, number)
        before = await dump(conn)
    client = Client(pool=pool)
    if where in ENDED:
        await client.retry_from(job_id, "s1")
        assert await tasks_left(pool) == [("ready", number, 0)]
        return
    with pytest.raises(ConflictError):
        await client.retry_from(job_id, "s1")
    async with pool.connection() as conn:
        assert await dump(conn) == before


@pytest.mark.parametrize("where", WHERE)
async def test_whatever_has_not_ended_is_moved_to_another_version(pool: Pool, where: str) -> None:
    assert isinstance(CHAINED.steps, Chain)
    newer = Pipeline("chained", 2, CHAINED.steps, upcast={(1, 2): lambda value, outputs: (value, outputs)})
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        job_id = await uuid_of(conn, number)
        before = await dump(conn)
    client = Client(pool=pool)
    if where not in ENDED:
        assert await client.migrate(job_id, Registry([newer])) == 2
        # What waits for its time goes on waiting.
        assert await tasks_left(pool) == [("scheduled" if where == "scheduled" else "ready", number, 0)]
        return
    with pytest.raises(ConflictError):
        await client.migrate(job_id, Registry([newer]))
    async with pool.connection() as conn:
        assert await dump(conn) == before
