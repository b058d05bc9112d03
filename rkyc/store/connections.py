"""Connections that stay with one owner: for good, or as long as its calls follow one another.

Both are used by one caller at a time, and are made anew when they are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from rkyc.errors import DatabaseConnectionError
from rkyc.store.pool import Connection, LentConnection, Pool, translate_errors

# How long a connection stays with who may want it again. Seconds.
KEPT_S = 0.05


class OwnConnection:
    """One connection that its owner opens and closes."""

    def __init__(self, pool: Pool, *, application_name: str) -> None:
        self._pool = pool
        self._application_name = application_name
        self._conn: Connection | None = None
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend it, in autocommit mode.

        Raises:
            DatabaseConnectionError: lost; try later.
            StoreError: the server can't be reached, or can't serve.
        """
        async with self._lock:
            try:
                with translate_errors():
                    if self._conn is None or self._conn.is_closed():
                        self._conn = await self._pool.dedicated(application_name=self._application_name)
                    yield self._conn
            except (DatabaseConnectionError, asyncio.CancelledError):
                if self._conn is not None:
                    self._conn.terminate()
                    self._conn = None
                raise

    async def close(self) -> None:
        """Close it for good."""
        async with self._lock:
            if self._conn is not None:
                self._conn.terminate()
                self._conn = None


class KeptConnection:
    """A connection that a pool lends, kept between short calls that follow one another.

    To be lent one costs a third of a single-row statement. It goes back when nobody wanted it for a while, so
    that its owner has nothing to close.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._conn: LentConnection | None = None
        self._lock = asyncio.Lock()
        self._used_at = 0.0
        self._watch: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend it, in autocommit mode.

        Raises:
            DatabaseConnectionError: lost or not to be had; try later.
        """
        async with self._lock:
            if self._conn is not None and self._conn.is_closed():
                await self._give_back()
            if self._conn is None:
                self._conn = await self._pool.lend()
                self._watch = asyncio.create_task(self._give_back_when_idle(self._conn))
            try:
                with translate_errors():
                    yield self._conn
            except BaseException:
                # Whatever state it is in: the pool knows what to do with it.
                await self._give_back()
                raise
            finally:
                self._used_at = time.monotonic()

    async def _give_back_when_idle(self, mine: LentConnection) -> None:
        while self._conn is mine:
            rest = self._used_at + KEPT_S - time.monotonic()
            if rest <= 0 and not self._lock.locked():
                # Under the lock: whoever comes meanwhile is lent this one again, and the pool opens no other.
                async with self._lock:
                    await self._give_back()
                return
            await asyncio.sleep(max(rest, KEPT_S / 2))

    async def _give_back(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await self._pool.take_back(conn)
