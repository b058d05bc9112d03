"""Places of limits: held under a lease, taken once, freed for good, offered to whoever waits."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

import pytest

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import slots, tasks, waits
from rkyc.store.queue.overview import list_limits
from rkyc.store.queue.slots import SlotWish
from tests.support.engine import announce, query, tasks_left, wait_for
from tests.support.moves import NOW, add_job, claim, park, stale
from tests.support.probes import registry

pytestmark = pytest.mark.anyio
PROMISE_S = 2.0


@pytest.fixture(autouse=True)
async def limit_of_two(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        await slots.declare_limits(conn, {"two": 2})
        assert await slots.create_slots(conn, {"two": "two"}, NOW) == 2


def lease(held: Claim) -> slots.Lease:
    return held.job_id, held.branch, held.fence


def wish(held: Claim, scope: str = "two") -> SlotWish:
    return SlotWish(lease(held), "two", scope)


async def start(conn: Connection, number: int) -> list[Claim]:
    """Enqueue so many jobs and claim them."""
    for _ in range(number):
        await add_job(conn, "single")
    return await claim(conn, 1, slots=number)


async def take(conn: Connection, held: Sequence[Claim]) -> list[int]:
    """Ask for a place for each and return the positions of those that got one."""
    taken = await slots.take_slots(conn, [wish(one) for one in held])
    return [number for number, one in enumerate(held) if (one.job_id, one.branch, "two") in taken]


async def offer(conn: Connection, now: dt.datetime = NOW) -> int:
    return len(await slots.offer_slots(conn, ["two"], promise_s=PROMISE_S, now=now))


async def test_a_group_gets_as_many_places_as_are_free(pool: Pool) -> None:
    async with pool.connection() as conn:
        held = await start(conn, 5)
        assert await take(conn, held) == [0, 1]
        assert await take(conn, held[2:]) == []
        assert await slots.free_slots(conn, [lease(held[0])], NOW) == {"two"}
        assert await take(conn, held[2:]) == [0]


async def test_each_key_has_places_of_its_own(pool: Pool) -> None:
    async with pool.connection() as conn:
        held = await start(conn, 3)
        await slots.create_slots(conn, {"two:a": "two", "two:b": "two"}, NOW)
        wishes = [wish(held[0], "two:a"), wish(held[1], "two:b"), wish(held[2], "two:b")]
        assert len(await slots.take_slots(conn, wishes)) == 3


async def test_a_stale_lease_takes_no_place(pool: Pool) -> None:
    async with pool.connection() as conn:
        (held,) = await start(conn, 1)
        assert await take(conn, [stale(held)]) == []
        assert await take(conn, [held]) == [0]


async def test_two_that_ask_at_the_same_time_never_get_the_same_place(pool: Pool) -> None:
    async with pool.connection() as conn, pool.connection() as other:
        held = await start(conn, 3)
        transaction = other.transaction()
        await transaction.start()
        assert await take(other, held[:1]) == [0]
        assert await take(conn, held[1:]) == [0]
        await transaction.commit()
        assert await take(conn, held[2:]) == []


async def test_a_smaller_size_holds_for_the_next_and_a_larger_one_as_well(pool: Pool) -> None:
    async with pool.connection() as conn:
        held = await start(conn, 5)
        await slots.declare_limits(conn, {"two": 1})
        assert await take(conn, held) == [0]
        await slots.declare_limits(conn, {"two": 4})
        assert await slots.create_slots(conn, {"two": "two"}, NOW) == 2
        assert await take(conn, held[1:]) == [0, 1, 2]


async def test_a_place_whose_lease_is_gone_is_freed_and_no_other(pool: Pool) -> None:
    async with pool.connection() as conn:
        held = await start(conn, 2)
        assert await take(conn, held) == [0, 1]
        assert await slots.free_orphan_slots(conn, NOW) == set()
        await tasks.release_orphans(conn, 1, [lease(held[0])])
        assert await slots.free_orphan_slots(conn, NOW) == {"two"}
        (row,) = await list_limits(conn)
        assert (row["name"], row["size"], row["used"]) == ("two", 2, 1)


async def test_a_place_that_is_taken_while_orphans_are_looked_for_stays_taken(pool: Pool) -> None:
    """The look began before the place changed hands: what it saw then must not free what came since."""
    async with pool.connection() as conn, pool.connection() as other:
        held = await start(conn, 3)
        assert await take(conn, held[:2]) == [0, 1]
        await tasks.release_orphans(conn, 1, [lease(one) for one in held[:2]])
        transaction = other.transaction()
        await transaction.start()
        # Frees one place and takes it again, uncommitted: the look below waits for it.
        assert await slots.free_slots(other, [lease(held[0])], NOW) == {"two"}
        assert await take(other, held[2:]) == [0]
        look = asyncio.create_task(slots.free_orphan_slots(conn, NOW))
        await until_it_waits(pool)
        await transaction.commit()
        assert await look == {"two"}
        (row,) = await list_limits(conn)
        assert row["used"] == 1


async def until_it_waits(pool: Pool) -> None:
    """Wait until a statement waits for a lock of another."""

    async def look() -> bool:
        rows = await query(
            pool,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())",
        )
        return bool(rows[0][0])

    await wait_for(look, timeout_s=5, what="a statement that waits for a lock")


async def hold(conn: Connection, number: int) -> list[Claim]:
    held = await start(conn, number)
    for minute, one in enumerate(held):
        row = park(one, "limit", wake_key="two", detail="a place of limit two")
        await waits.hold_tasks(conn, [row], NOW + dt.timedelta(minutes=minute))
    return held


async def test_a_free_place_is_offered_to_the_one_that_waits_longest_and_once(pool: Pool) -> None:
    async with pool.connection() as conn:
        waiting = await hold(conn, 4)
        assert await slots.find_waited_scopes(conn) == ["two"]
        assert await offer(conn) == 2
        assert await offer(conn) == 0
        woken = await claim(conn, 2, slots=9)
        assert [one.job_id for one in woken] == [one.job_id for one in waiting[:2]]
        assert await take(conn, woken) == [0, 1]
        await slots.free_slots(conn, [lease(woken[1])], NOW)
        assert await offer(conn) == 1


async def test_a_promise_that_nobody_comes_for_lapses(pool: Pool) -> None:
    async with pool.connection() as conn:
        await hold(conn, 4)
        assert await offer(conn) == 2
        assert await offer(conn, NOW + dt.timedelta(seconds=PROMISE_S)) == 2
        assert {table for table, _, _ in await tasks_left(pool)} == {"ready"}


async def test_who_goes_to_wait_while_a_place_is_offered_is_not_forgotten(pool: Pool) -> None:
    """The other look found nobody, and still holds the place's row when this one comes."""
    async with pool.connection() as conn, pool.connection() as other, pool.connection() as third:
        (early,) = await start(conn, 1)
        held = await start(conn, 2)
        assert await take(conn, held) == [0, 1]
        await slots.free_slots(conn, [lease(held[0])], NOW)
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT FROM rkyc.limit_slot WHERE scope = 'two' AND number = 0 FOR UPDATE")
        await waits.hold_tasks(conn, [park(early, "limit", wake_key="two")], NOW)
        look = asyncio.create_task(offer(third))
        await until_it_waits(pool)
        await transaction.commit()
        assert await look == 1


async def test_places_that_are_not_used_are_forgotten_but_not_those_that_are_waited_for(pool: Pool) -> None:
    async with pool.connection() as conn:
        await slots.create_slots(conn, {"two:old": "two"}, NOW)
        await hold(conn, 1)
        await slots.prune_slots(conn, NOW + dt.timedelta(minutes=59))
        assert [row["name"] for row in await list_limits(conn)] == ["two", "two:old"]
        await slots.prune_slots(conn, NOW + dt.timedelta(minutes=61))
        assert [row["name"] for row in await list_limits(conn)] == ["two"]
