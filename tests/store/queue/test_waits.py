"""Tasks that wait without a slot: what they keep, who wakes them, and that their time wakes them anyway."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import tasks, turns, waits, workers
from tests.support.engine import announce
from tests.support.moves import NOW, add_job, add_worker, claim, dump, park
from tests.support.probes import registry

pytestmark = pytest.mark.anyio

LATER = NOW + dt.timedelta(hours=1)


async def hold(conn: Connection, kind: str = "signal", wake_key: str = "k", **changes: Any) -> Claim:
    """Enqueue a job, claim it and let it wait."""
    await add_job(conn, "chained", traits='{"parent": 7}')
    (held,) = await claim(conn, 1)
    moved = await waits.hold_tasks(conn, [park(held, kind, wake_key=wake_key, **changes)], NOW)
    assert moved == {(held.job_id, 0)}
    return held


async def test_a_waiting_task_keeps_its_record_and_says_what_it_waits_for(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        await add_job(conn, "chained")
        (held,) = await claim(conn, 1)
        held.events, held.error_attempts, held.crash_attempts, held.alone_crashes = 3, 2, 1, 1
        row = park(held, "signal", wake_key="k", due_at=LATER, detail="waiting for signal approve")
        await waits.hold_tasks(conn, [row], NOW + dt.timedelta(minutes=5))
        seen = await conn.fetchrow("SELECT status, wait_reason, wait_detail, due_at FROM rkyc.job_status")
        assert seen is not None
        assert tuple(seen) == ("pending", "signal", "waiting for signal approve", LATER)
        assert await waits.wake_tasks(conn, "signal", "k", 1) == ["default"]
        (again,) = await claim(conn, 2)
        assert (again.events, again.error_attempts, again.crash_attempts, again.alone_crashes) == (3, 2, 1, 1)
        assert again.step_started_at == held.step_started_at
        assert again.fence > held.fence
        assert not again.is_fresh


async def test_wake_takes_those_of_its_kind_and_key_that_wait_longest(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        waiting = [await hold(conn) for _ in range(3)]
        await hold(conn, "event", "k")
        await hold(conn, "signal", "other")
        assert await waits.wake_tasks(conn, "signal", "nobody", 9) == []
        assert await waits.wake_tasks(conn, "signal", "k", 2) == ["default", "default"]
        assert [one.job_id for one in await claim(conn, 1, slots=9)] == [one.job_id for one in waiting[:2]]
        assert await waits.wake_tasks(conn, "signal", "k", 9) == ["default"]


async def test_two_that_wake_one_each_wake_two(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn, pool.connection() as other:
        for _ in range(2):
            await hold(conn, "limit", "claude")
        transaction = other.transaction()
        await transaction.start()
        assert len(await waits.wake_tasks(other, "limit", "claude", 1)) == 1
        assert len(await waits.wake_tasks(conn, "limit", "claude", 1)) == 1
        await transaction.commit()
        assert len(await claim(conn, 1, slots=9)) == 2


async def test_a_waiting_task_whose_time_has_come_is_ready(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        first = await hold(conn, due_at=LATER)
        await hold(conn, due_at=LATER + dt.timedelta(hours=1))
        await hold(conn)
        before = await dump(conn)
        assert await waits.promote_due_waits(conn, LATER - dt.timedelta(seconds=1)) == []
        assert await dump(conn) == before
        assert await waits.promote_due_waits(conn, LATER) == ["default"]
        assert [one.job_id for one in await claim(conn, 1, slots=9)] == [first.job_id]


async def next_due_at(conn: Connection, worker_id: int) -> dt.datetime | None:
    state = await workers.beat(
        conn,
        worker_id=worker_id,
        busy=0,
        lanes=["default"],
        afters=[0],
        wake_keys=[],
        beat_s=10.0,
        looks_deep=True,
        looks_at_horizon=False,
    )
    due_at: dt.datetime | None = state["next_due_at"]
    return due_at


async def test_the_beat_tells_when_the_first_wait_is_due(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id = await add_worker(conn)
        await hold(conn)
        assert await next_due_at(conn, worker_id) is None
        await hold(conn, due_at=LATER)
        assert await next_due_at(conn, worker_id) == LATER
        await add_job(conn, "chained", run_at=LATER - dt.timedelta(minutes=1))
        assert await next_due_at(conn, worker_id) == LATER - dt.timedelta(minutes=1)


@pytest.mark.parametrize("far", ["infinity", "12000-01-01"])
async def test_a_time_that_no_client_can_read_hides_no_other(pool: Pool, far: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id = await add_worker(conn)
        await hold(conn, due_at=LATER)
        await add_job(conn, "chained", run_at=dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
        await conn.execute(f"UPDATE rkyc.waiting SET due_at = '{far}'")
        await conn.execute(f"UPDATE rkyc.scheduled SET due_at = '{far}'")
        assert await next_due_at(conn, worker_id) is None
        await hold(conn, due_at=LATER)
        assert await next_due_at(conn, worker_id) == LATER


@pytest.mark.parametrize("far", ["infinity", "12000-01-01"])
async def test_a_deadline_that_no_client_can_read_is_none(pool: Pool, far: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        await add_job(conn, "chained")
        await add_job(conn, "chained", fair_key="a")
        await conn.execute(f"UPDATE rkyc.job SET deadline_at = '{far}'")
        (held,) = await claim(conn, 1)
        await waits.hold_tasks(conn, [park(held, "no_worker", wake_key="chained@1")], NOW)
        (parked,) = await tasks.claim_parked_tasks(
            conn, wake_keys=["chained@1"], lanes=["default"], slots=1, worker_id=1, now=NOW
        )
        await waits.hold_tasks(conn, [park(parked, "suspect", wake_key="chained@1")], NOW)
        suspect = await tasks.claim_suspect(
            conn, wake_keys=["chained@1"], lanes=["default"], worker_id=1, now=NOW
        )
        assert suspect is not None
        await turns.lock_turns(conn, "default", NOW)
        (fair,) = await turns.claim_turns(
            conn, lane="default", slots=1, burst=4.0, keys_max=9, worker_id=1, now=NOW
        )
        assert [one.deadline_at for one in (held, parked, suspect, fair)] == [None] * 4


async def test_rare_properties_come_with_every_claim(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        held = await hold(conn, "no_worker", "chained@1")
        assert held.traits == {"parent": 7}
        (parked,) = await tasks.claim_parked_tasks(
            conn, wake_keys=["chained@1"], lanes=["default"], slots=1, worker_id=1, now=NOW
        )
        assert parked.traits == {"parent": 7}
        await waits.hold_tasks(conn, [park(parked, "suspect")], NOW)
        suspect = await tasks.claim_suspect(
            conn, wake_keys=["chained@1"], lanes=["default"], worker_id=1, now=NOW
        )
        assert suspect is not None
        assert suspect.traits == {"parent": 7}
        await add_job(conn, "chained")
        (plain,) = await claim(conn, 1)
        assert plain.traits is None
