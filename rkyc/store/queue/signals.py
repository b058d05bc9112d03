"""Signals: messages to one job, kept from the moment they are sent, each taken by one wait."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from rkyc.store.pool import Connection, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def give_signal(
    conn: Connection, *, job_uuid: UUID, name: str, payload: str, source: str, delivery_id: str | None
) -> str:
    """Send a signal (JSON text) and wake who waits for it; return given, repeated, ended or unknown.

    `repeated`: this delivery came before. Only after `given` was anything done.
    """
    said: str = await fetch_value(
        conn,
        _SQL["give_signal"],
        job_uuid=job_uuid,
        name=name,
        payload=payload,
        source=source,
        delivery_id=delivery_id,
    )
    return said


async def take_signal(
    conn: Connection,
    *,
    job_id: int,
    step: str,
    branch: int,
    key: str,
    name: str,
    worker_id: int,
    now: datetime,
) -> str | None:
    """Take the oldest signal of a name for the wait `key` of a step; return what the journal holds now, or None.

    Call it in a transaction, after `commits.lock_lease`.
    """
    answer: str | None = await fetch_value(
        conn,
        _SQL["take_signal"],
        job_id=job_id,
        step=step,
        branch=branch,
        key=key,
        name=name,
        worker_id=worker_id,
        now=now,
    )
    return answer


async def lock_job(conn: Connection, job_id: int) -> None:
    """Lock the row that senders lock."""
    await fetch(conn, _SQL["lock_job"], job_id=job_id)


async def has_signal(conn: Connection, job_id: int, name: str) -> bool:
    """Return whether a signal waits to be taken."""
    return bool(await fetch_value(conn, _SQL["has_signal"], job_id=job_id, name=name))
