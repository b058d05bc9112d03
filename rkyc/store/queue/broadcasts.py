"""The log of events that every process gets: append, read on from a place, forget what is old.

Numbers are drawn in the order of the changes, but commit out of order; `read_broadcasts` returns bounds with the
rows, by which flow/broadcast.py tells which of them nothing can come before any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rkyc.flow.broadcast import Broadcast, Page
from rkyc.store.pool import Connection, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def broadcast(conn: Connection, *, topic: str, kind: str, payload: str) -> int:
    """Append an event (payload as JSON text) and return its number; it is there when the transaction commits."""
    number: int = await fetch_value(conn, _SQL["broadcast"], topic=topic, kind=kind, payload=payload)
    return number


async def find_topic_start(conn: Connection, topic: str) -> int:
    """Return the place from which a new process reads a topic."""
    start: int = await fetch_value(conn, _SQL["find_topic_start"], topic=topic)
    return start


async def read_broadcasts(conn: Connection, *, topic: str, after: int, noted: int, limit: int) -> Page:
    """Return a topic's events above a place, in their order; with a bound where one is above `noted`."""
    rows = await fetch(conn, _SQL["read_broadcasts"], topic=topic, after=after, noted=noted, limit=limit)
    seen: Sequence[Broadcast] = [
        Broadcast(row["id"], topic, row["kind"], row["payload"], row["at"])
        for row in rows
        if row["id"] is not None
    ]
    return Page(seen, rows[0]["xmin"], rows[-1]["bound"], is_full=len(seen) == limit)


async def drop_broadcasts(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget events from before an instant that no new process would begin with; return how many."""
    return len(await fetch(conn, _SQL["drop_broadcasts"], before=before, limit=limit))
