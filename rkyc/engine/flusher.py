"""Group commit: outcomes of many tasks in one statement, on one connection, by one flusher.

Guarantees: an outcome is answered True only after its commit; False when its lease was lost. After
a connection is lost around a commit the answer is unknown: it is read back before anything is sent
again. A row that the database refuses fails alone; its neighbours are written without it.
What needs a transaction of its own (a `save`, a fork, a failure) is not handled here: see commit.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container, Sequence
from typing import Any

from rkyc.engine.clock import DatabaseClock
from rkyc.errors import DatabaseConnectionError, OutputInvalidError, StepTimeoutError, StoreError
from rkyc.flow.outcome import Advance, Arrive, BranchAdvance, Finish, Release, Retry, Wait
from rkyc.store.pool import Connection, Pool, refuse_data_errors, translate_errors
from rkyc.store.queue import commits, journal, tasks, waits
from rkyc.store.queue.journal import Answer
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# Rows of one statement: more gain nothing and hold locks longer.
BATCH_ROWS_MAX = 512
BATCH_ROWS_MIN = 32
# How long an outcome waits for company when few have gathered, while other tasks are computing.
LINGER_S = 0.001
# A quarter of the tasks held are company enough: were it all of them, this process would idle while the database
# writes, and the database while the steps compute.
COMPANY_SHARE = 4
# Postgres takes a message of 1 GB at most; so large a group only holds up the others. Bytes.
BATCH_BYTES_MAX = 64_000_000

Batched = Advance | BranchAdvance | Finish | Arrive | Retry | Release | Wait | Answer


class Flusher:
    """Takes outcomes, writes them in groups, answers each.

    `count_active` says how many tasks are held: when enough of them wait here, lingering would only
    cost time.
    """

    def __init__(
        self, *, pool: Pool, clock: DatabaseClock, worker_id: int, count_active: Callable[[], int]
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._worker_id = worker_id
        self._count_active = count_active
        # Kept: asking for the running loop costs a system call.
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[Batched, asyncio.Future[bool]]] = []
        self._filled = asyncio.Event()
        self._conn: Connection | None = None
        self._suspicious = False
        self._is_closed = False

    def submit(self, outcome: Batched) -> asyncio.Future[bool]:
        """Queue an outcome; the future gives whether its lease held, or raises OutputInvalidError."""
        future: asyncio.Future[bool] = self._loop.create_future()
        if self._is_closed:
            # Nobody would ever answer; the lease goes to others when this process ends.
            future.cancel()
            return future
        self._queue.append((outcome, future))
        self._filled.set()
        return future

    @property
    def pending(self) -> int:
        """How many outcomes wait to be written."""
        return len(self._queue)

    async def run(self) -> None:
        """Write until cancelled; whatever is queued then stays unwritten, and its futures are cancelled."""
        try:
            while True:
                await self._filled.wait()
                if len(self._queue) < min(self._count_active() // COMPANY_SHARE, BATCH_ROWS_MAX):
                    await asyncio.sleep(LINGER_S)
                half = max(self._count_active() // 2, BATCH_ROWS_MIN)
                rows = min(half, BATCH_ROWS_MAX)
                batch, self._queue = self._queue[:rows], self._queue[rows:]
                if not self._queue:
                    self._filled.clear()
                try:
                    await self._write(batch)
                except BaseException:
                    # Nobody is forgotten: whoever runs the loop again finds them and reads back first.
                    self._queue = [pair for pair in batch if not pair[1].done()] + self._queue
                    self._filled.set()
                    self._suspicious = True
                    raise
        except asyncio.CancelledError:
            self._is_closed = True
            for _, future in self._queue:
                future.cancel()
            raise
        finally:
            if self._conn is not None:
                self._conn.terminate()

    async def _write(self, batch: list[tuple[Batched, asyncio.Future[bool]]]) -> None:
        """Write one group per kind; each kind is one statement and one commit."""
        groups: dict[type, list[tuple[Any, asyncio.Future[bool]]]] = {}
        for outcome, future in batch:
            groups.setdefault(type(outcome), []).append((outcome, future))
        for kind, group in groups.items():
            # Rows are locked in the order of their tasks, so that two flushers can't deadlock.
            group.sort(key=_task)
            await self._write_group(kind, group)

    async def _write_group(self, kind: type, group: list[tuple[Any, asyncio.Future[bool]]]) -> None:
        settled = False
        while group:
            if len(group) > 1 and _bytes_of(kind, group) > BATCH_BYTES_MAX:
                await self._write_halves(kind, group)
                return
            try:
                conn = await self._connect()
                with translate_errors(), refuse_data_errors("the group commit"):
                    if self._suspicious:
                        group = await self._settle_known(conn, kind, group)
                        self._suspicious = False
                        continue
                    held = await self._statement(conn, kind, [outcome for outcome, _ in group])
            except (DatabaseConnectionError, StoreError, StepTimeoutError) as error:
                _log.warning(events.COMMIT_UNKNOWN, error=str(error), rows=len(group))
                await self._drop_connection()
                self._suspicious = True
                await asyncio.sleep(0.05)
                continue
            except OutputInvalidError as error:
                if error.details.get("constraint") == "checkpoint_pkey" and not settled:
                    # A commit that counted as lost came in late.
                    self._suspicious = settled = True
                    continue
                await self._isolate(kind, group, error)
                return
            for number, (_, future) in enumerate(group):
                if not future.done():
                    future.set_result(number in held)
            return

    async def _isolate(
        self, kind: type, group: list[tuple[Any, asyncio.Future[bool]]], error: OutputInvalidError
    ) -> None:
        """Find the row that poisons a group: halve it until it stands alone."""
        if len(group) == 1:
            _log.warning(events.COMMIT_ROW_REFUSED, error=str(error))
            if not group[0][1].done():
                group[0][1].set_exception(error)
            return
        await self._write_halves(kind, group)

    async def _write_halves(self, kind: type, group: list[tuple[Any, asyncio.Future[bool]]]) -> None:
        middle = len(group) // 2
        await self._write_group(kind, group[:middle])
        await self._write_group(kind, group[middle:])

    async def _settle_known(
        self, conn: Connection, kind: type, group: list[tuple[Any, asyncio.Future[bool]]]
    ) -> list[tuple[Any, asyncio.Future[bool]]]:
        """Answer those whose commit landed before the connection was lost; return the rest."""
        outcomes = [outcome for outcome, _ in group]
        leases = [_lease(outcome) for outcome in outcomes]
        # In this order: the leases wait for a commit of ours that is still under way.
        held = await commits.find_leases(conn, leases)
        landed: set[int] = set()
        if kind in (Advance, BranchAdvance, Arrive):
            landed = await commits.find_checkpoints(conn, outcomes)
        elif kind is Finish:
            landed = await commits.find_ends(conn, leases)
        rest = []
        for number, (outcome, future) in enumerate(group):
            if number in held and number not in landed:
                rest.append((outcome, future))
            elif kind in (Advance, BranchAdvance, Answer):
                # They leave the lease where it is: without it, the task is another worker's.
                _answer(future, number in held)
            elif kind in (Finish, Arrive):
                _answer(future, number in landed)
            else:
                _answer(future, True)
        return rest

    async def _statement(self, conn: Connection, kind: type, rows: Sequence[Any]) -> Container[int]:
        """Write rows of one kind and return the positions of those whose lease held."""
        now = self._clock.now()
        everything = range(len(rows))
        if kind is Advance:
            count = await commits.advance_tasks(conn, rows, worker_id=self._worker_id, now=now)
            return everything if count == len(rows) else await commits.find_checkpoints(conn, rows)
        if kind is Finish:
            count = await commits.finish_tasks(conn, rows, worker_id=self._worker_id, now=now)
            return everything if count == len(rows) else await commits.find_ends(conn, [*map(_lease, rows)])
        if kind is BranchAdvance:
            numbers = await commits.advance_branches(conn, rows, worker_id=self._worker_id, now=now)
            for row in rows:
                row.claim.events = numbers.get(_lease(row)[:2], row.claim.events + 1) - 1
            held: Collection[tuple[int, int]] = numbers
        elif kind is Arrive:
            held = await commits.arrive_tasks(conn, rows, worker_id=self._worker_id, now=now)
        elif kind is Answer:
            held = await journal.write_answers(conn, rows, worker_id=self._worker_id, now=now)
        elif kind is Retry:
            held = await commits.retry_tasks(conn, rows, worker_id=self._worker_id, now=now)
        elif kind is Wait:
            held = await waits.hold_tasks(conn, rows, now)
        else:
            moved = await tasks.release_tasks(conn, [_release_row(row) for row in rows])
            held = {(row["job_id"], row["branch"]) for row in moved}
        return {number for number, row in enumerate(rows) if _lease(row)[:2] in held}

    async def _connect(self) -> Connection:
        if self._conn is None or self._conn.is_closed():
            self._conn = await self._pool.dedicated(application_name="rkyc flush")
        return self._conn

    async def _drop_connection(self) -> None:
        if self._conn is not None:
            self._conn.terminate()
            self._conn = None


def _answer(future: asyncio.Future[bool], held: bool) -> None:
    if not future.done():
        future.set_result(held)


def _task(pair: tuple[Batched, object]) -> tuple[int, int]:
    claim = pair[0].claim
    return claim.job_id, claim.branch


def _lease(outcome: Batched) -> tuple[int, int, int]:
    claim = outcome.claim
    return claim.job_id, claim.branch, claim.fence


def _bytes_of(kind: type, group: Sequence[tuple[Any, object]]) -> int:
    if kind in (Advance, BranchAdvance, Finish, Arrive):
        return sum([len(outcome.done.output) for outcome, _ in group])
    return sum([len(outcome.text) for outcome, _ in group]) if kind is Answer else 0


def _release_row(row: Release) -> dict[str, Any]:
    claim = row.claim
    return {
        "job_id": claim.job_id,
        "branch": claim.branch,
        "fence": claim.fence,
        "lane": row.lane,
        "step": row.step,
        "events": claim.events,
        "error_attempts": claim.error_attempts,
        "crash_attempts": claim.crash_attempts,
    }
