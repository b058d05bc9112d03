"""What a run's steps saved, copied to a run that was forked behind them.

One function for each step that keeps rows under its job's id; all of them may run twice.
"""

from __future__ import annotations

from uuid import UUID

from rkyc.store.pool import Connection, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


async def carry_analysis(conn: Connection, source_job_id: UUID, job_id: UUID) -> None:
    """The run itself: its company and snapshot."""
    await fetch(conn, _SQL["carry_analysis"], source_job_id=source_job_id, job_id=job_id)


async def carry_documents(conn: Connection, source_job_id: UUID, job_id: UUID) -> None:
    """The papers under the names they were delivered with."""
    await fetch(conn, _SQL["carry_documents"], source_job_id=source_job_id, job_id=job_id)


async def carry_events(conn: Connection, source_job_id: UUID, job_id: UUID) -> None:
    """The events that the search found."""
    await fetch(conn, _SQL["carry_events"], source_job_id=source_job_id, job_id=job_id)


async def carry_context(conn: Connection, source_job_id: UUID, job_id: UUID) -> None:
    """What the models were shown."""
    await fetch(conn, _SQL["carry_context"], source_job_id=source_job_id, job_id=job_id)


async def carry_signals(conn: Connection, source_job_id: UUID, job_id: UUID) -> None:
    """The risk signals as they were reported, and what was dropped."""
    await fetch(conn, _SQL["carry_signals"], source_job_id=source_job_id, job_id=job_id)
