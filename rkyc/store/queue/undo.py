"""Jobs whose completed steps are undone before they end: the begin, the end, and who is at it (see flow/undo.py)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from rkyc.flow.outcome import EndUndone
from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def begin_undo(
    conn: Connection,
    job_id: int,
    *,
    order: str | None,
    reason: str | None,
    lane: str | None,
    step: str | None,
) -> bool:
    """Take back the end that this transaction has written, and begin at the first compensator; False: nothing to undo.

    `order` is what `Graph.describe_undo` gives, as JSON text; None: as the pipeline's version was announced. `reason` and
    `lane` are those of the dead letter to come, `step` where the job ended, if it is not the one of its end.
    """
    begun = await fetch(
        conn, _SQL["begin_undo"], job_id=job_id, order=order, reason=reason, lane=lane, step=step
    )
    return bool(begun)


async def end_undone(conn: Connection, row: EndUndone, *, seq: int, worker_id: int, now: datetime) -> bool:
    """End a job as it was to end before what it did was undone; False when fenced."""
    claim = row.claim
    written = await fetch(
        conn,
        _SQL["end_undone"],
        job_id=claim.job_id,
        branch=claim.branch,
        fence=claim.fence,
        state=row.state,
        seq=seq,
        step=row.step,
        attempt=row.attempt,
        lane=row.lane,
        error_code=row.error_code,
        error_class=row.error_class,
        error_message=row.error_message,
        error_details=row.error_details,
        error_attempts=row.error_attempts,
        crash_attempts=row.crash_attempts,
        worker_id=worker_id,
        now=now,
    )
    return bool(written)


async def has_undo(conn: Connection, job_id: int) -> bool:
    """Return whether a job has done what would have to be undone before its end, or is being undone."""
    return bool(await fetch_value(conn, _SQL["has_undo"], job_id=job_id))


async def is_undoing(conn: Connection, job_id: int) -> bool:
    """Return whether a job is being undone."""
    return bool(await fetch_value(conn, _SQL["is_undoing"], job_id=job_id))


async def read_undo(conn: Connection, uuid: UUID) -> Record | None:
    """Return a job's row of `undo_status`; None: it is not being undone."""
    return await fetch_row(conn, _SQL["read_undo"], uuid=uuid)
