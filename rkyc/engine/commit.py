"""Commits outcomes: most go to the flusher in groups, some take a transaction of their own.

A `save` runs user code inside the transaction that commits the checkpoint, so it is never grouped
with others: lock the lease, save, checkpoint. A job that forked is locked on its `branching` row
before anything of it is numbered. Either way an outcome is written only while its lease holds, and True
comes back only after the commit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from rkyc.engine import endings, wakes
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.flusher import Flusher
from rkyc.engine.payloads import hold_blobs
from rkyc.errors import DatabaseConnectionError, LeaseLostError, StepTimeoutError, StoreError
from rkyc.flow import payload
from rkyc.flow.job import Claim
from rkyc.flow.outcome import (
    Advance,
    Arrive,
    BranchAdvance,
    Completed,
    Continue,
    EndUndone,
    Fail,
    Finish,
    Fork,
    Outcome,
    Release,
    Retry,
    Spread,
    Undo,
    Wait,
)
from rkyc.flow.step import SaveFunction
from rkyc.flow.undo import BEGIN
from rkyc.store.pool import Connection, Pool, refuse_data_errors, translate_errors
from rkyc.store.queue import commits, maps, restarts
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# A `save` is SQL only; what takes longer belongs into `run`. Seconds.
SAVE_LIMIT_S = 5.0
# How much later than ours Postgres' own limits end a save: our error says more. Seconds.
SERVER_MARGIN_S = 1.0

_Alone: TypeAlias = (
    Advance | Finish | Fork | Spread | Arrive | Fail | Retry | Wait | Undo | EndUndone | Continue
)
_Done: TypeAlias = Advance | Finish | Fork | Spread | Arrive


class Committer:
    """Writes outcomes and tells whether their leases held."""

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        worker_id: int,
        count_active: Callable[[], int],
        save_limit_s: float = SAVE_LIMIT_S,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self.worker_id = worker_id
        self._save_limit_s = save_limit_s
        self.flusher = Flusher(pool=pool, clock=clock, worker_id=worker_id, count_active=count_active)

    def commit(self, outcome: Outcome, *, is_branched: bool) -> Awaitable[bool]:
        """Write an outcome; what is awaited gives False where the lease was lost and nothing was written.

        Raises:
            OutputInvalidError: the database refuses the value.
            StepTimeoutError: `save` took too long; nothing was written.
            Exception: whatever `save` raised; nothing was written.
        """
        if isinstance(outcome, (Advance, Finish, Arrive)):
            # What nearly every step ends with.
            is_end = isinstance(outcome, Finish)
            if outcome.done.save is not None or (
                is_end and (is_branched or endings.asks_ending(outcome.claim))
            ):
                return self._commit_alone(outcome, is_branched)
            if is_branched and isinstance(outcome, Advance):
                return self.flusher.submit(BranchAdvance(*outcome))
            return self.flusher.submit(outcome)
        if isinstance(outcome, Release) or (isinstance(outcome, Retry) and not is_branched):
            return self.flusher.submit(outcome)
        if isinstance(outcome, Wait) and outcome.kind not in wakes.LOOKED_AT:
            return self.flusher.submit(outcome)
        return self._commit_alone(outcome, is_branched)

    async def _commit_alone(self, outcome: _Alone, is_branched: bool) -> bool:
        """Write in a transaction of its own, until its fate is known."""
        if isinstance(fate := getattr(getattr(outcome, "done", None), "save", None), Settled):
            return fate.held
        while True:
            try:
                await self._transact(outcome, is_branched)
                return True
            except LeaseLostError:
                return False
            except _SaveFailed as failed:
                raise failed.error from None
            except _Blocked:
                await asyncio.sleep(random.uniform(0.005, 0.05))
                continue
            except (DatabaseConnectionError, StoreError) as error:
                _log.warning(events.COMMIT_UNKNOWN, error=str(error), rows=1)
            fate = await self._learn_fate(outcome)
            if fate is not None:
                return fate

    async def _transact(self, outcome: _Alone, is_branched: bool) -> None:
        done = getattr(outcome, "done", None)
        save = done.save if isinstance(done, Completed) else None
        claim = outcome.claim
        failed: _SaveFailed | None = None
        try:
            async with self._pool.transaction() as conn:
                if save is not None:
                    limit_s = self._save_limit_s + SERVER_MARGIN_S
                    await commits.bound_transaction(conn, int(limit_s * 1000))
                if not await _lock(
                    conn, claim, of_all=is_branched and isinstance(outcome, Fail | Undo | Continue)
                ):
                    raise LeaseLostError(f"job {claim.uuid}: the lease of step {claim.step} is lost")
                if save is not None:
                    assert isinstance(done, Completed)
                    try:
                        await self._save(conn, done.step, save, done.saved_value)
                    except BaseException as error:
                        if not isinstance(error, DatabaseConnectionError) or not conn.is_closed():
                            # Its own error, whatever its class: an attempt that failed, not a commit to repeat.
                            failed = _SaveFailed(error)
                        raise
                await self._write(conn, outcome, is_branched)
        except BaseException:
            # Nothing was written, even where the connection could not be rolled back any more.
            if failed is not None:
                raise failed from None
            raise

    async def commit_together(
        self, outcomes: Sequence[_Done], save: SaveFunction, *, is_branched: bool
    ) -> set[int]:
        """Write the outcomes of a batch and what `save(conn, outputs)` adds in one transaction.

        Return the positions of those whose lease held; only their outputs were saved.

        Raises:
            As `commit`; nothing was written.
        """
        left, landed = dict(enumerate(outcomes)), set[int]()
        while left:
            try:
                return landed | await self._transact_together(left, save, is_branched)
            except _SaveFailed as failed:
                raise failed.error from None
            except (DatabaseConnectionError, StoreError) as error:
                _log.warning(events.COMMIT_UNKNOWN, error=str(error), rows=len(left))
            fates = {number: await self._learn_fate(outcome) for number, outcome in left.items()}
            landed |= {number for number, fate in fates.items() if fate}
            left = {number: left[number] for number, fate in fates.items() if fate is None}
        return landed

    async def _transact_together(
        self, outcomes: Mapping[int, _Done], save: SaveFunction, is_branched: bool
    ) -> set[int]:
        # All leases first, in one order; the rows of jobs that forked after them.
        rows = sorted(outcomes.items(), key=lambda row: (row[1].claim.job_id, row[1].claim.branch))
        failed: _SaveFailed | None = None
        try:
            async with self._pool.transaction() as conn:
                await commits.bound_transaction(conn, int((self._save_limit_s + SERVER_MARGIN_S) * 1000))
                claims = [outcome.claim for _, outcome in rows]
                found = await commits.find_leases(conn, [(c.job_id, c.branch, c.fence) for c in claims])
                held = [row for place, row in enumerate(rows) if place in found]
                if not held:
                    return set()
                values = [outcome.done.saved_value for _, outcome in held]
                try:
                    await self._save(conn, held[0][1].claim.step, save, values)
                except BaseException as error:
                    if not isinstance(error, DatabaseConnectionError) or not conn.is_closed():
                        failed = _SaveFailed(error)
                    raise
                for _, outcome in held:
                    if outcome.done.save is not None:
                        # Of its own: what holds the blob of a large output.
                        await outcome.done.save(conn, None)
                    await self._write(conn, outcome, is_branched)
                return {number for number, _ in held}
        except BaseException:
            if failed is not None:
                raise failed from None
            raise

    async def _save(self, conn: Connection, step: str, save: SaveFunction, value: Any) -> None:
        subject = f"save of step {step}"
        try:
            # Postgres' own limits stop neither a Python sleep nor many short statements.
            async with asyncio.timeout(self._save_limit_s):
                with translate_errors(), refuse_data_errors(subject):
                    await save(conn, value)
        except TimeoutError as error:
            raise StepTimeoutError(
                f"{subject} passed its limit of {self._save_limit_s:g} s: move the work into the step"
            ) from error

    async def _write(self, conn: Connection, outcome: _Alone, is_branched: bool) -> None:
        claim = outcome.claim
        worker_id, now = self.worker_id, self._clock.now()
        with refuse_data_errors(f"the outcome of step {claim.step}"):
            # An arrival takes its number with its statement; a wait says nothing in the job's history, and needs none.
            counts = is_branched and not isinstance(outcome, (Arrive, Wait))
            if isinstance(outcome, (Fork, Spread)):
                claim.events = await commits.lock_branching(conn, claim.job_id, claim.events + 1) - 1
            elif counts:
                claim.events = await commits.count_branching(conn, claim.job_id, claim.events + 1) - 1
            match outcome:
                case Advance():
                    await commits.advance_tasks(conn, [outcome], worker_id=worker_id, now=now)
                case Finish():
                    await commits.finish_tasks(conn, [outcome], worker_id=worker_id, now=now)
                    if is_branched:
                        await commits.drop_branching(conn, claim.job_id)
                    await endings.complete_job(conn, claim, now)
                case Retry():
                    await commits.retry_tasks(conn, [outcome], worker_id=worker_id, now=now)
                case Wait():
                    await wakes.hold_task(conn, outcome, now)
                case Fork():
                    await commits.fork_task(conn, outcome, seq=claim.events + 1, worker_id=worker_id, now=now)
                case Spread():
                    await maps.spread_task(conn, outcome, seq=claim.events + 1, worker_id=worker_id, now=now)
                case Arrive():
                    await commits.avoid_scans(conn)
                    await commits.arrive_tasks(conn, [outcome], worker_id=worker_id, now=now)
                case Continue():
                    if (
                        is_branched
                        and await commits.sweep_tasks(conn, claim.job_id, kept=claim.branch) is None
                    ):
                        raise _Blocked
                    ended = Finish(claim, outcome.done)
                    await commits.finish_tasks(conn, [ended], worker_id=worker_id, now=now)
                    await commits.drop_branching(conn, claim.job_id)
                    await endings.complete_job(conn, claim, now, goes_on=True)
                    await restarts.continue_job(conn, claim.job_id, outcome.job_id, outcome.input)
                    await hold_blobs(conn, [(outcome.job_id, outcome.blob)])
                case Fail() | Undo():
                    await self._fail(conn, outcome, is_branched, now)
                case EndUndone():
                    seq = claim.events + 1
                    await endings.end_undone(conn, outcome, seq=seq, worker_id=worker_id, now=now)

    async def _fail(self, conn: Connection, outcome: Fail | Undo, is_branched: bool, now: datetime) -> None:
        """End a job as failed, or begin to undo what it did."""
        claim = outcome.claim
        fail = outcome.fail if isinstance(outcome, Undo) else outcome
        left: list[dict[str, Any]] | None = []
        if is_branched:
            left = await commits.sweep_tasks(conn, claim.job_id, kept=claim.branch)
        if left is None:
            raise _Blocked
        await commits.fail_task(
            conn,
            fail,
            seq=claim.events + 1,
            open_tasks=payload.encode(left),
            warnings=None,
            worker_id=self.worker_id,
            now=now,
        )
        letter = endings.Letter(
            claim.lane, fail.step, fail.reason, fail.error_code, fail.error_class, fail.error_message, now
        )
        if isinstance(outcome, Undo):
            outcome.is_begun = not await endings.settle_end(conn, claim.job_id, letter, order=outcome.order)
        else:
            await endings.end_job(conn, claim.job_id, letter)

    async def _learn_fate(self, outcome: _Alone) -> bool | None:
        """After a lost connection: True it landed, False the lease is gone, None send it again."""
        claim = outcome.claim
        lease = (claim.job_id, claim.branch, claim.fence)
        while True:
            await asyncio.sleep(0.1)
            try:
                async with self._pool.connection() as conn:
                    if await commits.find_leases(conn, [lease]):
                        # An advance leaves its lease where it is; all others end it.
                        landed = isinstance(outcome, Advance) and await commits.find_checkpoints(
                            conn, [outcome]
                        )
                        return True if landed else None
                    if isinstance(outcome, Undo):
                        outcome.is_begun = await commits.has_checkpoint(
                            conn, claim.job_id, claim.fence, BEGIN
                        )
                        return outcome.is_begun or bool(await commits.find_ends(conn, [lease]))
                    if isinstance(outcome, Fork | Spread | Arrive):
                        return bool(await commits.find_checkpoints(conn, [outcome]))
                    if isinstance(outcome, Finish | Fail | EndUndone | Continue):
                        return bool(await commits.find_ends(conn, [lease]))
                    return isinstance(outcome, Retry | Wait)
            except (DatabaseConnectionError, StoreError):
                continue


@dataclass(frozen=True, slots=True)
class Settled:
    """Stands for the `save` of an outcome whose fate `commit_together` has told: it landed, or its lease was lost."""

    held: bool

    async def __call__(self, conn: Any, output: Any) -> None:
        raise AssertionError("what is settled is not saved again")


class _SaveFailed(Exception):
    """A `save` raised while its connection stood; carries the error past those who repeat commits."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Blocked(Exception):
    """Another branch is about to commit: let it, and come again."""


async def _lock(conn: Connection, claim: Claim, *, of_all: bool) -> bool:
    """Lock the lease, or all leases of the job; False: it is lost."""
    if of_all:
        return (claim.branch, claim.fence) in await commits.lock_leases(conn, claim.job_id)
    return await commits.lock_lease(conn, job_id=claim.job_id, branch=claim.branch, fence=claim.fence)
