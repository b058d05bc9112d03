"""Executions and their tasks in the words of `chain_executions` and `task_logs`."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.store.pool import Connection, Record, fetch
from rkyc.store.statements import load

_SQL = load(__file__)
# Ids are made by the clocks of clients, `created_at` by the database's: they may differ by so much.
_CLOCKS_APART = timedelta(hours=1)


async def list_executions(
    conn: Connection, *, since: datetime, status: str | None, task_name: str | None, limit: int
) -> list[Record]:
    """Return executions made since then, newest first; `status` in either vocabulary."""
    from_ms = max(0, int((since - _CLOCKS_APART).timestamp() * 1000))
    return await fetch(
        conn,
        _SQL["list_executions"],
        from_id=make_uuid7(from_ms, b"\0" * RANDOM_BYTES),
        since=since,
        status=status,
        task_name=task_name,
        limit=limit,
    )


async def list_tasks(conn: Connection, uuid: UUID) -> list[Record]:
    """Return (task_id, task_name, status, error, started_at, finished_at, retries) of an execution."""
    return await fetch(conn, _SQL["list_tasks"], uuid=uuid)
