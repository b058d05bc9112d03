"""Rates by fixed instants: what is let in when, whatever was estimated, whoever asks."""

from __future__ import annotations

import datetime as dt
import heapq
import random

import pytest

from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import buckets
from rkyc.store.queue.buckets import Charge
from tests.support.moves import NOW

pytestmark = pytest.mark.anyio


def at(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


async def ask(
    conn: Connection, now_s: float, units: float = 1.0, *, burst: float = 1.0, scope: str = "b"
) -> float:
    """Ask a bucket of one unit a second; return the seconds at which the units are let in."""
    admitted = await buckets.reserve_units(conn, [Charge(scope, units, 1.0, burst)], at(now_s))
    return (admitted.start_at - NOW).total_seconds()


async def test_starts_come_one_by_one_at_the_rate(pool: Pool) -> None:
    async with pool.connection() as conn:
        assert [await ask(conn, 0) for _ in range(4)] == [0, 1, 2, 3]
        assert await ask(conn, 3.5) == 4
        # What was not used is not saved up.
        assert [await ask(conn, 100) for _ in range(3)] == [100, 101, 102]


async def test_a_burst_comes_at_once_and_no_more_than_it(pool: Pool) -> None:
    async with pool.connection() as conn:
        assert [await ask(conn, 0, burst=3) for _ in range(5)] == [0, 0, 0, 1, 2]


async def test_one_that_is_larger_than_the_burst_waits_for_an_empty_bucket(pool: Pool) -> None:
    async with pool.connection() as conn:
        assert await ask(conn, 0, burst=3) == 0
        assert await ask(conn, 0, 10, burst=3) == 1
        assert await ask(conn, 0, burst=3) == 9


async def test_the_latest_of_several_buckets_says_when(pool: Pool) -> None:
    async with pool.connection() as conn:
        charges = [Charge("fast", 1, 10.0, 1), Charge("slow", 1, 0.5, 1)]
        starts = [(await buckets.reserve_units(conn, charges, NOW)).wait_s for _ in range(3)]
        assert starts == [0, 2, 4]
        assert await ask(conn, 0, scope="other") == 0


async def test_what_was_not_used_is_given_back(pool: Pool) -> None:
    async with pool.connection() as conn:
        assert await ask(conn, 0, 30, burst=30) == 0
        await buckets.settle_units(conn, [Charge("b", -20, 1.0, 30)])
        assert await ask(conn, 0, 20, burst=30) == 0
        assert await ask(conn, 0, 1, burst=30) == 1


async def test_a_grant_is_used_once_and_not_before_its_time_nor_long_after(pool: Pool) -> None:
    task = {"job_id": 7, "branch": 0, "purpose": "step ask"}
    async with pool.connection() as conn:
        assert await buckets.use_grant(conn, **task, slack_s=3, now=at(0)) is None
        await buckets.keep_grant(conn, **task, start_at=at(60))
        early = await buckets.use_grant(conn, **task, slack_s=3, now=at(50))
        assert early is not None and early.wait_s == 10
        on_time = await buckets.use_grant(conn, **task, slack_s=3, now=at(62))
        assert on_time is not None and on_time.wait_s == 0
        assert await buckets.use_grant(conn, **task, slack_s=3, now=at(62)) is None
        await buckets.keep_grant(conn, **task, start_at=at(60))
        assert await buckets.use_grant(conn, **task, slack_s=3, now=at(64)) is None
        assert await buckets.use_grant(conn, **task, slack_s=3, now=at(62)) is None


async def test_calls_are_charged_when_they_begin_and_all_or_none_of_their_buckets(pool: Pool) -> None:
    async with pool.connection() as conn:
        calls, units = Charge("calls", 1, 1.0, 0), Charge("units", 10, 1.0, 2)
        assert await buckets.take_units(conn, [calls, units], NOW) == 0
        assert await buckets.take_units(conn, [calls, units], NOW) == 8
        assert await buckets.take_units(conn, [calls], at(1)) == 0
        await buckets.settle_units(conn, [Charge("units", -10, 1.0, 2)])
        assert await buckets.take_units(conn, [units], at(1)) == 0


async def test_a_token_limit_holds_in_every_minute_and_is_used_up(pool: Pool) -> None:
    """100,000 tokens a minute, burst 5 %: three processes with callers in line, for three minutes."""
    dice, per_s, ahead = random.Random(3), 100_000 / 60, 2_500.0
    used: list[tuple[float, int]] = []
    # (when, process, what it gives back; None: the first in line asks).
    turns: list[tuple[float, int, float | None]] = [(0.0, process, None) for process in range(3)]
    async with pool.connection() as conn:
        while turns[0][0] < 180:
            now_s, process, rest = heapq.heappop(turns)
            if rest is not None:
                await buckets.settle_units(conn, [Charge("t", rest, per_s, ahead)])
                continue
            estimate, actual = 4_000, dice.randint(500, 3_500)
            wait_s = await buckets.take_units(conn, [Charge("t", estimate, per_s, ahead)], at(now_s))
            if wait_s <= 0:
                used.append((now_s, actual))
                heapq.heappush(turns, (now_s + dice.uniform(0.5, 2.5), process, float(actual - estimate)))
            heapq.heappush(turns, (now_s + min(max(wait_s, 0.01), 0.5), process, None))
            assert len(used) < 1_000, "calls are let in without end"
    worst = max(sum(n for s, n in used if start <= s < start + 60) for start, _ in used)
    assert worst <= 110_000
    assert sum(n for s, n in used if 60 <= s < 180) >= 0.9 * 200_000
