"""The LISTEN connection of the streams of this process: hints that something may have happened.

It is opened for the first stream, and made anew when it is lost. Hints are capped and may be lost, so
nothing rests on their arrival: all streams are woken whenever it stands anew, and the feeds look by
themselves besides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import Any, Protocol

import orjson

from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.store.pool import Pool, translate_errors
from rkyc.store.queue.jobs import PROGRESS_CHANNEL
from rkyc.store.queue.streams import STREAM_CHANNEL
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# The pause until LISTEN is tried again. Seconds.
_LISTEN_PAUSE_S = 1.0


class Feed(Protocol):
    """Who wants to hear."""

    def wake_job(self, uuid: str) -> None:
        """Something may have happened to a job."""
        ...

    def wake_streams(self, job_ids: Set[int], marked: Set[int]) -> None:
        """Jobs have new tokens; those `marked` have new events as well."""
        ...

    def wake_all(self) -> None:
        """Anything may have happened."""
        ...


class Hints:
    """Tells each feed that has joined; `run` listens until cancelled."""

    def __init__(self, *, pool: Pool, direct_dsn: str | None = None) -> None:
        self._pool = pool
        self._direct_dsn = direct_dsn
        self._feeds: list[Feed] = []
        self._wanted = asyncio.Event()

    def join(self, feed: Feed) -> None:
        """Tell this one too."""
        self._feeds.append(feed)

    def want(self) -> None:
        """Begin to listen, if nobody wanted it before."""
        self._wanted.set()

    async def run(self) -> None:
        """Hold the connection, from the first `want` on."""
        await self._wanted.wait()
        while True:
            conn = None
            lost = asyncio.Event()
            try:
                with translate_errors():
                    conn = await self._pool.dedicated(dsn=self._direct_dsn, application_name="rkyc events")
                    conn.add_termination_listener(lambda *_, lost=lost: lost.set())
                    await conn.add_listener(PROGRESS_CHANNEL, self._hear_progress)
                    await conn.add_listener(STREAM_CHANNEL, self._hear_streams)
                for feed in self._feeds:
                    feed.wake_all()
                await lost.wait()
            except (DatabaseConnectionError, StoreError) as error:
                _log.debug(events.LISTEN_SILENT, error=str(error))
            finally:
                if conn is not None:
                    conn.terminate()
            await asyncio.sleep(_LISTEN_PAUSE_S)

    def _hear_progress(self, _conn: Any, _pid: int, _channel: str, text: Any) -> None:
        try:
            uuid = orjson.loads(text)["job_id"]
        except (ValueError, KeyError, TypeError):
            # Anyone may notify on the channel.
            return
        if isinstance(uuid, str):
            for feed in self._feeds:
                feed.wake_job(uuid)

    def _hear_streams(self, _conn: Any, _pid: int, _channel: str, text: Any) -> None:
        """`12,13!`: jobs with new tokens; the second one has new events as well."""
        names = text.split(",")
        try:
            job_ids = {int(name.rstrip("!")) for name in names}
            marked = {int(name[:-1]) for name in names if name.endswith("!")}
        except ValueError:
            return
        for feed in self._feeds:
            feed.wake_streams(job_ids, marked)
