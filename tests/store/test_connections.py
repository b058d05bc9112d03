"""A kept connection: one owner, nothing to close."""

from __future__ import annotations

import asyncio

import pytest

from rkyc.store.connections import KeptConnection
from rkyc.store.pool import LentConnection, Pool

pytestmark = pytest.mark.anyio


async def test_who_comes_while_it_is_given_back_is_lent_the_same_one(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the pool opens another, which has to learn every statement anew."""
    take_back, begun = pool.take_back, asyncio.Event()

    async def take_back_slowly(conn: LentConnection) -> None:
        begun.set()
        await asyncio.sleep(0.01)
        await take_back(conn)

    monkeypatch.setattr(pool, "take_back", take_back_slowly)
    kept = KeptConnection(pool)
    async with kept.connection() as conn:
        first = conn.get_server_pid()
    async with asyncio.timeout(10):
        await begun.wait()
    async with kept.connection() as conn:
        assert conn.get_server_pid() == first
