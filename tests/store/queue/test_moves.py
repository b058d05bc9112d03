"""The moves that are no commit of an outcome: each is made where it may be, and refused everywhere else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from rkyc.flow.states import MOVES
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import commits, jobs, tasks
from tests.support.engine import announce, tasks_left
from tests.support.moves import NOW, add_job, advance, claim, dump
from tests.support.places import LATER, WHERE, cancel, put
from tests.support.probes import registry

pytestmark = pytest.mark.anyio
ENDED = ("completed", "failed", "cancelled")


async def state_of(conn: Connection, number: int) -> tuple[str, str | None]:
    row = await conn.fetchrow(
        "SELECT s.status, s.wait_reason FROM rkyc.job_status s JOIN rkyc.job j ON j.uuid = s.job_id WHERE j.id = $1",
        number,
    )
    assert row is not None
    return row["status"], row["wait_reason"]


def test_every_kind_of_move_has_its_tests() -> None:
    covered = {"advance", "retry", "release", "finish", "fail", "park"}  # test_commits
    covered |= {"enqueue", "claim", "promote", "cancel", "retry by a person"}  # here
    covered |= {"reclaim"}  # test_workers
    covered |= {"wait", "wake"}  # test_waits
    covered |= {"expire"}  # tests/engine/test_limits.py: a claim that ends at once
    covered |= {"pause", "resume", "retry from a step", "migrate"}  # test_changes
    covered |= {"continue as new"}  # tests/engine/test_succession.py
    covered |= {"undo", "end undone"}  # test_undo
    assert {move.by for move in MOVES} == covered


@pytest.mark.parametrize("where", WHERE)
async def test_the_view_tells_state_and_reason(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        assert await state_of(conn, await put(conn, where)) == WHERE[where]


@pytest.mark.parametrize("where", WHERE)
async def test_only_a_ready_task_is_claimed(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        taken = await claim(conn, 1, slots=10)
        assert [one.job_id for one in taken] == ([number] if where == "ready" else [])


@pytest.mark.parametrize("where", WHERE)
async def test_only_what_is_due_is_promoted(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        before = await dump(conn)
        assert await tasks.promote_due_tasks(conn, NOW - dt.timedelta(seconds=1)) == []
        assert await dump(conn) == before
        lanes = await tasks.promote_due_tasks(conn, LATER)
        assert lanes == (["default"] if where in ("scheduled", "backoff") else [])
        if lanes:
            assert await state_of(conn, number) == ("pending", "queued")


@pytest.mark.parametrize("where", WHERE)
async def test_whatever_has_not_ended_is_cancelled_once(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        before = await dump(conn)
        done = await cancel(conn, number, "enough")
        assert done is (where not in ENDED)
        if not done:
            assert await dump(conn) == before
            return
        assert await state_of(conn, number) == ("cancelled", None)
        assert await tasks_left(pool) == []
        assert not await cancel(conn, number, "again")


@pytest.mark.parametrize("where", WHERE)
async def test_only_a_failed_or_cancelled_job_is_started_again(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        before = await dump(conn)
        lanes = await jobs.retry_job(conn, job_id=number)
        assert lanes == (["default"] if where in ("failed", "cancelled") else [])
        if not lanes:
            assert await dump(conn) == before
            return
        assert await state_of(conn, number) == ("pending", "queued")
        assert await jobs.retry_job(conn, job_id=number) == []


async def test_a_job_that_is_started_again_goes_on_behind_its_checkpoints(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await add_job(conn, "chained")
        (held,) = await claim(conn, 1)
        await commits.advance_tasks(conn, [advance(held, "s2")], worker_id=1, now=NOW)
        await cancel(conn, number, None)
        await jobs.retry_job(conn, job_id=number)
        (again,) = await claim(conn, 1)
        assert again.step == "s2"
        assert again.fence > held.fence
        assert again.outputs == [["s1", '{"x": 1}']]


@pytest.mark.parametrize(
    "wrong", [{"pipeline": "nobody"}, {"lane": "nowhere"}, {"pipeline": "nobody", "lane": "nowhere"}]
)
async def test_an_unknown_pipeline_or_lane_enqueues_nothing(pool: Pool, wrong: dict[str, Any]) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        new = jobs.NewJobs(**{"pipeline": "chained", **wrong})
        uuid = await conn.fetchval("SELECT gen_random_uuid()")
        assert await jobs.enqueue_jobs(conn, new, [uuid], ["{}"]) == (None, 0)
        assert not any((await dump(conn)).values())
