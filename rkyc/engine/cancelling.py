"""The move that ends a job from outside: the client's side, and one try inside a transaction.

What the job did is undone first, where its completed steps declare `compensate`; then it ends cancelled. A cancel that comes
meanwhile stops that and ends the job: the way out when the undoing hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from rkyc.engine import endings
from rkyc.errors import ConflictError, DatabaseConnectionError, NotFoundError, RkycError
from rkyc.flow import payload
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import audit, commits, jobs, undo

# A cancel that finds a task between two tables looks again on a fresh snapshot.
CANCEL_TRIES = 20
# What one try came to. Left: it was to be left alone. Missed: it had ended, or is between two tables: look again.
# Blocked: a branch of it is about to commit: roll back, and look again.
_Try: TypeAlias = Literal["cancelled", "undoing", "left", "missed", "blocked"]
# How a job took its cancel: it has ended by it, what it did is undone first, or it had ended before.
Cancelled: TypeAlias = Literal["cancelled", "undoing", "ended"]


class _Canceller(Protocol):
    async def pool(self) -> Pool: ...

    async def request_cancel(
        self, job_id: UUID, reason: str | None = None, *, by: str = "client", stops_undo: bool = True
    ) -> Cancelled: ...


class Cancelling:
    """The part of `Client` that ends jobs."""

    async def cancel(
        self: _Canceller,
        job_id: UUID,
        reason: str | None = None,
        *,
        by: str = "client",
        stops_undo: bool = True,
    ) -> bool:
        """Cancel a job; False when it had ended before. `by` stands in the audit trail.

        Its status changes at once, unless completed steps of it declare `compensate`: those are undone first, the last one
        first, and then it ends cancelled. Cancelled once more meanwhile, it ends at once, half undone; a retry goes on with
        the undoing. `stops_undo=False` leaves one alone that is being undone.

        Raises:
            NotFoundError
            ConflictError, DatabaseConnectionError: nothing was done; try again.
        """
        return await self.request_cancel(job_id, reason, by=by, stops_undo=stops_undo) != "ended"

    async def request_cancel(
        self: _Canceller,
        job_id: UUID,
        reason: str | None = None,
        *,
        by: str = "client",
        stops_undo: bool = True,
    ) -> Cancelled:
        """Cancel a job as `cancel` does, and return how it took it."""
        pool = await self.pool()
        async with pool.connection() as conn:
            job = await jobs.find_job(conn, job_id)
        if job is None:
            raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
        failure: RkycError = ConflictError(
            f"job {job_id} could not be caught between two moves: cancel it again"
        )
        for _ in range(CANCEL_TRIES):
            done: _Try | None = None
            try:
                async with pool.transaction() as conn:
                    done = await try_cancel(conn, job["id"], reason, stops_undo=stops_undo)
                    if done == "blocked":
                        raise DatabaseConnectionError(f"job {job_id}: a branch is about to commit")
                    if done in ("cancelled", "undoing"):
                        await _note(conn, by, job_id, reason)
                if done != "missed":
                    break
                async with pool.connection() as conn:
                    if await jobs.is_finished(conn, job["id"]) is not None:
                        return "ended"
            except DatabaseConnectionError as error:
                # A branch that commits, or a lost connection: look again. What a lost one began must not be stopped.
                failure = error
                stops_undo = stops_undo and done in ("blocked", "missed")
            await asyncio.sleep(0.01)
        else:
            raise failure
        told: Cancelled = "cancelled" if done == "cancelled" else "undoing"
        # Only hints.
        with contextlib.suppress(DatabaseConnectionError):
            await _tell(pool, job, job_id, told)
        return told

    async def undo(self: _Canceller, job_id: UUID) -> Record | None:
        """Return what is still to be undone of a job, as its row of `undo_status`; None: it is not being undone."""
        pool = await self.pool()
        async with pool.connection() as conn:
            return await undo.read_undo(conn, job_id)


async def try_cancel(
    conn: Connection, job_id: int, reason: str | None, *, only_pending: bool = False, stops_undo: bool = True
) -> _Try:
    """End a job, or begin to undo what it did.

    `only_pending`: not one that runs (missed), nor one that would have to be undone (left). Blocked: some of its tasks may
    be swept; roll that back.
    """
    # Each in its own statement: the sweep must see what committed while this waited for the locks.
    leases = await commits.lock_leases(conn, job_id)
    if only_pending and leases:
        return "missed"
    if only_pending and await undo.has_undo(conn, job_id):
        return "left"
    if not stops_undo and await undo.is_undoing(conn, job_id):
        return "left"
    if not await jobs.lock_branching_row(conn, job_id):
        fences = [fence for _, fence in leases]
        is_written = await jobs.cancel_chain(conn, job_id=job_id, fences=fences, reason=reason)
    else:
        swept = await commits.sweep_tasks(conn, job_id, takes_leases=not only_pending)
        if swept is None:
            return "blocked"
        open_tasks = payload.encode(swept)
        is_written = await jobs.cancel_branched(conn, job_id=job_id, open_tasks=open_tasks, reason=reason)
    if not is_written:
        return "missed"
    return "cancelled" if await endings.settle_end(conn, job_id, None) else "undoing"


async def _tell(pool: Pool, job: Record, job_id: UUID, done: Cancelled) -> None:
    status = "cancelled" if done == "cancelled" else "pending"
    hint = {"job_id": str(job_id), "pipeline": job["pipeline"], "status": status, "step": None}
    async with pool.connection() as conn:
        await jobs.notify(conn, jobs.WAKE_CHANNEL, [f"cancel:{job['id']}"])
        await jobs.notify(conn, jobs.PROGRESS_CHANNEL, [payload.encode(hint)])


async def _note(conn: Connection, by: str, job_id: UUID, reason: str | None) -> None:
    details = payload.encode({"reason": reason}) if reason else None
    await audit.write_entry(
        conn, who=by, action="job.cancel", kind="job", object=str(job_id), details=details
    )
