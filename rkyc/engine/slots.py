"""Takes and frees the places of limits for the tasks of this process, in groups.

A step that names a limit asks for a place before its body begins. Without one it leaves its executor slot and waits
in the database; whoever frees a place wakes exactly one. The group's statements are rounds on one connection: free,
take, offer, each committed before the next, so that a task that goes to wait and one that frees can't miss each
other. What is left behind (a process that died, a job that others ended) is found by `sweep`.

Exact are the committed rows: a place belongs to one lease, and a lease that is gone takes nothing more. A process that
lost its lease without knowing may still be in a body for a moment, while the next holder begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.execution import Execution
from rkyc.engine.loop import PeriodicLoop
from rkyc.engine.rates import pass_rate
from rkyc.engine.suspend import Suspend
from rkyc.errors import DatabaseConnectionError, DeadlineExceededError, StoreError
from rkyc.flow.decide import latest_start
from rkyc.flow.graph import Place
from rkyc.flow.pipeline import Registry
from rkyc.store.connections import OwnConnection
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import slots
from rkyc.store.queue.buckets import Charge
from rkyc.store.queue.slots import Lease, SlotWish
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# How long a place is kept for a task that was woken for it: a claim and a take, on a busy fleet. Seconds.
PROMISE_S = 2.0
# Between two looks for what was left behind, while tasks wait for places, and while none does. Seconds.
SWEEP_S = 1.0
IDLE_S = 60.0
PRUNE_S = 600.0
# How long the last tasks' places may take to be freed when the process ends. Seconds.
CLOSING_S = 2.0
# Scopes whose places are known to exist.
KNOWN_MAX = 10_000
# What says nothing of what was asked: it is asked again.
_PASSING = (DatabaseConnectionError, StoreError, asyncio.CancelledError)


class Slots:
    """The places that this process holds and asks for.

    `sizes` are those of the settings; `on_ready` is told the lanes in which a task became ready.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        registry: Registry,
        sizes: Mapping[str, int],
        on_ready: Callable[[str], None],
    ) -> None:
        self.sizes = {**_declared_sizes(registry), **sizes}
        # Those that bound a step here; the settings may size others.
        self._names = frozenset(
            limit.name
            for pipeline in registry
            for place in pipeline.graph.all_places
            for limit in place.step.limits
            if limit.name in self.sizes
        )
        self.is_used = bool(self._names)
        self._wake_keys = [f"{pipeline.name}@{pipeline.version}" for pipeline in registry]
        self._clock = clock
        self._on_ready = on_ready
        self._pool = pool
        self._is_idle = False
        self._has_suspended = False
        self.sweep_loop = PeriodicLoop("limits", self.sweep, interval_s=SWEEP_S)
        self._own = OwnConnection(pool, application_name="rkyc limits")
        self._wishes: list[tuple[tuple[SlotWish, ...], asyncio.Future[str | None]]] = []
        self._leases_to_free: list[Lease] = []
        self._scopes_to_offer: set[str] = set()
        self._known: set[str] = set()
        self._filled = asyncio.Event()
        self._prune_at = time.monotonic() + PRUNE_S
        self._dismiss_at = time.monotonic()

    async def enter(self, execution: Execution, place: Place, scopes: Sequence[str]) -> None:
        """Take a place of each limit of the step, all or none, and the time of a start by each rate.

        `scopes`: under what each is counted, in the order of the step's limits.

        Raises:
            Suspend: one has no free place, or the time is some way off: the task waits for it.
            DeadlineExceededError: none is free, and the time to wait is over.
        """
        claim = execution.claim
        lease = (claim.job_id, claim.branch, claim.fence)
        wishes = tuple(
            SlotWish(lease, limit.name, scope)
            for limit, scope in zip(place.step.limits, scopes, strict=True)
            if limit.name in self.sizes
        )
        if wishes:
            await self._take_places(execution, place, wishes)
        for limit, scope in zip(place.step.limits, scopes, strict=True):
            if limit.rate is not None:
                charge = Charge(f"starts/{scope}", 1.0, limit.rate / limit.per_s, float(limit.burst))
                await pass_rate(
                    self._pool,
                    [charge],
                    claim=claim,
                    purpose=f"{place.name} {limit.name}",
                    subject=f"limit {scope}",
                )

    async def _take_places(self, execution: Execution, place: Place, wishes: tuple[SlotWish, ...]) -> None:
        execution.scopes = tuple(wish.scope for wish in wishes)
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._wishes.append((wishes, future))
        self._filled.set()
        missing = await future
        if missing is None:
            return
        due_at = latest_start(place, execution.claim)
        if due_at is not None and self._clock.now() >= due_at:
            raise DeadlineExceededError(
                f"step {place.name} got no place of limit {missing} before its time was up"
            )
        self._has_suspended = True
        if self._is_idle:
            self._is_idle = False
            self.sweep_loop.wake()
        raise Suspend("limit", missing, due_at, f"a place of limit {missing}")

    def leave(self, execution: Execution) -> None:
        """The attempt has ended and is committed: free what it held, and let whoever waits know."""
        claim = execution.claim
        self._leases_to_free.append((claim.job_id, claim.branch, claim.fence))
        self._scopes_to_offer.update(execution.scopes)
        execution.scopes = ()
        self._filled.set()

    async def declare(self) -> None:
        """Make the sizes those of the fleet."""
        if self.is_used:
            async with self._pool.connection() as conn:
                await slots.declare_limits(conn, self.sizes)

    async def run(self) -> None:
        """Write rounds until cancelled."""
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                try:
                    async with self._own.connection() as conn:
                        await self._write_round(conn)
                except (DatabaseConnectionError, StoreError) as error:
                    _log.warning(events.LIMITS_DELAYED, error=str(error))
                    await asyncio.sleep(0.1)
                    self._filled.set()
        except asyncio.CancelledError:
            for _, future in self._wishes:
                future.cancel()
            raise
        finally:
            # After an error it is begun again, and goes on with what is left.
            self._filled.set()
            await self._leave_nothing()
            await self._own.close()

    async def _leave_nothing(self) -> None:
        """Free what the last tasks held, if the database is there: else others find it."""
        if self._leases_to_free:
            with contextlib.suppress(DatabaseConnectionError, StoreError, TimeoutError):
                async with asyncio.timeout(CLOSING_S), self._own.connection() as conn:
                    await self._free(conn)
                    await self._offer(conn)

    async def _write_round(self, conn: Connection) -> None:
        await self._free(conn)
        wishes, self._wishes = self._wishes, []
        try:
            while wishes:
                group = [one for one in wishes if not one[1].done()]
                await self._take(conn, group)
                wishes = []
        except BaseException as error:
            # Whether they hold a place is not known: free it before asking again. Who was answered keeps it.
            wishes = [one for one in wishes if not one[1].done() or one[1].cancelled()]
            self._leases_to_free += [wish[0].lease for wish, _ in wishes]
            if isinstance(error, _PASSING):
                self._wishes = wishes + self._wishes
                raise
            for _, future in wishes:
                if not future.done():
                    future.set_exception(error)
            raise
        await self._offer(conn)

    async def _free(self, conn: Connection) -> None:
        # A copy: whoever leaves during the statement is freed by the next one.
        leases = [*self._leases_to_free]
        if leases:
            self._scopes_to_offer |= await slots.free_slots(conn, leases, self._clock.now())
            del self._leases_to_free[: len(leases)]

    async def _offer(self, conn: Connection) -> None:
        # What the database refuses is not offered again; `sweep` finds the others.
        scopes, self._scopes_to_offer = self._scopes_to_offer, set()
        if scopes:
            try:
                lanes = await slots.offer_slots(conn, scopes, promise_s=PROMISE_S, now=self._clock.now())
            except _PASSING:
                self._scopes_to_offer |= scopes
                raise
            for lane in set(lanes):
                self._on_ready(lane)

    async def _take(
        self, conn: Connection, group: list[tuple[tuple[SlotWish, ...], asyncio.Future[str | None]]]
    ) -> None:
        await self._create(conn, {wish.scope: wish.name for wishes, _ in group for wish in wishes})
        single = [wishes[0] for wishes, _ in group if len(wishes) == 1]
        taken = await slots.take_slots(conn, single) if single else set()
        for wishes, future in group:
            if len(wishes) == 1:
                (job_id, branch, _), _, scope = wishes[0]
                missing = None if (job_id, branch, scope) in taken else scope
            else:
                missing = await _take_all(conn, wishes)
            if not future.done():
                future.set_result(missing)
            elif missing is None:
                # Cancelled meanwhile: nobody will leave for it.
                self._leases_to_free.append(wishes[0].lease)
                self._filled.set()

    async def _create(self, conn: Connection, scopes: Mapping[str, str]) -> None:
        """Make the places of scopes that this process has not seen yet."""
        unknown = {scope: name for scope, name in scopes.items() if scope not in self._known}
        if unknown:
            await slots.create_slots(conn, unknown, self._clock.now())
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known |= set(unknown)

    async def sweep(self) -> float:
        """Find places that were left behind and tasks that wait beside free ones; return the pause."""
        if not self.is_used:
            async with self._own.connection() as conn:
                await self._dismiss(conn, await slots.find_waited_scopes(conn))
            # Not kept for a look a minute.
            await self._own.close()
            return IDLE_S
        now = self._clock.now()
        async with self._own.connection() as conn:
            freed = await slots.free_orphan_slots(conn, now)
            waited = await slots.find_waited_scopes(conn)
            if waited:
                # A limit that has grown gets its new places here.
                await slots.create_slots(conn, {scope: scope.partition(":")[0] for scope in waited}, now)
            self._scopes_to_offer |= freed | set(waited)
            await self._offer(conn)
            if time.monotonic() >= self._dismiss_at:
                self._dismiss_at = time.monotonic() + IDLE_S
                await self._dismiss(conn, waited)
            if time.monotonic() >= self._prune_at:
                self._prune_at = time.monotonic() + PRUNE_S
                self._known.clear()
                await slots.prune_slots(conn, now)
        # Who has just gone to wait is perhaps not committed yet.
        self._is_idle = not waited and not self._has_suspended
        self._has_suspended = False
        return IDLE_S if self._is_idle else SWEEP_S

    async def _dismiss(self, conn: Connection, waited: Sequence[str]) -> None:
        """Wake who waits for a limit that its step no longer names: it asks again under the code of now.

        Seldom: a process with older code may take a task first, and let it wait again.
        """
        gone = [scope for scope in waited if scope.partition(":")[0] not in self._names]
        if gone:
            for lane in set(await slots.dismiss_waiters(conn, gone, self._wake_keys)):
                self._on_ready(lane)


async def _take_all(conn: Connection, wishes: tuple[SlotWish, ...]) -> str | None:
    """Take a place of each, or none; return the scope that has none free."""
    missing = None
    with contextlib.suppress(_NoneFree):
        async with conn.transaction():
            for wish in wishes:
                if not await slots.take_slots(conn, [wish]):
                    missing = wish.scope
                    raise _NoneFree
    return missing


class _NoneFree(Exception):
    """One of several limits has no free place: take none."""


def _declared_sizes(registry: Registry) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for pipeline in registry:
        for place in pipeline.graph.all_places:
            for limit in place.step.limits:
                if limit.size is not None:
                    sizes[limit.name] = min(limit.size, sizes.get(limit.name, limit.size))
    return sizes
