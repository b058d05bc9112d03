"""Carries the tokens of the watched jobs to their clients: read once, encoded once, sent to all.

A client first reads for itself what it missed, page by page and at its own pace; where it has caught up it
joins its job's channel, whose new chunks one statement reads for all channels that have some. A client
that does not take what it is sent is cut: it knows its place and may come back.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence, Set
from uuid import UUID

from rkyc.api.hints import Hints
from rkyc.api.shared_reads import SharedReads
from rkyc.api.token_events import TokenPage, encode_end, make_page
from rkyc.engine.loop import PeriodicLoop
from rkyc.errors import DatabaseConnectionError, NotFoundError, StoreError
from rkyc.store.connections import OwnConnection
from rkyc.store.pool import Pool, Record
from rkyc.store.queue import jobs, streams

# Chunks of a job in one read: what a client that does not read may hold beyond its limit.
PAGE_CHUNKS = 200
# Jobs in one read.
ROUND_JOBS_MAX = 500
# What may wait for a client beyond what its socket holds, and what that one holds. Bytes.
CLIENT_BYTES_MAX = 262_144
SOCKET_BYTES = 131_072
# Sends until the rest of the program gets its turn.
_SENDS_AT_ONCE = 250
_IDLE_S = 3600.0
PING = b": ping\n\n"


class Listener:
    """One client of a job's tokens. `place` is the last chunk it was sent; `over` is set when no more will come."""

    __slots__ = ("_is_chunked", "_transport", "job_id", "over", "place", "sent_at", "uuid")

    def __init__(self, uuid: UUID, job_id: int, transport: asyncio.Transport, *, is_chunked: bool) -> None:
        self.uuid = uuid
        self.job_id = job_id
        self.place = 0
        self.sent_at = time.monotonic()
        self.over = asyncio.Event()
        self._transport = transport
        self._is_chunked = is_chunked

    @property
    def is_gone(self) -> bool:
        return self._transport.is_closing()

    def send(self, data: bytes, chunked: bytes) -> None:
        """Send the same data plain or as HTTP's chunk, whichever this client gets; cut it if it does not read."""
        transport = self._transport
        if transport.is_closing():
            self.over.set()
        elif transport.get_write_buffer_size() > CLIENT_BYTES_MAX:
            transport.abort()
            self.over.set()
        else:
            transport.write(chunked if self._is_chunked else data)


class _Channel:
    """The clients of a job that have caught up, and the last chunk that they were sent."""

    __slots__ = ("job_id", "listeners", "place", "uuid")

    def __init__(self, listener: Listener) -> None:
        self.uuid = listener.uuid
        self.job_id = listener.job_id
        self.place = listener.place
        self.listeners: set[Listener] = set()


class TokenFeed:
    """The token streams of this process; `run` keeps them going until cancelled."""

    def __init__(self, *, pool: Pool, hints: Hints, look_s: float = 1.0, ping_s: float = 15.0) -> None:
        self._pool = pool
        self._hints = hints
        self._ping_s = ping_s
        self._listeners: set[Listener] = set()
        self._channels: dict[int, _Channel] = {}
        self._ids: dict[str, int] = {}
        self._moved: set[int] = set()
        self._has_moved = asyncio.Event()
        self._found = SharedReads(self._find)
        self._pages = SharedReads(self._read_page)
        # Its own: the pool may be full of saves.
        self._own = OwnConnection(pool, application_name="rkyc tokens")
        self._look_loop = PeriodicLoop("tokens look", self._look, interval_s=look_s)
        self.is_closing = False
        hints.join(self)

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._listeners)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look_loop.run(), name="rkyc tokens look")
                reading = PeriodicLoop("tokens", self._read_moved, interval_s=0.0)
                group.create_task(reading.run(), name="rkyc tokens")
        finally:
            await self._own.close()

    def close(self) -> None:
        """End all streams: the process goes away, their clients come back to another."""
        self.is_closing = True
        for listener in self._listeners:
            listener.over.set()

    async def find(self, uuid: UUID) -> int:
        """Return the job's inner id.

        Raises:
            NotFoundError: no such job.
        """
        row = await self._found.get(uuid)
        if row is None:
            raise NotFoundError(f"no job {uuid}: GET /api/v1/jobs lists those that are kept")
        job_id: int = row["id"]
        return job_id

    async def read(self, job_id: int, since: int) -> TokenPage:
        """Return what came after a place; who asks for the same page before it is read shares it."""
        return await self._pages.get((job_id, since))

    async def read_end(self, uuid: UUID, job_id: int, page: TokenPage) -> bytes:
        """Return the last event of a job that is over."""
        async with self._pool.connection() as conn:
            ends = await streams.read_ends(conn, job_id)
        return encode_end(uuid, page.place, page.state or "", [dict(end) for end in ends])

    def add(self, listener: Listener) -> None:
        """Count a client, from its first byte on."""
        self._hints.want()
        self._listeners.add(listener)
        if len(self._listeners) == 1:
            self._look_loop.wake()

    def remove(self, listener: Listener) -> None:
        """Forget a client, wherever it stands."""
        self._listeners.discard(listener)
        channel = self._channels.get(listener.job_id)
        if channel is not None:
            channel.listeners.discard(listener)
            if not channel.listeners:
                del self._channels[listener.job_id]
                del self._ids[str(listener.uuid)]

    def join(self, listener: Listener) -> bool:
        """Let a client that has caught up take part in its job's channel; False: the channel is ahead of it."""
        channel = self._channels.get(listener.job_id)
        if channel is None:
            channel = self._channels[listener.job_id] = _Channel(listener)
            self._ids[str(listener.uuid)] = listener.job_id
        if listener.place < channel.place:
            return False
        channel.listeners.add(listener)
        # Something may have come since it read.
        self._wake({listener.job_id})
        return True

    def wake_job(self, uuid: str) -> None:
        if uuid in self._ids:
            self._wake({self._ids[uuid]})

    def wake_streams(self, job_ids: Set[int], marked: Set[int]) -> None:
        self._wake(self._channels.keys() & job_ids)

    def wake_all(self) -> None:
        self._wake(self._channels.keys())

    def _wake(self, job_ids: Set[int]) -> None:
        if job_ids:
            self._moved |= job_ids
            self._has_moved.set()

    async def _find(self, uuid: UUID) -> Record | None:
        async with self._pool.connection() as conn:
            return await jobs.find_job(conn, uuid)

    async def _read_page(self, key: tuple[int, int]) -> TokenPage:
        async with self._pool.connection() as conn:
            rows = await streams.read_chunks(conn, [key], limit=PAGE_CHUNKS)
        return make_page(rows, key[1], limit=PAGE_CHUNKS)

    async def _read_moved(self) -> float:
        """Read what the channels that were woken have not sent yet, and send it."""
        await self._has_moved.wait()
        self._has_moved.clear()
        moved, self._moved = sorted(self._moved & self._channels.keys()), set()
        for start in range(0, len(moved), ROUND_JOBS_MAX):
            await self._read_channels(moved[start : start + ROUND_JOBS_MAX])
        return 0.0

    async def _read_channels(self, job_ids: Sequence[int]) -> None:
        places = [(c.job_id, c.place) for job_id in job_ids if (c := self._channels.get(job_id))]
        try:
            async with self._own.connection() as conn:
                rows = await streams.read_chunks(conn, places, limit=PAGE_CHUNKS)
        except (DatabaseConnectionError, StoreError):
            self._wake(set(job_ids))
            raise
        since = dict(places)
        sent = 0
        for job_id, group in itertools.groupby(rows, lambda row: row["job_id"]):
            page = make_page(list(group), since[job_id], limit=PAGE_CHUNKS)
            channel = self._channels.get(job_id)
            if channel is not None and channel.place == since[job_id]:
                sent += await self._send(channel, page)
            if sent > _SENDS_AT_ONCE:
                sent = 0
                await asyncio.sleep(0)

    async def _send(self, channel: _Channel, page: TokenPage) -> int:
        """Send a page to all clients of a channel; return how many there are."""
        # Asked for first: from here to the end nothing comes between.
        end = await self.read_end(channel.uuid, channel.job_id, page) if page.is_over else b""
        whole = page.after(0) + end
        if whole:
            frame, now = _frame(whole), time.monotonic()
            for listener in tuple(channel.listeners):
                if page.is_lost or listener.place <= channel.place:
                    listener.send(whole, frame)
                elif rest := page.after(listener.place) + end:
                    listener.send(rest, _frame(rest))
                listener.place = page.place
                listener.sent_at = now
                if end:
                    listener.over.set()
            channel.place = page.place
        if page.is_full:
            self._wake({channel.job_id})
        return len(channel.listeners) if whole else 0

    async def _look(self) -> float | None:
        """Read all channels, send a comment where nothing came for long, and forget who went away."""
        if not self._listeners:
            return _IDLE_S
        ping, now = _frame(PING), time.monotonic()
        for channel in tuple(self._channels.values()):
            for listener in tuple(channel.listeners):
                if now - listener.sent_at >= self._ping_s:
                    listener.send(PING, ping)
                    listener.sent_at = now
                elif listener.is_gone:
                    listener.over.set()
        self.wake_all()
        return None


def _frame(data: bytes) -> bytes:
    """Return the data as a chunk of HTTP/1.1, made once for all who get it."""
    return b"%x\r\n%b\r\n" % (len(data), data)
