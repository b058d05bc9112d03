"""Claims tasks for the free slots and hands them to the executor.

One claim takes at most what is free, from the lanes in their order; every eighth round begins with
the lane whose first task has waited longest, so that no lane starves. Woken by notices, by freed
slots and by the beat; on its own connection, so that a claim never waits behind a flush.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import datetime

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.executor import Executor
from rkyc.engine.pace import Pace
from rkyc.engine.turns import TurnClaims
from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.flow.cursor import ClaimCursor
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool, translate_errors
from rkyc.store.queue import tasks
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

FAIR_ROUND = 8
# A claim that was rolled back leaves rows below the cursor: from the beginning again. Seconds.
SWEEP_S = 5.0
# With a backlog, wait this long for more free slots: a claim per freed slot would be a statement per job.
GATHER_S = 0.001
# So long the other processes have the first try at a task that ran out of memory here. Seconds.
STEP_BACK_S = 1.0


class Dispatcher:
    """The claim loop of one worker."""

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        executor: Executor,
        worker_id: int,
        lanes: Sequence[str],
        wake_keys: Sequence[str],
        slots: int,
        prefetch: int | Mapping[str, int] = 0,
        for_suspects: bool = False,
        give_back: Callable[[Claim], Awaitable[bool]],
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._executor = executor
        self._worker_id = worker_id
        self._lanes = list(lanes)
        self._wake_keys = list(wake_keys)
        self._slots = slots
        ahead = prefetch if isinstance(prefetch, Mapping) else dict.fromkeys(lanes, prefetch)
        # How many tasks may be held here when one is claimed from the lane.
        self._capacity = {lane: slots + ahead.get(lane, 0) for lane in lanes}
        self._for_suspects = for_suspects
        self._give_back = give_back
        self._cursors = {lane: ClaimCursor() for lane in lanes}
        self._sweeps = {lane: Pace(SWEEP_S) for lane in lanes}
        self._rounds = 0
        # Claimed beyond the free slots (prefetch), not started yet.
        self._held_back: deque[Claim] = deque()
        self._woken = asyncio.Event()
        # Where a claim may find something: an empty lane is not asked beside a full one, nobody runs meanwhile.
        self._lanes_to_look_at: set[str] = set()
        # Lanes that got no room beside what is claimed ahead for others: until they were asked, no more is.
        self._passed_over: set[str] = set()
        self._has_backlog = False
        self._has_parked = False
        self._has_orphans = False
        self._has_suspects = False
        self._turns = TurnClaims(worker_id=worker_id, get_now=clock.now)
        self._conn: Connection | None = None
        self._is_stopped = False
        # Lanes in which a task is due now that ran out of memory here, and how many.
        self._left_to_others: Counter[str] = Counter()
        # Held while a claim is under way: what it takes must be started or given back.
        self._claiming = asyncio.Lock()

    def wake(self, lane: str | None = None) -> None:
        """There may be tasks to claim: in one lane, or anywhere."""
        self._lanes_to_look_at |= {lane} if lane is not None else set(self._lanes)
        self._woken.set()

    def note_parked(self) -> None:
        """Tasks that another worker could not serve wait for one like this."""
        self._has_parked = True
        self._woken.set()

    def note_turns(self) -> None:
        """Tasks of jobs with a fairness key wait for their turn."""
        self._turns.may_wait = True
        self._woken.set()

    def note_suspects(self) -> None:
        """Tasks wait that were seen in two crashes, and no process can be set aside: one runs here when idle."""
        self._has_suspects = True
        self._woken.set()

    def drop_lost(self, held: Set[tuple[int, int, int]]) -> None:
        """Forget prefetched claims whose leases are gone."""
        kept = [c for c in self._held_back if (c.job_id, c.branch, c.fence) in held]
        self._held_back = deque(kept)

    def step_back(self, lane: str, due_at: datetime) -> None:
        """Leave a lane to other processes when what ran out of memory here is due; alone, this one only comes later."""

        def begin() -> None:
            self._left_to_others[lane] += 1

        def end() -> None:
            self._left_to_others[lane] -= 1
            self.wake(lane)

        loop = asyncio.get_running_loop()
        due_s = (due_at - self._clock.now()).total_seconds()
        # A little before: another process may make it ready, by a clock that is not quite ours.
        loop.call_later(due_s - STEP_BACK_S / 10, begin)
        loop.call_later(due_s + STEP_BACK_S, end)

    def note_orphans(self) -> None:
        """This worker holds more leases than it knows of: the answer of a claim was lost."""
        self._has_orphans = True
        self._woken.set()

    @property
    def afters(self) -> list[int]:
        """Above which number a task of each lane may be new."""
        return [self._cursors[lane].after for lane in self._lanes]

    @property
    def known(self) -> int:
        """How many tasks this process knows that it holds."""
        return len(self._executor.executions) + len(self._held_back)

    def on_free(self) -> None:
        """A slot is free: start what is held back, or claim more."""
        while self._held_back and not self._is_stopped and self._executor.busy < self._slots:
            self._executor.start(self._held_back.popleft())
        if self._has_backlog or self._for_suspects or self._has_suspects or self._turns.may_wait:
            self._woken.set()

    async def stop(self) -> None:
        """Claim nothing more, and give back what was claimed and not started."""
        self._is_stopped = True
        async with self._claiming:
            while self._held_back:
                await self._give_back(self._held_back.popleft())

    async def run(self) -> None:
        """Claim until cancelled."""
        try:
            while True:
                await self._woken.wait()
                if self._has_backlog and self._room() < max(self._capacity.values()) // 4:
                    await asyncio.sleep(GATHER_S)
                self._woken.clear()
                try:
                    async with self._claiming:
                        if self._is_stopped:
                            return
                        with translate_errors():
                            await self._claim_round(await self._connect())
                except (DatabaseConnectionError, StoreError) as error:
                    _log.warning(events.CLAIM_FAILED, error=str(error))
                    await self._reconnect_later()
        finally:
            # Whoever runs the loop again looks again.
            self._has_orphans = True
            self.wake()
            if self._conn is not None:
                self._conn.terminate()

    def has_room(self, lane: str) -> bool:
        """Whether a task of the lane could be claimed here now."""
        return not self._left_to_others[lane] and self._room(lane) > 0

    def _room(self, lane: str | None = None) -> int:
        """Return how many tasks may be claimed from a lane, or from the one that gives most."""
        capacity = max(self._capacity.values()) if lane is None else self._capacity[lane]
        return capacity - self._executor.busy - len(self._held_back)

    def _room_of(self, lane: str) -> int:
        """Return how many tasks to claim from a lane whose turn it is, and note whether it is passed over."""
        room = self._room(lane)
        if room > 0:
            self._passed_over.discard(lane)
        elif self._held_back and room < self._room():
            self._passed_over.add(lane)
        free_slots = self._slots - self._executor.busy - len(self._held_back)
        return min(room, free_slots) if self._passed_over else room

    def _room_anywhere(self) -> int:
        """Return how many tasks may be claimed whatever their lane."""
        return min(self._capacity.values()) - self._executor.busy - len(self._held_back)

    async def _claim_round(self, conn: Connection) -> None:
        if self._has_orphans:
            await self._release_orphans(conn)
        if self._for_suspects or self._has_suspects:
            await self._claim_suspect(conn)
        if self._for_suspects or any(one.claim.is_alone for one in self._executor.executions.values()):
            return
        if self._has_parked and self._room_anywhere() > 0:
            await self._claim_parked(conn)
        open_lanes = self._open_lanes()
        lanes = [lane for lane in open_lanes if lane in self._lanes_to_look_at]
        if self._turns.may_wait:
            await self._claim_turns(conn, shares=bool(lanes))
            if not lanes:
                return
        self._lanes_to_look_at = set()
        self._passed_over &= set(open_lanes)
        self._has_backlog = False
        for lane in await self._order_lanes(conn, lanes or open_lanes):
            free = self._room_of(lane)
            if free <= 0:
                # It was not looked at: assume there is more.
                self._note_backlog(lane)
                continue
            # Now and then from the beginning; the cursor stays where it is.
            asked_at, is_sweep = time.monotonic(), self._sweeps[lane].is_due()
            answer = await tasks.claim_tasks(
                conn,
                lane=lane,
                after=0 if is_sweep else self._cursors[lane].after,
                slots=free,
                worker_id=self._worker_id,
                now=self._clock.now(),
            )
            highest = max((claim.fence for claim in answer.claims), default=None)
            self._cursors[lane].note_claim(
                highest, answer.xmin, answer.bound, is_full=len(answer.claims) == free
            )
            self._take(answer.claims)
            if len(answer.claims) == free:
                self._note_backlog(lane)
            if is_sweep:
                self._sweeps[lane].note(time.monotonic() - asked_at)

    def _note_backlog(self, lane: str) -> None:
        self._has_backlog = True
        self._lanes_to_look_at.add(lane)

    async def _claim_turns(self, conn: Connection, *, shares: bool) -> None:
        """Take tasks whose key has its turn; `shares`: half of the room is for tasks without a key."""
        room = self._room_anywhere()
        self._take(
            await self._turns.claim(
                conn, self._open_lanes(), (room + self._rounds % 2) // 2 if shares else room
            )
        )
        if self._turns.may_wait and self._room_anywhere() > 0:
            self._woken.set()

    def _open_lanes(self) -> list[str]:
        """The lanes that are not paused, nor left to others for the moment."""
        open_lanes, left = self._executor.open_lanes, self._left_to_others
        return [lane for lane in self._lanes if lane in open_lanes and not left[lane]]

    async def _order_lanes(self, conn: Connection, lanes: list[str]) -> list[str]:
        self._rounds += 1
        if self._rounds % FAIR_ROUND or len(lanes) == 1:
            return lanes
        oldest = await tasks.find_oldest_lane(conn, lanes, [self._cursors[lane].after for lane in lanes])
        return lanes if oldest is None else [oldest, *(lane for lane in lanes if lane != oldest)]

    def _take(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if self._executor.busy < self._slots and not self._is_stopped:
                self._executor.start(claim)
            else:
                self._held_back.append(claim)

    async def _claim_parked(self, conn: Connection) -> None:
        self._has_parked = False
        claims = await tasks.claim_parked_tasks(
            conn,
            wake_keys=self._wake_keys,
            lanes=self._open_lanes(),
            slots=self._room_anywhere(),
            worker_id=self._worker_id,
            now=self._clock.now(),
        )
        self._take(claims)
        self._has_parked = bool(claims)

    async def _release_orphans(self, conn: Connection) -> None:
        """Give back what was claimed by a statement whose answer never came; no claim is under way here."""
        known = {(claim.job_id, claim.branch, claim.fence) for claim in self._held_back}
        known |= {(*key, execution.claim.fence) for key, execution in self._executor.executions.items()}
        orphans = await tasks.list_held_tasks(conn, self._worker_id) - known
        if orphans:
            async with conn.transaction():
                await tasks.release_orphans(conn, self._worker_id, sorted(orphans))
        self._has_orphans = False

    async def _claim_suspect(self, conn: Connection) -> None:
        """One at a time: nothing else may run beside a suspect."""
        if self._executor.executions:
            return
        claim = await tasks.claim_suspect(
            conn,
            wake_keys=self._wake_keys,
            lanes=self._open_lanes(),
            worker_id=self._worker_id,
            now=self._clock.now(),
        )
        self._has_suspects = claim is not None
        if claim is not None:
            self._take([claim])

    async def _connect(self) -> Connection:
        if self._conn is None or self._conn.is_closed():
            self._conn = await self._pool.dedicated(application_name="rkyc claim")
            # A statement prepared and not yet run leaves a transaction open whose now() is stale; the
            # first claim of a connection may see an old moment, so look once more.
            self.wake()
        return self._conn

    async def _reconnect_later(self) -> None:
        if self._conn is not None:
            self._conn.terminate()
            self._conn = None
        self._has_orphans = True
        await asyncio.sleep(0.1)
        self.wake()
