"""The statements of token streams: numbers, leases, marks, places."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import streams
from rkyc.store.queue.streams import Chunk, Mark
from tests.support.engine import announce
from tests.support.moves import NOW, add_job, add_worker, claim, dump, stale
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


def chunk(held: Claim, number: int = 0, text: str = "a", **changes: object) -> Chunk:
    made = Chunk(held.job_id, held.branch, held.fence, held.step, 1, number, text)
    return replace(made, **changes)  # type: ignore[arg-type]


def mark(held: Claim, *, is_end: bool = False) -> Mark:
    return Mark(held.job_id, held.branch, held.fence, held.events, held.step, 1, is_end, 3, 9)


async def take(conn: Connection, number: int = 1) -> list[Claim]:
    """Return so many claimed tasks of jobs of their own."""
    for _ in range(number):
        await add_job(conn, "single")
    return await claim(conn, await add_worker(conn), slots=number)


async def test_numbers_grow_within_a_job_without_a_gap(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        one, two = await take(conn, 2)
        for number in range(3):
            held = await streams.write_chunks(conn, [chunk(one, number), chunk(two, number)], notice="")
            assert held == {(one.job_id, 0), (two.job_id, 0)}
        rows = await streams.read_chunks(conn, [(one.job_id, 0), (two.job_id, 0)], limit=10)
        for job in (one, two):
            seqs = [row["seq"] for row in rows if row["job_id"] == job.job_id]
            assert seqs == [rows_first := seqs[0], rows_first + 1, rows_first + 2]
            assert {row["first_seq"] for row in rows if row["job_id"] == job.job_id} == {rows_first}


async def test_writers_of_one_job_commit_in_the_order_of_their_numbers(pool: Pool) -> None:
    """A reader that goes on after the last number that it saw must not miss one that commits later."""
    await announce(pool, *registry)
    async with pool.connection() as conn:
        (held,) = await take(conn)
    done = asyncio.Event()

    async def write(step: str) -> None:
        async with pool.connection() as conn:
            for number in range(60):
                await streams.write_chunks(conn, [chunk(held, number, step=step)], notice="")

    async def read() -> list[int]:
        seen: list[int] = []
        async with pool.connection() as conn:
            while True:
                was_done = done.is_set()
                place = seen[-1] if seen else 0
                rows = await streams.read_chunks(conn, [(held.job_id, place)], limit=1000)
                seen += [row["seq"] for row in rows if row["seq"] is not None]
                if was_done:
                    return seen

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(f"s{number}") for number in range(4)))
    done.set()
    seen = await reading
    assert len(seen) == 240
    assert seen == list(range(seen[0], seen[0] + 240))


async def test_without_its_lease_nothing_is_written(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        lost, kept = await take(conn, 2)
        before = await dump(conn)
        assert await streams.write_chunks(conn, [chunk(stale(lost))], notice="") == set()
        assert await streams.write_marks(conn, [mark(stale(lost))], now=NOW) == set()
        held = await streams.write_chunks(conn, [chunk(stale(lost)), chunk(kept)], notice="")
        assert held == {(kept.job_id, 0)}
        assert await conn.fetchval("SELECT count(*) FROM rkyc.stream_chunk") == 1
        assert await conn.fetchval("SELECT count(*) FROM rkyc.stream_event") == 0
        assert await dump(conn) == before


async def test_first_chunk_of_a_later_lease_says_that_it_begins_again(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        (held,) = await take(conn)
        await streams.write_chunks(conn, [chunk(held, 0)], notice="")
        await streams.write_chunks(conn, [chunk(held, 1)], notice="")
        await conn.execute("UPDATE rkyc.running SET fence = fence + 5")
        again = replace(held, fence=held.fence + 5)
        await streams.write_chunks(conn, [chunk(again, 0), chunk(again, 0, step="other")], notice="")
        await streams.write_chunks(conn, [chunk(again, 1)], notice="")
        rows = await streams.read_chunks(conn, [(held.job_id, 0)], limit=10)
    assert [row["is_again"] for row in rows] == [False, False, True, False, False]


async def test_chunks_that_landed_are_found(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        one, two = await take(conn, 2)
        await streams.write_chunks(conn, [chunk(one, 4)], notice="")
        asked = [chunk(two, 4), chunk(one, 4), chunk(one, 5), chunk(one, 4, step="other")]
        assert await streams.find_chunks(conn, asked) == {1}


async def test_mark_sent_twice_stands_once(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        (held,) = await take(conn)
        for _ in range(2):
            for is_end in (False, True):
                written = await streams.write_marks(conn, [mark(held, is_end=is_end)], now=NOW)
                assert written == {(held.job_id, 0)}
        rows = await conn.fetch("SELECT seq, is_end, chunks, chars FROM rkyc.stream_event ORDER BY is_end")
        assert [tuple(row) for row in rows] == [(0, False, 3, 9), (0, True, 3, 9)]
        ends = await streams.read_ends(conn, held.job_id)
        assert [tuple(row) for row in ends] == [("only", 1, 3, 9)]


async def test_marks_of_a_forked_job_take_numbers_of_its_counter(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        (held,) = await take(conn)
        await conn.execute("INSERT INTO rkyc.branching (job_id, events) VALUES ($1, 7)", held.job_id)
        for is_end in (False, True, True):
            await streams.write_marks(conn, [mark(held, is_end=is_end)], now=NOW)
        assert await conn.fetchval("SELECT events FROM rkyc.branching") == 9
        rows = await conn.fetch("SELECT seq FROM rkyc.stream_event ORDER BY seq")
        assert [row["seq"] for row in rows] == [8, 9]


async def test_place_that_the_table_does_not_know_gets_all(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        (held,) = await take(conn)
        await streams.write_chunks(conn, [chunk(held, 0)], notice="")
        await streams.write_chunks(conn, [chunk(held, 1)], notice="")
        first, last = [row["seq"] for row in await streams.read_chunks(conn, [(held.job_id, 0)], limit=9)]
        answers = {}
        for place in (0, 5, first, last, last + 1):
            rows = await streams.read_chunks(conn, [(held.job_id, place)], limit=9)
            answers[place] = ([row["seq"] for row in rows], rows[0]["is_lost"])
    assert answers == {
        0: ([first, last], False),
        5: ([first, last], True),
        first: ([last], False),
        last: ([None], False),
        last + 1: ([first, last], True),
    }


async def test_notice_is_heard_by_who_listens(pool: Pool, dsn: str) -> None:
    await announce(pool, *registry)
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with pool.connection() as conn, pool.connection() as listening:
        (held,) = await take(conn)
        await listening.add_listener(streams.STREAM_CHANNEL, lambda *said: heard.put_nowait(said[-1]))
        await streams.write_chunks(conn, [chunk(held)], notice=f"{held.job_id}!")
        assert await asyncio.wait_for(heard.get(), 10) == f"{held.job_id}!"
        await listening.reset()
