"""Every statement that commits an outcome writes under its lease and writes nothing without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import commits, journal, tasks, waits
from tests.support.engine import announce, query, wait_for
from tests.support.moves import (
    NOW,
    add_job,
    add_worker,
    advance,
    answer,
    arrive,
    claim,
    dump,
    fail,
    finish,
    fork,
    park,
    retry,
    stale,
)
from tests.support.probes import registry

pytestmark = pytest.mark.anyio

Write = Callable[[Connection, Claim], Awaitable[Any]]


async def write_advance(conn: Connection, held: Claim) -> Any:
    return await commits.advance_tasks(conn, [advance(held)], worker_id=1, now=NOW)


async def write_finish(conn: Connection, held: Claim) -> Any:
    return await commits.finish_tasks(conn, [finish(held)], worker_id=1, now=NOW)


async def write_retry(conn: Connection, held: Claim) -> Any:
    return await commits.retry_tasks(conn, [retry(held)], worker_id=1, now=NOW)


async def write_fail(conn: Connection, held: Claim) -> Any:
    return await commits.fail_task(
        conn, fail(held), seq=1, open_tasks="[]", warnings=None, worker_id=1, now=NOW
    )


async def write_fork(conn: Connection, held: Claim) -> Any:
    return await commits.fork_task(conn, fork(held), seq=1, worker_id=1, now=NOW)


async def write_arrive(conn: Connection, held: Claim) -> Any:
    return await commits.arrive_tasks(conn, [arrive(held)], worker_id=1, now=NOW)


async def write_answer(conn: Connection, held: Claim) -> Any:
    return await journal.write_answers(conn, [answer(held)], worker_id=1, now=NOW)


async def write_release(conn: Connection, held: Claim) -> Any:
    row = {
        "job_id": held.job_id,
        "branch": held.branch,
        "fence": held.fence,
        "lane": "default",
        "step": held.step,
        "events": 0,
        "error_attempts": 0,
        "crash_attempts": 0,
    }
    return await tasks.release_tasks(conn, [row])


async def write_park(conn: Connection, held: Claim) -> Any:
    return await waits.hold_tasks(conn, [park(held)], NOW)


async def lock(conn: Connection, held: Claim) -> Any:
    return await commits.lock_lease(conn, job_id=held.job_id, branch=held.branch, fence=held.fence)


WRITES: list[Write] = [
    write_advance,
    write_finish,
    write_retry,
    write_fail,
    write_fork,
    write_arrive,
    write_answer,
    write_release,
    write_park,
    lock,
]


async def hold_task(conn: Connection) -> Claim:
    worker_id = await add_worker(conn)
    await add_job(conn, "chained")
    (held,) = await claim(conn, worker_id)
    return held


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
@pytest.mark.parametrize("wrong", ["older fence", "later fence", "other branch", "other job"])
async def test_without_the_lease_nothing_is_written(pool: Pool, write: Write, wrong: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        held = await hold_task(conn)
        changed = {
            "older fence": stale(held),
            "later fence": replace(held, fence=held.fence + 1),
            "other branch": replace(held, branch=7),
            "other job": replace(held, job_id=held.job_id + 1),
        }[wrong]
        before = await dump(conn)
        assert not await write(conn, changed)
        assert await dump(conn) == before


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
async def test_with_the_lease_it_is_written(pool: Pool, write: Write) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        held = await hold_task(conn)
        if write is write_arrive:
            await conn.execute("INSERT INTO rkyc.join_point VALUES ($1, 'gather', 0, 2)", held.job_id)
        before = await dump(conn)
        written = await write(conn, held)
        assert written
        assert (await dump(conn) == before) is (write is lock)


@pytest.mark.parametrize(
    "write",
    [write_finish, write_retry, write_fail, write_fork, write_release, write_park],
    ids=lambda w: w.__name__,
)
async def test_a_lease_that_ended_can_not_be_used_again(pool: Pool, write: Write) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        held = await hold_task(conn)
        assert await write(conn, held)
        after = await dump(conn)
        for second in WRITES:
            assert not await second(conn, held)
        assert await dump(conn) == after


async def test_of_a_group_only_the_rows_without_lease_are_left_out(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id = await add_worker(conn)
        for _ in range(4):
            await add_job(conn, "chained")
        held = await claim(conn, worker_id, slots=4)
        rows = [advance(one if number % 2 else stale(one)) for number, one in enumerate(held)]
        written = await commits.advance_tasks(conn, rows, worker_id=1, now=NOW)
        assert written == 2
        assert await commits.find_checkpoints(conn, rows) == {1, 3}


async def test_the_last_branch_to_arrive_starts_the_join(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        held = await hold_task(conn)
        assert await commits.fork_task(conn, fork(held), seq=1, worker_id=1, now=NOW)
        first, second = await claim(conn, held.fence, slots=2)
        assert await commits.arrive_tasks(conn, [arrive(first)], worker_id=1, now=NOW)
        assert not await claim(conn, 1)
        assert await commits.arrive_tasks(conn, [arrive(second)], worker_id=1, now=NOW)
        (join,) = await claim(conn, 1)
        assert (join.step, join.branch) == ("gather", 0)


async def test_a_sixth_status_is_refused_by_the_cast_and_by_history(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await add_job(conn, "chained")
        for state in ("pending", "running", "completed", "failed", "cancelled"):
            assert await conn.fetchval("SELECT $1::text::rkyc.job_state", state) == state
        for state in ("paused", "COMPLETED", "", "dead"):
            with pytest.raises(asyncpg.CheckViolationError):
                await conn.fetchval("SELECT $1::text::rkyc.job_state", state)
        for state in ("paused", "pending", "running"):
            with pytest.raises(asyncpg.CheckViolationError):
                await conn.execute(
                    "INSERT INTO rkyc.history (job_id, state, seq, finished_at) VALUES ($1, $2, 1, now())",
                    number,
                    state,
                )


async def test_a_job_ends_only_once(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        held = await hold_task(conn)
        assert await write_finish(conn, held)
        with pytest.raises(asyncpg.UniqueViolationError):
            await conn.execute(
                "INSERT INTO rkyc.history (job_id, state, seq, finished_at) VALUES ($1, 'completed', 1, now())",
                held.job_id,
            )


async def test_arrivals_of_one_statement_count_each_and_start_the_join_once(pool: Pool) -> None:
    """Also those of two transactions that meet at the join: who comes second waits, and counts what the first left."""
    await announce(pool, *registry)
    async with pool.connection() as conn, pool.connection() as other:
        held = await hold_task(conn)
        assert await commits.fork_task(conn, fork(held), seq=1, worker_id=1, now=NOW)
        first, second = await claim(conn, held.fence, slots=2)
        transaction = conn.transaction()
        await transaction.start()
        assert await commits.arrive_tasks(conn, [arrive(first)], worker_id=1, now=NOW)
        coming = asyncio.create_task(commits.arrive_tasks(other, [arrive(second)], worker_id=1, now=NOW))
        await wait_for(lambda: is_blocked(pool))
        await transaction.commit()
        assert await coming == {(second.job_id, second.branch)}
        (join,) = await claim(conn, 1)
        assert (join.step, join.branch) == ("gather", 0)
        rows = await conn.fetch("SELECT seq, next_step FROM rkyc.checkpoint ORDER BY seq")
        assert [row["next_step"] for row in rows] == [None, None, "gather"]


async def is_blocked(pool: Pool) -> bool:
    rows = await query(pool, "SELECT 1 FROM pg_locks WHERE NOT granted")
    return bool(rows)
