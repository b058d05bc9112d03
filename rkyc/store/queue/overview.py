"""What an operator asks about the whole: which processes live, which limits hold back, whether suspects wait."""

from __future__ import annotations

from collections.abc import Sequence

from rkyc.store.pool import Connection, Record, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def list_workers(conn: Connection, *, all: bool = False, limit: int = 1000) -> list[Record]:
    """Return rows of `worker_status`, the living first, newest first; `all`: the ended ones too."""
    return await fetch(conn, _SQL["list_workers"], all=all, limit=limit)


async def list_limits(conn: Connection) -> list[Record]:
    """Return what holds starts and calls back (at most 1,000): kind (places, rate, breaker), name, used, size, until, waiting."""
    return await fetch(conn, _SQL["list_limits"])


async def find_suspects(conn: Connection, wake_keys: Sequence[str], lanes: Sequence[str]) -> bool:
    """Return whether a task of these pipelines (`name@version`) and lanes waits to run alone."""
    return bool(await fetch_value(conn, _SQL["find_suspects"], wake_keys=wake_keys, lanes=lanes))
