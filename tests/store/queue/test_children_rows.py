"""The rows of children: which end wakes the parent, also when two come at once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import children, waits
from tests.support.engine import announce, query, wait_for
from tests.support.moves import NOW, add_job, claim, park
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


async def add_family(conn: Connection, *, wake_key: str | None = None) -> tuple[int, list[int], list[UUID]]:
    """Let a parent wait for the first of two children, or for what the key says; return their numbers and ids."""
    parent = await add_job(conn, "chained")
    (held,) = await claim(conn, 1)
    numbers, ids = [], []
    for name in ("child:a", "child:b"):
        number = await add_job(conn, "single")
        uuid = await conn.fetchval("SELECT uuid FROM rkyc.job WHERE id = $1", number)
        place: dict[str, Any] = {"parent_id": parent, "step": held.step, "branch": 0, "name": name}
        await children.add_child(conn, **place, child_uuid=uuid, on_parent_end="cancel", worker_id=1, now=NOW)
        assert await children.find_child(conn, **place) == uuid
        numbers.append(number)
        ids.append(uuid)
    await waits.hold_tasks(conn, [park(held, "child", wake_key=wake_key or str(ids[0]))], NOW)
    return parent, numbers, ids


async def test_the_child_that_is_waited_for_wakes_its_parent(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        _, (first, second), _ = await add_family(conn)
        assert await children.end_child(conn, second, "completed", NOW) == []
        assert await children.end_child(conn, first, "failed", NOW) == ["default"]
        assert await children.end_child(conn, first, "failed", NOW) == []


async def test_a_job_without_a_parent_wakes_nobody(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        assert await children.end_child(conn, await add_job(conn, "single"), "completed", NOW) == []


async def test_of_two_ends_at_once_the_later_one_wakes_the_parent(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn, pool.connection() as other:
        _, (first, second), _ = await add_family(conn, wake_key=children.ALL)
        earlier = conn.transaction()
        await earlier.start()
        assert await children.end_child(conn, first, "completed", NOW) == []
        later = asyncio.create_task(children.end_child(other, second, "completed", NOW))

        async def stands_or_is_through() -> bool:
            waits_at_lock = (
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%lock_job%'"
            )
            return later.done() or bool(await query(pool, waits_at_lock))

        await wait_for(stands_or_is_through)
        await earlier.commit()
        assert await later == ["default"]
