"""Events to many: each is kept for a while, and every task that waits for its topic gets it."""

from __future__ import annotations

from datetime import datetime

from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)

# How long an event is kept: a job that was woken by it and runs later than that does not find it. Seconds.
KEPT_S = 7 * 86_400.0


async def publish_event(conn: Connection, topic: str, payload: str) -> int:
    """Publish an event (JSON text) and make ready what waits for it; return how many tasks.

    Call it in a transaction: it locks the topic first.
    """
    await fetch(conn, _SQL["open_topic"], topic=topic)
    await fetch(conn, _SQL["lock_topic"], topic=topic)
    row = await fetch_row(conn, _SQL["publish_event"], topic=topic, payload=payload, kept_s=KEPT_S)
    assert row is not None
    woken: int = row["woken"]
    return woken


async def watch_topic(conn: Connection, topic: str) -> None:
    """Keep publishers of a topic waiting until the transaction ends."""
    await fetch(conn, _SQL["open_topic"], topic=topic)
    await fetch(conn, _SQL["watch_topic"], topic=topic)


async def find_start(conn: Connection, topic: str, since: datetime) -> int:
    """Return the number of the last event before an instant; 0: there is none."""
    number: int = await fetch_value(conn, _SQL["find_start"], topic=topic, since=since)
    return number


async def find_event(conn: Connection, topic: str, *, after: int, match: str | None) -> Record | None:
    """Return (id, payload as JSON text) of the first event after a number that holds `match` (JSON text)."""
    return await fetch_row(conn, _SQL["find_event"], topic=topic, after=after, match=match)
