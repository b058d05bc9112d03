"""Shared circuit breakers by fixed instants: open after failures in a row, one probe, longer each time."""

from __future__ import annotations

import datetime as dt

import pytest

from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import breakers
from rkyc.store.queue.breakers import BreakerPolicy, BreakerState
from tests.support.moves import NOW

pytestmark = pytest.mark.anyio
POLICY = BreakerPolicy(failures_max=3, window_s=60, pause_s=10, pause_s_max=15, probe_s=100)
ASKED = BreakerState(None)
PROBE = BreakerState(None, is_probe=True)


def at(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


async def ask(conn: Connection, seconds: float) -> BreakerState:
    return await breakers.ask_breaker(conn, "claude", POLICY, at(seconds))


async def fail(conn: Connection, seconds: float, *, is_probe: bool = False) -> bool:
    return await breakers.note_failure(conn, "claude", POLICY, is_probe=is_probe, now=at(seconds))


async def test_failures_in_a_row_open_it_for_everyone(pool: Pool) -> None:
    async with pool.connection() as conn, pool.connection() as other:
        assert await ask(conn, 0) == ASKED
        assert [await fail(conn, 0), await fail(other, 1)] == [False, False]
        assert await ask(other, 1) == ASKED
        assert await fail(conn, 2)
        assert await ask(other, 5) == BreakerState(7.0)


async def test_a_success_between_and_a_long_pause_count_from_zero(pool: Pool) -> None:
    async with pool.connection() as conn:
        await fail(conn, 0)
        await fail(conn, 1)
        await breakers.note_success(conn, "claude", is_probe=False)
        assert not await fail(conn, 2)
        assert not await fail(conn, 3)
        assert not await fail(conn, 64)


async def test_one_probes_and_its_answer_closes_it(pool: Pool) -> None:
    async with pool.connection() as conn, pool.connection() as other:
        for second in range(3):
            await fail(conn, second)
        assert await ask(conn, 13) == PROBE
        assert await ask(other, 13) == BreakerState(100.0)
        # An answer to a call from before says nothing.
        await breakers.note_success(other, "claude", is_probe=False)
        assert await ask(other, 14) == BreakerState(99.0)
        await breakers.note_success(conn, "claude", is_probe=True)
        assert await ask(other, 14) == ASKED


async def test_a_probe_that_fails_opens_it_for_longer_up_to_a_bound(pool: Pool) -> None:
    async with pool.connection() as conn:
        for second in range(3):
            await fail(conn, second)
        assert await ask(conn, 12) == PROBE
        assert await fail(conn, 13, is_probe=True)
        assert await ask(conn, 14) == BreakerState(14.0)
        assert await ask(conn, 28) == PROBE


async def test_a_probe_without_an_answer_is_another_ones_turn(pool: Pool) -> None:
    async with pool.connection() as conn:
        for second in range(3):
            await fail(conn, second)
        assert await ask(conn, 12) == PROBE
        assert await ask(conn, 112) == PROBE
