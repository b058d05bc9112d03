"""The presence connection: while its backend lives, the others know that this worker lives.

It is also the LISTEN connection. It is made anew at once when it is lost; that is noticed by the
others only if it stays away for longer than their grace. Behind a transaction-mode pooler LISTEN is
silent: a notification to oneself at the start finds out, and then polling and beats do the work. A
slow start looks the same, so it is tried again now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.store.pool import Connection, Pool, translate_errors
from rkyc.store.queue import jobs, workers
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# The longest that a notification to oneself may take before listening counts as broken. Seconds.
ECHO_S = 2.0
# A loop that was blocked sees a limit pass before it reads what has come: so much longer for reading. Seconds.
READ_S = 0.1
# Between two tries to listen where it was silent. Seconds.
DEAF_S = 60.0
# How often a silent presence is asked, and how long it may take. Seconds.
PING_S = 60.0
PING_LIMIT_S = 5.0


class Presence:
    """Holds the connection; `on_notice(payload)` gets each wake, `on_return()` runs after a reconnect."""

    def __init__(
        self,
        *,
        pool: Pool,
        direct_dsn: str | None,
        worker_id: int,
        on_notice: Callable[[str], None],
        on_return: Callable[[], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._direct_dsn = direct_dsn
        self._worker_id = worker_id
        self._on_notice = on_notice
        self._on_return = on_return
        self._echo: str | None = None
        self._echoed = asyncio.Event()
        self.is_listening = False
        self.settled = asyncio.Event()

    async def run(self) -> None:
        """Keep the connection until cancelled; where listening does not work there is none, and it is tried now and then."""
        times = 0
        was_silent = False
        while True:
            conn: Connection | None = None
            try:
                lost = asyncio.Event()
                with translate_errors():
                    conn = await self._open(lost)
                if not self.is_listening:
                    if not was_silent:
                        _log.warning(events.LISTEN_SILENT, advice="set RKYC_DIRECT_DSN; polling until then")
                    was_silent = True
                    self.settled.set()
                    conn.terminate()
                    await asyncio.sleep(DEAF_S)
                    continue
                if times or was_silent:
                    await self._on_return()
                times += 1
                self.settled.set()
                with translate_errors():
                    await self._stay(conn, lost)
                _log.warning(events.PRESENCE_LOST, worker_id=self._worker_id)
            except (DatabaseConnectionError, StoreError, TimeoutError) as error:
                _log.warning(events.PRESENCE_LOST, worker_id=self._worker_id, error=str(error))
                await asyncio.sleep(0.1)
            finally:
                if conn is not None:
                    conn.terminate()

    async def _open(self, lost: asyncio.Event) -> Connection:
        conn = await self._pool.dedicated(
            dsn=self._direct_dsn, application_name=f"rkyc worker {self._worker_id}"
        )
        try:
            return await self._introduce(conn, lost)
        except BaseException:
            conn.terminate()
            raise

    async def _introduce(self, conn: Connection, lost: asyncio.Event) -> Connection:
        """Listen, hear oneself, and say that the presence stands."""
        conn.add_termination_listener(lambda *_: lost.set())
        await conn.add_listener(jobs.WAKE_CHANNEL, self._hear)
        self._echoed.clear()
        self._echo = f"echo:{secrets.token_hex(8)}"
        async with self._pool.connection() as other:
            await jobs.notify(other, jobs.WAKE_CHANNEL, [self._echo])
        if not await self._hears_itself():
            if self.is_listening:
                # It worked before: a slow server or a blocked loop, not a pooler.
                raise DatabaseConnectionError("the presence connection does not hear itself")
            return conn
        self.is_listening = True
        await workers.mark_presence(conn, self._worker_id)
        return conn

    async def _hears_itself(self) -> bool:
        for limit_s in (ECHO_S, READ_S):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._echoed.wait()
                    return True
        return False

    async def _stay(self, conn: Connection, lost: asyncio.Event) -> None:
        """Wait until the connection is lost; ask now and then, for a cut network tells nobody."""
        while not lost.is_set():
            try:
                async with asyncio.timeout(PING_S):
                    await lost.wait()
            except TimeoutError:
                async with asyncio.timeout(PING_LIMIT_S):
                    await workers.ping(conn)

    def _hear(self, _conn: Any, _pid: int, _channel: str, text: Any) -> None:
        if text.startswith("echo:"):
            if text == self._echo:
                self._echoed.set()
            return
        self._on_notice(text)
