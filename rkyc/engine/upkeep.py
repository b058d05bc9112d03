"""What a worker does beside running tasks: its beat, due tasks, and the tasks of the dead.

Every process watches the others while any of them holds a task, less often the more of them watch,
so that the fleet together looks about four times a second. There is no leader for this: reclaiming
is one atomic statement, and whoever comes second finds nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.dispatcher import Dispatcher
from rkyc.engine.executor import Executor
from rkyc.engine.horizon import HorizonWatch
from rkyc.engine.notices import Notices
from rkyc.engine.pace import Pace
from rkyc.engine.pausing import keep_resumed
from rkyc.store.connections import OwnConnection
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import tasks, waits, workers
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)

# How long the rows of workers that are gone stay at least, and about how often one process looks for older ones.
KEPT_DAYS = 30
PRUNE_S = 6 * 3600.0
# Until the next look at tasks that are due and locked. Seconds.
LOCKED_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class UpkeepOptions:
    """Intervals and limits, in seconds.

    `poll_s` is the pause between two looks of an idle process that hears notices, `deaf_poll_s` of one
    that does not. A worker counts as dead when its presence is gone for `absence_s`, when it sent no
    beat for `frozen_after_s`, or, if it never had a presence, none for `deaf_dead_after_s`. After a
    restart of the server absence proves nothing for `restart_grace_s`. Whoever holds back the vacuum
    horizon for `horizon_warning_s` is named in the log.
    """

    beat_s: float = 10.0
    poll_s: float = 5.0
    deaf_poll_s: float = 0.3
    absence_s: float = 0.7
    frozen_after_s: float = 120.0
    deaf_dead_after_s: float = 20.0
    restart_grace_s: float = 12.0
    horizon_warning_s: float = 60.0


class Upkeep:
    """The beat loop and the watch loop of one worker."""

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        executor: Executor,
        dispatcher: Dispatcher,
        notices: Notices,
        metrics: Metrics,
        worker_id: int,
        registration: Mapping[str, Any],
        lanes: Sequence[str],
        wake_keys: Sequence[str],
        options: UpkeepOptions,
        is_listening: Callable[[], bool],
        on_suspects: Callable[[], None],
        on_next_fire: Callable[[datetime | None], None],
        on_broadcast: Callable[[int | None], None],
        on_reclaimed: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._executor = executor
        self._dispatcher = dispatcher
        self._notices = notices
        self._metrics = metrics
        self._worker_id = worker_id
        self._registration = registration
        self._lanes = lanes
        self._wake_keys = wake_keys
        self._options = options
        self._is_listening = is_listening
        self._on_suspects = on_suspects
        self._on_next_fire = on_next_fire
        self._on_broadcast = on_broadcast
        self._on_reclaimed = on_reclaimed
        self._workers = 1
        self._others_run = False
        # Some job of ours ended elsewhere: look which leases are gone.
        self._must_reconcile = False
        # When somebody was last heard to begin something, by this process's own clock.
        self._active_at = time.monotonic()
        # Worker id -> when this process first missed its presence, or first saw its beat stale.
        self._missed: dict[int, float] = {}
        self._stale: dict[int, float] = {}
        # Its own, since the pool may be full of saves: a beat that waited would look like death.
        self._own = OwnConnection(pool, application_name="rkyc upkeep")
        self._beat_pace = Pace()
        self._watch_pace = Pace()
        self._horizon = HorizonWatch(metrics=metrics, limit_s=options.horizon_warning_s)
        self._prune_at = time.monotonic() + random.uniform(60.0, PRUNE_S)

    async def beat(self) -> float:
        """Renew the beat, look what waits, and return the pause until the next look."""
        looks_at_horizon = self._horizon.is_due()
        looks_deep = self._beat_pace.is_due()
        async with self._own.connection() as conn:
            asked_at = time.monotonic()
            state = await workers.beat(
                conn,
                worker_id=self._worker_id,
                busy=len(self._executor.executions),
                lanes=self._lanes,
                afters=[0] * len(self._lanes) if looks_deep else self._dispatcher.afters,
                wake_keys=self._wake_keys,
                looks_deep=looks_deep,
                beat_s=self._options.beat_s if self._is_listening() else self._options.beat_s / 2,
                looks_at_horizon=looks_at_horizon,
            )
            if looks_deep:
                self._beat_pace.note(time.monotonic() - asked_at)
            self._clock.set(state["now"])
            now = self._clock.now()
            if looks_at_horizon:
                await self._horizon.note(conn, state["horizon_holder"])
            await self._keep_rows(conn, is_known=state["is_known"])
            next_due_at = state["next_due_at"]
            if next_due_at is not None and next_due_at <= now:
                lanes = await tasks.promote_due_tasks(conn, now)
                lanes += await waits.promote_due_waits(conn, now)
                self._promoted(lanes)
                next_due_at = None
                # Nothing: another one has them locked, and may for a while.
                pause_s = 0.0 if lanes else LOCKED_PAUSE_S
            else:
                pause_s = self._options.poll_s if self._is_listening() else self._options.deaf_poll_s
            if state["resumed"]:
                await keep_resumed(conn, state["resumed"])
        if self._executor.pauses.note(state["pauses"]) or state["resumed"]:
            self._dispatcher.wake()
        self._on_next_fire(state["next_fire"])
        self._on_broadcast(state["last_broadcast"])
        if state["ready_lanes"]:
            self._dispatcher.wake()
        if state["parked"]:
            self._dispatcher.note_parked()
        if state["turns"]:
            self._dispatcher.note_turns()
        if state["suspects"]:
            self._on_suspects()
        if state["others_running"] is not False:
            # None: not looked. Whoever does not know watches.
            self._others_run = True
        self._workers = state["workers"]
        held, known = state["held"], self._dispatcher.known
        if self._must_reconcile or (held is not None and held < known):
            self._must_reconcile = False
            await self.reconcile()
        if held is not None and held > known:
            self._dispatcher.note_orphans()
        if next_due_at is not None:
            pause_s = min(pause_s, max(0.005, (next_due_at - now).total_seconds()))
        return pause_s

    async def _keep_rows(self, conn: Connection, *, is_known: bool) -> None:
        """Put this worker's row back if it is missing; now and then remove those of workers long gone."""
        if not is_known:
            await workers.restore_worker(
                conn, worker_id=self._worker_id, has_presence=self._is_listening(), **self._registration
            )
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_S
            await workers.prune_workers(conn, kept_days=KEPT_DAYS)

    def _promoted(self, lanes: list[str]) -> None:
        self._dispatcher.wake()
        for lane in lanes:
            self._notices.wake_lane(lane)

    def note_activity(self) -> bool:
        """Somebody may hold tasks now, or in a moment: watch until nobody does; True: it was not watching."""
        was_idle, self._others_run = not self._others_run, True
        self._active_at = time.monotonic()
        return was_idle

    async def reconcile(self) -> None:
        """Stop the tasks whose leases are gone: reclaimed while this process was away, or cancelled."""
        mine = {key: execution.claim.fence for key, execution in self._executor.executions.items()}
        async with self._own.connection() as conn:
            held = await tasks.list_held_tasks(conn, self._worker_id)
        self._dispatcher.drop_lost(held)
        for (job_id, branch), fence in mine.items():
            execution = self._executor.executions.get((job_id, branch))
            if (
                execution is not None
                and execution.claim.fence == fence
                and (job_id, branch, fence) not in held
            ):
                execution.cancel("fenced")

    def note_end(self, job_id: int) -> bool:
        """A job was cancelled, or failed in another branch; True: this process holds tasks of it.

        The next beat looks which leases are gone: by then the job may have been started again.
        """
        held = any(held_job_id == job_id for held_job_id, _ in self._executor.executions)
        self._must_reconcile = self._must_reconcile or held
        return held

    async def watch(self) -> float:
        """Look whether the others live, and take the tasks of those that don't; return the pause."""
        if not self._others_run:
            return 3600.0
        pause_s = min(2.0, max(0.25, 0.25 * self._workers))
        looks_deep, asked_at = self._watch_pace.is_due(), time.monotonic()
        async with self._own.connection() as conn:
            rows = await workers.watch_workers(
                conn,
                worker_id=self._worker_id,
                restart_grace_s=self._options.restart_grace_s,
                looks_deep=looks_deep,
            )
            dead = self._find_dead(rows, of_all=looks_deep)
            if dead:
                async with conn.transaction():
                    taken = await workers.reclaim_tasks(
                        conn, worker_ids=dead, frozen_after_s=self._options.frozen_after_s
                    )
                self._report(taken)
            if looks_deep and not await workers.find_running_of_others(conn, self._worker_id):
                # Whoever was woken by the same notice may not have committed its claim yet; until the
                # next beat, which looks as well, nobody may stop watching.
                is_active = time.monotonic() - self._active_at < self._options.poll_s
                self._others_run = is_active or bool(self._missed) or bool(self._stale)
        if looks_deep:
            self._watch_pace.note(time.monotonic() - asked_at)
        return min(pause_s, 0.2) if self._missed else pause_s

    def _find_dead(self, rows: Sequence[Record], *, of_all: bool) -> list[int]:
        """Return who is dead; none is before this process has seen the signs last for a while.

        `of_all`: the rows are of all that may have left tasks; else what was seen of the others before stands.
        A machine that slept, or a clock that was set, makes everybody's beat look old at once.
        """
        options, now = self._options, time.monotonic()
        missed: dict[int, float] = {}
        stale: dict[int, float] = {}
        dead = []
        for row in rows:
            limit_s = options.frozen_after_s if row["has_presence"] else options.deaf_dead_after_s
            if row["beat_age_s"] > limit_s:
                since = stale[row["id"]] = self._stale.get(row["id"], now)
                if now - since >= min(options.restart_grace_s, limit_s):
                    dead.append(row["id"])
                    continue
            if row["has_presence"] and not row["is_present"] and row["may_judge"]:
                since = missed[row["id"]] = self._missed.get(row["id"], now)
                if now - since >= options.absence_s:
                    dead.append(row["id"])
        if not of_all:
            seen = {row["id"] for row in rows}
            missed |= {worker_id: since for worker_id, since in self._missed.items() if worker_id not in seen}
            stale |= {worker_id: since for worker_id, since in self._stale.items() if worker_id not in seen}
        self._missed = {worker_id: since for worker_id, since in missed.items() if worker_id not in dead}
        self._stale = {worker_id: since for worker_id, since in stale.items() if worker_id not in dead}
        return dead

    async def close(self) -> None:
        """Close the connection."""
        await self._own.close()

    def _report(self, taken: Sequence[Record]) -> None:
        for row in taken:
            if row["tasks"]:
                _log.warning(
                    events.TASK_RECLAIMED, worker=row["worker"], tasks=row["tasks"], suspects=row["suspects"]
                )
                self._metrics.recovered(row["tasks"])
        if any(row["tasks"] for row in taken):
            self._dispatcher.wake()
            self._notices.wake_lane("*")
            self._on_reclaimed()
        if any(row["suspects"] for row in taken):
            self._on_suspects()
