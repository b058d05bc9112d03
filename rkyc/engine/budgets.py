"""What a job may spend: before a call that would pass it the job pauses, until somebody adds to its budget.

Counted is what the journal holds: calls whose answers are committed and told their cost. Calls that run at the same
time in several branches don't see one another, so together they may pass it by what they cost.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol
from uuid import UUID

from rkyc.engine.suspend import Suspend
from rkyc.errors import ConflictError, InvalidInputError, NotFoundError
from rkyc.flow import payload
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Wait
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import audit, budgets, jobs, signals, waits

ADDED_USD_MAX = 1_000_000
_MICROS = 1_000_000
_TASKS_MAX = 10_000


async def check_budget(pool: Pool, claim: Claim, cost_usd: float = 0.0) -> None:
    """Return if the job may spend so much more, or anything at all.

    Raises:
        Suspend: it may not: the job waits for more.
    """
    if not (claim.traits_json is not None and (claim.traits or {}).get("budget")):
        return
    async with pool.connection() as conn:
        budget = await budgets.read_budget(conn, claim.job_id)
    if budget.limit is None:
        return
    if budget.spent < budget.limit and budget.spent + Decimal(cost_usd) <= budget.limit:
        return
    raise Suspend(
        "budget",
        str(claim.job_id),
        detail=f"more budget: {budget.spent:.4f} of {budget.limit:.4f} USD are spent",
        after=int(budget.limit * _MICROS),
    )


async def has_more(conn: Connection, row: Wait) -> bool:
    """Whether the budget has grown since the job decided to pause; the job's row is locked."""
    budget = await budgets.read_budget(conn, row.claim.job_id)
    return budget.limit is None or int(budget.limit * _MICROS) > row.after


class _HasPool(Protocol):
    async def pool(self) -> Pool: ...


class Budgeting:
    """The part of `Client` that gives jobs more to spend."""

    async def add_budget(self: _HasPool, job_id: UUID, usd: float, *, by: str = "client") -> None:
        """Add to what a job may spend; if it paused for that, it goes on. `by` stands in the audit trail.

        Raises:
            NotFoundError
            ConflictError: the job has no budget, or has ended.
            InvalidInputError: not an amount of money.
        """
        if not 0 < usd <= ADDED_USD_MAX:
            raise InvalidInputError(
                f"{usd} USD can't be added: expected more than 0, at most {ADDED_USD_MAX}"
            )
        pool = await self.pool()
        async with pool.transaction() as conn:
            job = await jobs.find_job(conn, job_id)
            if job is None:
                raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
            # Whoever is about to pause locks it too, and looks again afterwards.
            await signals.lock_job(conn, job["id"])
            if await jobs.is_finished(conn, job["id"]) is not None:
                raise ConflictError(f"job {job_id} has ended: its budget can't change any more")
            if not await budgets.add_budget(conn, job["id"], usd):
                raise ConflictError(f"job {job_id} has no budget: it may spend what it needs")
            lanes = await waits.wake_tasks(conn, "budget", str(job["id"]), _TASKS_MAX)
            await audit.write_entry(
                conn,
                who=by,
                action="job.add_budget",
                kind="job",
                object=str(job_id),
                details=payload.encode({"added_usd": usd}),
            )
            if lanes:
                await jobs.notify(conn, jobs.WAKE_CHANNEL, sorted(set(lanes)))
