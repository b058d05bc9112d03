"""How much waits, and whether the database answers at all: what probes and scrapes ask."""

from __future__ import annotations

from rkyc.store.pool import Connection, Record, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


async def ping(conn: Connection) -> None:
    """Make the database answer."""
    await fetch(conn, _SQL["ping"])


async def list_queues(conn: Connection) -> list[Record]:
    """Return the rows of `queue_depth`."""
    return await fetch(conn, _SQL["list_queues"])


async def list_dead_queues(conn: Connection) -> list[Record]:
    """Return the rows of `dlq_depth`."""
    return await fetch(conn, _SQL["list_dead_queues"])


async def measure_lanes(conn: Connection) -> list[Record]:
    """Return (lane, ready, oldest_seconds) of every lane, by rank."""
    return await fetch(conn, _SQL["measure_lanes"])
