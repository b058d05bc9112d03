"""The real engine under full control: for running it side by side with the protocol's model.

Each `Process` is a real executor, committer and flusher with connections of its own; nothing runs by
itself but what follows from the last order. Bodies stop at a `Desk` until they are told how to end;
claims, reclaims and promotions are single calls of the store. A process is killed by cutting its
connections and forgetting its memory, and frozen by giving it no orders.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.commit import Committer
from rkyc.engine.execution import Execution
from rkyc.engine.flusher import Flusher
from rkyc.engine.worker import Worker, WorkerOptions
from rkyc.errors import DatabaseConnectionError, LeaseLostError, PermanentException, RetryableException
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Wait
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import tasks, workers
from rkyc.store.queue.journal import Answer
from rkyc.telemetry.metrics import Metrics
from tests.support.engine import wait_for

SIGNAL = "go"
# What follows from one order takes milliseconds; this is for a machine that does other things. Seconds.
SETTLE_S = 60.0


class Visit:
    """A body at the desk: what it was given, and the future of its next order."""

    def __init__(self, ctx: Any, step: str, input: Any) -> None:
        self.execution: Execution = ctx._execution
        self.step = step
        self.input = input
        self.order: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class Desk:
    """Where the bodies of one process wait for orders."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        # A body came to wait for an order, or a task left the process.
        self.changed = asyncio.Event()

    async def serve(self, step: str, ctx: Any, input: Any) -> Any:
        """Do as ordered: succeed, fail, fail for good; or listen, and come back for the next order."""
        visit = Visit(ctx, step, input)
        self.visits.append(visit)
        self.changed.set()
        try:
            while (order := await visit.order) == "listen":
                await ctx.wait_signal(SIGNAL)
                visit.order = asyncio.get_running_loop().create_future()
                self.changed.set()
        finally:
            self.visits.remove(visit)
        if order == "fail":
            raise RetryableException("as ordered")
        if order == "fail for good":
            raise PermanentException("as ordered")
        return {"by": step}

    def find(self, execution: Execution) -> Visit | None:
        """Return the visit of a task's body that waits for an order."""
        for visit in self.visits:
            if visit.execution is execution and not visit.order.done():
                return visit
        return None


class Hurried:
    """asyncio without its pauses: for modules that wait before they try again."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)


class Wire:
    """What happens to the next commit of a process.

    `loses`: the request or the answer is lost with the connection. `holds`: one of them never gets on, and
    `reached` tells that it stands there. `before_wait`: something comes just before a task goes to wait.
    """

    def __init__(self) -> None:
        self.loses: str | None = None
        self.holds: str | None = None
        self.reached = asyncio.Event()
        self.before_wait: Callable[[], Awaitable[None]] | None = None

    @contextlib.asynccontextmanager
    async def carry(self) -> AsyncIterator[None]:
        loses, self.loses = self.loses, None
        await self._pass("request")
        if loses == "request":
            raise DatabaseConnectionError("as ordered: it never arrives")
        try:
            yield
        except LeaseLostError:
            await self._pass("answer")
            raise
        await self._pass("answer")
        if loses == "answer":
            raise DatabaseConnectionError("as ordered: it is done, and its answer is lost")

    async def _pass(self, what: str) -> None:
        if self.holds == what:
            self.reached.set()
            await asyncio.Event().wait()


class WiredFlusher(Flusher):
    wire: Wire

    async def _statement(self, conn: Connection, kind: type, rows: Any) -> Any:
        if kind is Answer:
            return await super()._statement(conn, kind, rows)
        async with self.wire.carry():
            return await super()._statement(conn, kind, rows)


class WiredCommitter(Committer):
    wire: Wire

    async def _transact(self, outcome: Any, is_branched: bool) -> None:
        if isinstance(outcome, Wait) and self.wire.before_wait is not None:
            send, self.wire.before_wait = self.wire.before_wait, None
            await send()
        async with self.wire.carry():
            await super()._transact(outcome, is_branched)


class OwnPool(Pool):
    """The shared pool, as one process sees it: its dedicated connections are known, and can be cut."""

    def __init__(self, shared: Pool) -> None:
        super().__init__(shared._pool, shared.dsn, shared._settings)
        self._takes_settings = shared._takes_settings
        self.own: list[Connection] = []

    async def dedicated(self, **options: Any) -> Connection:
        conn = await super().dedicated(**options)
        self.own.append(conn)
        return conn


class Process:
    """One worker process, by its real parts."""

    def __init__(self, pool: Pool, registry: Registry) -> None:
        self.pool = OwnPool(pool)
        self._registry = registry
        self.desk = Desk()
        self.wire = Wire()
        self.is_frozen = False
        self.worker_id = 0

    async def start(self) -> None:
        """Register, show the presence, and make the parts."""
        async with self.pool.connection() as conn:
            self.worker_id = await workers.register_worker(
                conn,
                name="actor",
                host="here",
                pid=1,
                version="0",
                lanes=["default"],
                slots=9,
                for_suspects=False,
            )
        presence = await self.pool.dedicated(application_name=f"rkyc worker {self.worker_id}")
        await workers.mark_presence(presence, self.worker_id)
        parts = Worker(
            pool=self.pool,
            registry=self._registry,
            resources={Desk: self.desk},
            metrics=Metrics(),
            options=WorkerOptions(lanes=("default",), slots=9),
            make_committer=self._make_committer,
        )
        # Its parts as it makes them, without its loops: nothing may begin by itself.
        parts.worker_id = self.worker_id
        parts._limit()
        parts._wire({})
        self.executor = parts._executor
        self._flusher = parts._committer.flusher
        self.executor.on_free = self.desk.changed.set
        self._flushing = asyncio.create_task(self._flusher.run())

    def _make_committer(self, **options: Any) -> Committer:
        made = WiredCommitter(**options)
        options.pop("save_limit_s")
        made.flusher = flusher = WiredFlusher(**options)
        made.wire = flusher.wire = self.wire
        return made

    @property
    def executions(self) -> list[Execution]:
        return list(self.executor.executions.values())

    def order(self, execution: Execution, order: str) -> None:
        """Tell a body how to go on."""
        visit = self.desk.find(execution)
        assert visit is not None
        visit.order.set_result(order)

    async def settle(self) -> None:
        """Wait until every body of this process stands at the desk."""
        async with asyncio.timeout(SETTLE_S):
            while not all(self.desk.find(one) for one in self.executions):
                self.desk.changed.clear()
                await self.desk.changed.wait()

    async def reconcile(self) -> None:
        """Stop the bodies whose leases are gone, as the upkeep does."""
        async with self.pool.connection() as conn:
            held = await tasks.list_held_tasks(conn, self.worker_id)
        for one in self.executions:
            if (one.claim.job_id, one.claim.branch, one.claim.fence) not in held:
                one.cancel("fenced")
        await self.settle()

    async def release_orphans(self) -> None:
        """Give back the leases that this process does not know of, as the dispatcher does."""
        known = {(*key, one.claim.fence) for key, one in self.executor.executions.items()}
        async with self.pool.connection() as conn:
            orphans = await tasks.list_held_tasks(conn, self.worker_id) - known
            if orphans:
                async with conn.transaction():
                    await tasks.release_orphans(conn, self.worker_id, sorted(orphans))

    async def kill(self) -> None:
        """Cut all connections, forget everything, and wait until the server has noticed."""
        self.executor.is_closing = True
        bodies = [one.task for one in self.executions if one.task is not None]
        pids = [conn.get_server_pid() for conn in self.pool.own if not conn.is_closed()]
        self._flushing.cancel()
        for conn in self.pool.own:
            conn.terminate()
        for body in bodies:
            body.cancel()
        await asyncio.gather(self._flushing, *bodies, return_exceptions=True)

        async def is_gone() -> bool:
            async with self.pool.connection() as conn:
                return not await conn.fetchval(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY ($1::int[]))", pids
                )

        await wait_for(is_gone, what="the end of the killed process's sessions")


async def claim(process: Process, *, hears: bool) -> list[Claim]:
    """Claim one ready task; unheard, the process does not know of it."""
    async with process.pool.connection() as conn:
        answer = await tasks.claim_tasks(
            conn, lane="default", after=0, slots=1, worker_id=process.worker_id, now=process_now()
        )
    if hears:
        for one in answer.claims:
            process.executor.start(one)
        await process.settle()
    return answer.claims


async def claim_suspect(process: Process, pipelines: list[str]) -> Claim | None:
    """Claim one suspect, to run it alone."""
    async with process.pool.connection() as conn:
        one = await tasks.claim_suspect(
            conn,
            wake_keys=[f"{name}@1" for name in pipelines],
            lanes=["default"],
            worker_id=process.worker_id,
            now=process_now(),
        )
    if one is not None:
        process.executor.start(one)
        await process.settle()
    return one


def process_now() -> Any:
    """Return the instant that claims are made at."""
    return DatabaseClock().now()


async def read_rows(pool: Pool, numbers: list[int]) -> dict[int, dict[str, Any]]:
    """Return the rows of jobs, by number: tasks, checkpoints, joins, end, signals that nobody took."""
    async with pool.connection() as conn:
        found = await conn.fetch(_ROWS, numbers)
    return {row["id"]: dict(row) for row in found}


async def find_number(pool: Pool, job_id: UUID) -> int:
    """Return the number under which the store knows a job."""
    async with pool.connection() as conn:
        return int(await conn.fetchval("SELECT id FROM rkyc.job WHERE uuid = $1", job_id))


_ROWS = """
SELECT j.id,
  ARRAY(SELECT (branch, 'ready', step, error_attempts, crash_attempts, alone_crashes, 0::bigint, 0, false, '')
        FROM rkyc.ready t WHERE t.job_id = j.id
        UNION ALL SELECT (branch, 'running', step, error_attempts, crash_attempts, alone_crashes, fence, worker_id, alone, '')
        FROM rkyc.running t WHERE t.job_id = j.id
        UNION ALL SELECT (branch, 'scheduled', step, error_attempts, crash_attempts, alone_crashes, 0, 0, false, reason)
        FROM rkyc.scheduled t WHERE t.job_id = j.id
        UNION ALL SELECT (branch, 'waiting', step, error_attempts, crash_attempts, alone_crashes, 0, 0, false, kind)
        FROM rkyc.waiting t WHERE t.job_id = j.id) AS tasks,
  ARRAY(SELECT (step, fence) FROM rkyc.checkpoint c WHERE c.job_id = j.id
        UNION ALL SELECT (step, fence) FROM rkyc.history h WHERE h.job_id = j.id AND h.state = 'completed') AS done,
  ARRAY(SELECT (step, remaining) FROM rkyc.join_point p WHERE p.job_id = j.id) AS joins,
  (SELECT h.state FROM rkyc.history h WHERE h.job_id = j.id) AS state,
  ARRAY(SELECT ((t ->> 'branch')::int, t ->> 'step') FROM rkyc.history h, jsonb_array_elements(h.open_tasks) t
        WHERE h.job_id = j.id) AS open,
  (SELECT count(*)::int FROM rkyc.signal s WHERE s.job_id = j.id AND s.taken_at IS NULL) AS untaken,
  (SELECT count(*)::int FROM rkyc.dead_letter d WHERE d.job_id = j.id AND d.state = 'dead') AS dead
FROM unnest($1::bigint[]) n CROSS JOIN LATERAL (SELECT j.id FROM rkyc.job j WHERE j.id = n) j
"""
