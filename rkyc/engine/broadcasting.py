"""Sends events to every process: the client's side.

The event is part of the transaction that makes the change it tells of: no one hears of a change that was rolled
back, and no change goes untold. Who listens, and how none is missed: listeners.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rkyc.engine.intake import encode_input
from rkyc.errors import InvalidInputError
from rkyc.flow.broadcast import DELETE, FULL_REFRESH, UPSERT, Cache
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import broadcasts

TOPIC_CHARS_MAX = 255
KIND_CHARS_MAX = 63


class _HasPool(Protocol):
    async def pool(self) -> Pool: ...


class _CanBroadcast(Protocol):
    async def broadcast(
        self, topic: str, payload: Any = None, *, kind: str = ..., conn: Connection | None = None
    ) -> int: ...


class Broadcasting:
    """What `Client` can say to all processes at once."""

    async def broadcast(
        self: _HasPool,
        topic: str,
        payload: Any = None,
        *,
        kind: str = "event",
        conn: Connection | None = None,
    ) -> int:
        """Send an event to every process that subscribes to its topic, and return its number.

        With `conn` it is part of the caller's transaction, and is sent when that commits; processes get the events
        of a topic in the order of these calls.

        Raises:
            InvalidInputError, PayloadTooLargeError: topic, kind or payload can't be taken.
        """
        if (
            not 1 <= len(topic) <= TOPIC_CHARS_MAX
            or not 1 <= len(kind) <= KIND_CHARS_MAX
            or "\0" in topic + kind
        ):
            raise InvalidInputError(
                f"topic {topic[:40]!r} with kind {kind[:40]!r} can't be used: "
                f"expected 1 to {TOPIC_CHARS_MAX} and 1 to {KIND_CHARS_MAX} characters"
            )
        text = encode_input(payload)
        if conn is not None:
            return await broadcasts.broadcast(conn, topic=topic, kind=kind, payload=text)
        async with (await self.pool()).connection() as own:
            return await broadcasts.broadcast(own, topic=topic, kind=kind, payload=text)


class CachePublisher:
    """Tells the processes that keep a `Cache` what changed in the table that it copies.

    Give each call the connection of the transaction that makes the change.
    """

    def __init__(self, client: _CanBroadcast, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    async def publish_full_refresh(
        self, entries: Sequence[Mapping[str, Any]], *, conn: Connection | None = None
    ) -> int:
        """Replace all entries; return the event's number.

        Read them under a lock that holds writers off (`LOCK TABLE … IN SHARE MODE`) in the same transaction: else a
        change that is told of before and committed after would be lost.

        Raises:
            DefinitionError: an entry without an id.
        """
        return await self._send(FULL_REFRESH, self._cache.describe_refresh(entries), conn)

    async def publish_upsert(self, entry: Mapping[str, Any], *, conn: Connection | None = None) -> int:
        """Add or change one entry; return the event's number.

        Raises:
            DefinitionError: the entry has no id.
        """
        return await self._send(UPSERT, self._cache.describe_upsert(entry), conn)

    async def publish_delete(self, entry_id: Any, *, conn: Connection | None = None) -> int:
        """Remove one entry; an unknown id is harmless. Return the event's number.

        Tell of a row that was there: a DELETE that finds none takes no lock, and would not be ordered against the
        INSERT that it just missed.
        """
        return await self._send(DELETE, self._cache.describe_delete(entry_id), conn)

    async def _send(self, kind: str, payload: dict[str, Any], conn: Connection | None) -> int:
        return await self._client.broadcast(self._cache.topic, payload, kind=kind, conn=conn)
