"""The claim: order, locks, late committers, dead rows that another session keeps."""

from __future__ import annotations

import asyncio

import pytest

from rkyc.flow.cursor import ClaimCursor
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import tasks, waits
from tests.support.engine import announce
from tests.support.moves import NOW, add_job, claim, park
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


async def claim_by_cursor(conn: Connection, cursor: ClaimCursor, slots: int = 10) -> list[int]:
    answer = await tasks.claim_tasks(
        conn, lane="default", after=cursor.after, slots=slots, worker_id=1, now=NOW
    )
    fences = [one.fence for one in answer.claims]
    cursor.note_claim(
        max(fences, default=None), answer.xmin, answer.bound, is_full=len(answer.claims) == slots
    )
    return [one.job_id for one in answer.claims]


async def claim_until_it_moves(conn: Connection, cursor: ClaimCursor) -> None:
    """Claim nothing until the cursor is proven; a transaction of another test's database may hold xmin back."""
    while cursor.after == 0:
        assert await claim_by_cursor(conn, cursor) == []


async def test_the_oldest_are_taken_first_and_no_more_than_asked(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        jobs = [await add_job(conn, "single") for _ in range(5)]
        assert [one.job_id for one in await claim(conn, 1, slots=3)] == jobs[:3]
        assert [one.job_id for one in await claim(conn, 1, slots=3)] == jobs[3:]


async def test_what_another_claim_holds_is_passed_over(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as first, pool.connection() as second:
        jobs = [await add_job(first, "single") for _ in range(4)]
        async with first.transaction():
            assert [one.job_id for one in await claim(first, 1, slots=2)] == jobs[:2]
            assert [one.job_id for one in await claim(second, 2, slots=9)] == jobs[2:]


async def test_many_claims_at_once_take_each_task_once(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        jobs = [await add_job(conn, "single") for _ in range(60)]

    async def take(worker_id: int) -> list[int]:
        taken: list[int] = []
        async with pool.connection() as conn:
            while found := await claim(conn, worker_id, slots=3):
                taken += [one.job_id for one in found]
        return taken

    taken = await asyncio.gather(*(take(number) for number in range(6)))
    assert sorted(job for jobs_of_one in taken for job in jobs_of_one) == jobs


async def test_a_late_committer_is_claimed_right_after_its_commit(pool: Pool) -> None:
    await announce(pool, *registry)
    cursor = ClaimCursor()
    async with pool.connection() as late, pool.connection() as conn:
        async with late.transaction():
            number = await add_job(late, "single")
            for _ in range(5):
                job = await add_job(conn, "single")
                assert await claim_by_cursor(conn, cursor) == [job]
            assert cursor.after == 0
        assert await claim_by_cursor(conn, cursor) == [number]
        await claim_until_it_moves(conn, cursor)


async def test_more_late_committers_than_slots_are_all_claimed(pool: Pool) -> None:
    await announce(pool, *registry)
    cursor = ClaimCursor()
    async with pool.connection() as late, pool.connection() as conn:
        async with late.transaction():
            numbers = [await add_job(late, "single") for _ in range(7)]
            await add_job(conn, "single")
            await claim_by_cursor(conn, cursor)
        taken: list[int] = []
        for _ in range(4):
            taken += await claim_by_cursor(conn, cursor, slots=2)
        assert taken == numbers


async def test_a_session_that_pins_a_snapshot_does_not_hold_the_cursor_back(pool: Pool) -> None:
    await announce(pool, *registry)
    cursor = ClaimCursor()
    async with (
        pool.connection() as conn,
        pool.connection() as reader,
        reader.transaction(isolation="repeatable_read", readonly=True),
    ):
        await reader.fetchval("SELECT count(*) FROM rkyc.job")
        for _ in range(3):
            await add_job(conn, "single")
            await claim_by_cursor(conn, cursor)
        await claim_until_it_moves(conn, cursor)


async def test_a_claim_that_was_rolled_back_is_found_from_the_beginning(pool: Pool) -> None:
    await announce(pool, *registry)
    cursor = ClaimCursor()
    async with pool.connection() as other, pool.connection() as conn:
        number = await add_job(conn, "single")
        transaction = other.transaction()
        await transaction.start()
        await claim(other, 2)
        # Its row is locked, a later one is taken and the cursor passes both.
        later = await add_job(conn, "single")
        assert await claim_by_cursor(conn, cursor) == [later]
        await transaction.rollback()
        cursor.note_claim(None, 2**60, 2**60, is_full=False)
        assert await claim_by_cursor(conn, cursor) == []
        assert [held.job_id for held in await claim(conn, 2)] == [number]


async def test_the_lane_whose_first_task_is_oldest_is_found(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        await add_job(conn, "single", lane="low")
        await add_job(conn, "single", lane="high")
        assert await tasks.find_oldest_lane(conn, ["high", "default", "low"], [0, 0, 0]) == "low"
        assert await tasks.find_oldest_lane(conn, ["high", "default"], [0, 0]) == "high"
        assert await tasks.find_oldest_lane(conn, ["default"], [0]) is None


async def test_parked_tasks_go_to_who_serves_their_version_and_lane(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        await add_job(conn, "single")
        (held,) = await claim(conn, 1)
        assert await waits.hold_tasks(conn, [park(held)], NOW)

        async def pick(keys: list[str], lanes: list[str]) -> int:
            taken = await tasks.claim_parked_tasks(
                conn, wake_keys=keys, lanes=lanes, slots=5, worker_id=2, now=NOW
            )
            return len(taken)

        assert await pick(["single@2", "chained@1"], ["default"]) == 0
        assert await pick(["single@1"], ["high"]) == 0
        assert await pick(["single@1"], ["default"]) == 1
