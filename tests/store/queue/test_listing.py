"""Pages of jobs: each way in finds what the status view says, in one order, none twice."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest

from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import commits, listing
from tests.support.engine import announce
from tests.support.moves import NOW, add_job, add_worker, advance, claim, finish
from tests.support.places import WHERE, put
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


async def numbers(conn: Connection, **filters: Any) -> list[int]:
    """Return the inner ids of the jobs of a page."""
    rows = await listing.list_jobs(conn, **filters)
    ids = [await conn.fetchval("SELECT id FROM rkyc.job WHERE uuid = $1", row["job_id"]) for row in rows]
    if "status" in filters:
        assert {row["status"] for row in rows} <= {filters["status"]}
    return ids


async def uuid_of(conn: Connection, number: int) -> UUID:
    uuid: UUID = await conn.fetchval("SELECT uuid FROM rkyc.job WHERE id = $1", number)
    return uuid


@pytest.fixture
async def everywhere(pool: Pool) -> dict[str, list[int]]:
    """Two jobs in each place; return their numbers, newest first, by status."""
    await announce(pool, *registry)
    found: dict[str, list[int]] = {}
    async with pool.connection() as conn:
        for _ in range(2):
            # What is ready would be claimed by the moves after it.
            for where in sorted(WHERE, key=lambda one: one == "ready"):
                number = await put(conn, where)
                found.setdefault(WHERE[where][0], []).insert(0, number)
            await conn.execute("UPDATE rkyc.ready SET lane = 'low'")
    return found


async def test_every_status_lists_its_jobs_newest_first(pool: Pool, everywhere: dict[str, list[int]]) -> None:
    async with pool.connection() as conn:
        for status, expected in everywhere.items():
            assert await numbers(conn, status=status) == expected
            assert await numbers(conn, status=status, pipeline="chained") == expected
            assert await numbers(conn, status=status, pipeline="single") == []
        all_jobs = sorted((number for some in everywhere.values() for number in some), reverse=True)
        assert await numbers(conn) == await numbers(conn, pipeline="chained") == all_jobs


@pytest.mark.parametrize("status", [None, "pending", "running", "completed", "failed", "cancelled"])
async def test_pages_follow_one_another_without_gap_or_repetition(
    pool: Pool, everywhere: dict[str, list[int]], status: str | None
) -> None:
    filters = {"status": status} if status else {}
    async with pool.connection() as conn:
        whole = await numbers(conn, **filters)
        seen: list[int] = []
        before: UUID | None = None
        while page := await numbers(conn, **filters, before=before, limit=1):
            seen += page
            before = await uuid_of(conn, page[-1])
        assert seen == whole


async def test_page_goes_on_behind_a_job_that_was_removed(
    pool: Pool, everywhere: dict[str, list[int]]
) -> None:
    async with pool.connection() as conn:
        newest, *older = everywhere["completed"]
        before = await uuid_of(conn, newest)
        await conn.execute("DELETE FROM rkyc.job WHERE id = $1", newest)
        assert await numbers(conn, status="completed", before=before) == older
        assert await numbers(conn, before=UUID(int=1)) == []


async def test_only_jobs_made_since_then_are_listed(pool: Pool, everywhere: dict[str, list[int]]) -> None:
    async with pool.connection() as conn:
        newest = max(number for some in everywhere.values() for number in some)
        await conn.execute(
            "UPDATE rkyc.job SET created_at = created_at - interval '1 hour' WHERE id <> $1", newest
        )
        now: dt.datetime = await conn.fetchval("SELECT clock_timestamp()")
        assert await numbers(conn, since=now - dt.timedelta(minutes=10)) == [newest]
        for status, expected in everywhere.items():
            recent = [number for number in expected if number == newest]
            assert await numbers(conn, status=status, since=now - dt.timedelta(minutes=10)) == recent
        assert await numbers(conn, since=now + dt.timedelta(days=1)) == []


async def test_job_with_many_branches_is_listed_once(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await add_job(conn, "forked")
        await conn.execute("UPDATE rkyc.ready SET branch = 1")
        await conn.execute(
            "INSERT INTO rkyc.ready (lane, job_id, branch, step) VALUES ('default', $1, 2, 'm2')", number
        )
        assert await numbers(conn, status="pending") == [number]
        # One branch runs, another waits: the job runs.
        await claim(conn, await add_worker(conn))
        assert await numbers(conn, status="pending") == []
        assert await numbers(conn, status="running") == [number]
        await claim(conn, await add_worker(conn))
        assert await numbers(conn, status="running") == [number]


async def test_company_is_found_wherever_it_was_named(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        at_enqueue = [
            await add_job(conn, "chained", metadata=f'{{"{key}": "7"}}') for key in ("corp", "corp_id")
        ]
        await conn.execute("UPDATE rkyc.ready SET lane = 'low'")
        by_step = await add_job(conn, "chained")
        (held,) = await claim(conn, await add_worker(conn))
        await commits.advance_tasks(conn, [advance(held, metadata='{"corp_id": "7"}')], worker_id=1, now=NOW)
        by_last_step = await add_job(conn, "single")
        (held,) = await claim(conn, 1)
        await commits.finish_tasks(conn, [finish(held, metadata='{"corp_id": "7"}')], worker_id=1, now=NOW)
        renamed = await add_job(conn, "chained", metadata='{"corp_id": "7"}')
        (held,) = await claim(conn, 1)
        await commits.advance_tasks(conn, [advance(held, metadata='{"corp_id": "8"}')], worker_id=1, now=NOW)
        assert await numbers(conn, corp="7") == [by_last_step, by_step, *at_enqueue[::-1]]
        assert await numbers(conn, corp="8") == [renamed]
        assert await numbers(conn, corp="7", status="completed") == [by_last_step]
        assert await numbers(conn, corp="7", pipeline="single") == [by_last_step]
        assert await numbers(conn, corp="7", limit=2) == [by_last_step, by_step]
        assert await numbers(conn, corp="7", before=await uuid_of(conn, by_step)) == at_enqueue[::-1]
        assert await numbers(conn, corp="9") == []


async def test_company_with_an_endless_name_can_be_enqueued_and_found(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        endless = "주" * 100_000
        number = await add_job(conn, "single", metadata=f'{{"corp_id": "{endless}"}}')
        assert await numbers(conn, corp=endless) == [number]
        assert await numbers(conn, corp=endless + "x") == []
