"""One worker: registers, runs its loops, drains.

`run` is the whole life in order: announce the pipelines, take an id, open the presence, start the
loops, serve until asked to stop, drain, say goodbye. It owns no settings and no providers: `app`
hands them over.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rkyc.engine.children import ChildProcesses
from rkyc.engine.client import Client
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.commit import Committer
from rkyc.engine.dispatcher import Dispatcher
from rkyc.engine.drain import drain
from rkyc.engine.executor import Executor
from rkyc.engine.executor_threads import Threads
from rkyc.engine.housekeeping import Housekeeping
from rkyc.engine.listeners import NOTICE as BROADCAST
from rkyc.engine.listeners import Listeners, drop_old_events
from rkyc.engine.loop import PeriodicLoop, keep_running
from rkyc.engine.notices import ROUND_S, Notices
from rkyc.engine.payloads import Payloads
from rkyc.engine.presence import Presence
from rkyc.engine.pulse import WRITE_S
from rkyc.engine.scheduler import IDLE_S, Scheduler
from rkyc.engine.schedules import declare_schedules
from rkyc.engine.slots import Slots
from rkyc.engine.stall import StallWatch
from rkyc.engine.stream import DROP_S, StreamWriter
from rkyc.engine.sweeper import SWEEP_S, Sweeper
from rkyc.engine.turns import NOTICE
from rkyc.engine.uniqueness import SWEEP_S as KEY_SWEEP_S
from rkyc.engine.uniqueness import sweep_keys
from rkyc.engine.upkeep import Upkeep, UpkeepOptions
from rkyc.errors import DatabaseConnectionError, DefinitionError, OutOfMemoryError, StoreError
from rkyc.flow.envelope import Codec
from rkyc.flow.outcome import Outcome, Retry
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Pool
from rkyc.store.queue import pipelines, restarts, workers
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)
# How long after a notice an idle worker begins to watch the others. Seconds.
WATCH_DELAY_S = 0.2


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How one worker behaves; times in seconds."""

    slots: int = 200
    # Tasks claimed beyond the free slots, from all lanes or by lane.
    prefetch: int | Mapping[str, int] = 0
    lanes: tuple[str, ...] | None = None
    # How many steps that name a limit run at once, in the whole fleet.
    limits: Mapping[str, int] = field(default_factory=dict)
    # For steps that are plain functions.
    threads: int = 32
    # Seals inputs and outputs on their way into the database.
    codec: Codec | None = None
    grace_s: float = 30.0
    save_limit_s: float = 5.0
    blocked_after_s: float = 1.0
    direct_dsn: str | None = None
    version: str = ""
    for_suspects: bool = False
    # How long ended jobs are kept, in days, unless their pipeline says; None: for ever.
    retention_days: float | None = None
    upkeep: UpkeepOptions = field(default_factory=UpkeepOptions)


class Worker:
    """Serves the pipelines of a registry until stopped.

    `resources` are what steps may `use`, by type. `on_suspects` is called when tasks wait that were
    seen in two crashes: it should have them run in a process set aside. Without it they run here, one by one,
    while nothing else does. `clock` and `make_committer` are for tests, which set the one forward and watch the other.

    Raises:
        DefinitionError: a step needs a resource that is not given.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        registry: Registry,
        resources: Mapping[type, Any],
        metrics: Metrics,
        options: WorkerOptions,
        on_suspects: Callable[[], None] | None = None,
        clock: DatabaseClock | None = None,
        make_committer: Callable[..., Committer] = Committer,
    ) -> None:
        _check_needs(registry, resources)
        self._pool = pool
        self._registry = registry
        self._resources = resources
        self._metrics = metrics
        self._options = options
        self._on_suspects = on_suspects
        self._stopping = asyncio.Event()
        self._clock = clock or DatabaseClock()
        self._make_committer = make_committer
        self._children = ChildProcesses()
        self.lanes = tuple(options.lanes or registry.lanes)
        self.wake_keys = [f"{pipeline.name}@{pipeline.version}" for pipeline in registry]
        self.name = f"rkyc_worker@{socket.gethostname()}:{os.getpid()}"
        self.worker_id = 0
        self.ready = asyncio.Event()
        self.is_draining = False

    def stop(self) -> None:
        """Ask the worker to drain and end; safe to call twice."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop` is called and the tasks are finished or given back.

        Raises:
            StoreError: the database can't serve at the start.
        """
        registration: dict[str, Any] = {
            "name": self.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": self._options.version,
            "lanes": list(self.lanes),
            "slots": self._options.slots,
            "for_suspects": self._options.for_suspects,
        }
        async with self._pool.connection() as conn:
            await pipelines.register_pipelines(conn, self._registry)
            await declare_schedules(conn, self._registry)
            self.worker_id = await workers.register_worker(conn, **registration)
            await restarts.register_editions(conn, self.worker_id, self._registry, self._resources)
        self._limit()
        self._wire(registration)
        await self._slots.declare()
        loops = [
            asyncio.create_task(keep_running(name, run), name=f"rkyc {name}")
            for name, run in self._loops().items()
        ]
        try:
            await self._settle()
            self._dispatcher.wake()
            _log.debug(events.WORKER_READY, worker=self.name, worker_id=self.worker_id)
            self.ready.set()
            await self._stopping.wait()
            self.is_draining = True
            await drain(self._executor, self._dispatcher, worker=self.name, grace_s=self._options.grace_s)
        finally:
            self._executor.is_closing = True
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            self._scheduler.close()
            await self._children.close()
            await self._upkeep.close()
        await self._say_goodbye()

    async def _settle(self) -> None:
        """Wait until the presence stands, or until the worker is asked to stop before it ever did."""
        waits = [asyncio.create_task(event.wait()) for event in (self._presence.settled, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    @property
    def busy(self) -> int:
        """How many tasks this process holds."""
        return len(self._executor.executions)

    def _limit(self) -> None:
        """Make what bounds tasks in the whole fleet."""
        self._slots = Slots(
            pool=self._pool,
            clock=self._clock,
            registry=self._registry,
            sizes=self._options.limits,
            on_ready=self._on_ready,
        )

    def _make_presence(self) -> Presence:
        return Presence(
            pool=self._pool,
            direct_dsn=self._options.direct_dsn,
            worker_id=self.worker_id,
            on_notice=self._hear,
            on_return=self._return,
        )

    def _wire(self, registration: Mapping[str, Any]) -> None:
        """Make the parts and introduce them to one another."""
        options = self._options
        payloads = Payloads(self._give_pool, options.codec)
        self._notices = Notices(pool=self._pool)
        self._streams = StreamWriter(pool=self._pool, clock=self._clock)
        self._committer = self._make_committer(
            pool=self._pool,
            clock=self._clock,
            worker_id=self.worker_id,
            count_active=self._count_active,
            save_limit_s=options.save_limit_s,
        )
        self._executor = Executor(
            registry=self._registry,
            resources=self._resources,
            slots=self._slots,
            lanes=frozenset(self.lanes),
            pool=self._pool,
            clock=self._clock,
            committer=self._committer,
            notices=self._notices,
            streams=self._streams,
            children=self._children,
            threads=Threads(options.threads),
            payloads=payloads,
            metrics=self._metrics,
            on_scheduled=self._on_scheduled,
        )
        # A process set aside for suspects runs nothing else, and stays on a step's task only for that step.
        self._executor.is_draining = options.for_suspects
        self._dispatcher = Dispatcher(
            pool=self._pool,
            clock=self._clock,
            executor=self._executor,
            worker_id=self.worker_id,
            lanes=self.lanes,
            wake_keys=self.wake_keys,
            slots=options.slots,
            prefetch=options.prefetch,
            for_suspects=options.for_suspects,
            give_back=self._executor.give_back,
        )
        self._executor.on_free = self._executor.batches.on_gather = self._dispatcher.on_free
        self._executor.on_ready = self._dispatcher.wake
        self._presence = self._make_presence()
        self._listeners = Listeners(pool=self._pool, registry=self._registry)
        self._scheduler = Scheduler(
            pool=self._pool, clock=self._clock, payloads=payloads, cancel=Client(pool=self._pool).cancel
        )
        self._schedule_loop = PeriodicLoop("schedules", self._scheduler.run_once, interval_s=IDLE_S)
        self._scheduler.wake = self._schedule_loop.wake
        self._wire_upkeep(registration)

    def _wire_upkeep(self, registration: Mapping[str, Any]) -> None:
        self._upkeep = Upkeep(
            pool=self._pool,
            clock=self._clock,
            executor=self._executor,
            dispatcher=self._dispatcher,
            notices=self._notices,
            metrics=self._metrics,
            worker_id=self.worker_id,
            registration=registration,
            lanes=self.lanes,
            wake_keys=self.wake_keys,
            options=self._options.upkeep,
            is_listening=lambda: self._presence.is_listening,
            on_suspects=self._on_suspects or self._dispatcher.note_suspects,
            on_next_fire=self._scheduler.note,
            on_broadcast=self._listeners.note_latest,
            on_reclaimed=self._slots.sweep_loop.wake,
        )
        self._housekeeping = Housekeeping(
            pool=self._pool,
            clock=self._clock,
            notices=self._notices,
            metrics=self._metrics,
            poll_s=self._options.upkeep.poll_s,
            retention_days=self._options.retention_days,
        )
        self._watch_loop = PeriodicLoop("watch", self._upkeep.watch, interval_s=1.0)
        self._beat_loop = PeriodicLoop("beat", self._beat, interval_s=self._options.upkeep.poll_s)

    async def _give_pool(self) -> Pool:
        return self._pool

    def _count_active(self) -> int:
        return len(self._executor.executions)

    async def _dispatch(self) -> None:
        # A worker that dies with a task before its presence stands would be missed for long.
        await self._presence.settled.wait()
        await self._housekeeping.wait_for_first_look()
        await self._dispatcher.run()

    def _on_ready(self, lane: str) -> None:
        """A task became ready here: this process takes it if it can, else the others are told."""
        if lane in self.lanes and self._dispatcher.has_room(lane) and not self.is_draining:
            self._dispatcher.wake(lane)
        else:
            self._notices.wake_lane(lane)

    def _on_scheduled(self, outcome: Outcome) -> None:
        if isinstance(outcome, Retry) and outcome.error_code == OutOfMemoryError.error_code:
            self._dispatcher.step_back(outcome.claim.lane, outcome.due_at)
        self._beat_loop.wake()

    def _loops(self) -> dict[str, Callable[[], Any]]:
        return {
            "presence": self._presence.run,
            "flush": self._committer.flusher.run,
            "dispatch": self._dispatch,
            "beat": self._beat_loop.run,
            "watch": self._watch_loop.run,
            "schedules": self._schedule_loop.run,
            "tidy": PeriodicLoop("tidy", self._tidy, interval_s=KEY_SWEEP_S).run,
            **self._listeners.loops(),
            "notices": PeriodicLoop("notices", self._notices.run_once, interval_s=ROUND_S).run,
            "slots": self._slots.run,
            "limits": self._slots.sweep_loop.run,
            "stream": self._streams.run,
            "stream upkeep": PeriodicLoop("stream upkeep", self._streams.drop_old, interval_s=DROP_S).run,
            "heartbeats": PeriodicLoop("heartbeats", self._executor.pulses.run_once, interval_s=WRITE_S).run,
            "sweep": PeriodicLoop("sweep", Sweeper(self._executor).run_once, interval_s=SWEEP_S).run,
            **{name: loop.run for name, loop in self._housekeeping.loops.items()},
            "stall": StallWatch(
                metrics=self._metrics,
                blocked_after_s=self._options.blocked_after_s,
                name_task=self._executor.describe_task,
            ).run,
        }

    async def _tidy(self) -> None:
        await sweep_keys(self._pool)
        await drop_old_events(self._pool, self._clock)

    async def _beat(self) -> float:
        pause_s = await self._upkeep.beat()
        self._metrics.set_tasks_running(self.busy)
        self._watch_loop.wake()
        return pause_s

    def _hear(self, text: str) -> None:
        """A notice came: `lane`, `*`, `due`, `parked`, `pause`, `fair:`, `orphans`, or `cancel:JOB`."""
        if text.startswith("cancel:"):
            if text[7:].isdecimal() and self._upkeep.note_end(int(text[7:])):
                self._beat_loop.wake()
            return
        if text == BROADCAST:
            self._listeners.wake()
            return
        if self._upkeep.note_activity():
            # Not at once: the claim comes first.
            asyncio.get_running_loop().call_later(WATCH_DELAY_S, self._watch_loop.wake)
        if text in ("due", "parked", "pause"):
            self._beat_loop.wake()
        elif text == NOTICE:
            self._dispatcher.note_turns()
        elif text == "orphans":
            self._housekeeping.loops["orphans"].wake()
        elif text == "*" or text in self.lanes:
            self._dispatcher.wake(None if text == "*" else text)

    async def _return(self) -> None:
        """The presence stands again: what was lost meanwhile must stop, what came must start."""
        _log.warning(events.PRESENCE_RESTORED, worker_id=self.worker_id)
        await self._upkeep.reconcile()
        self._dispatcher.wake()
        self._beat_loop.wake()

    async def _say_goodbye(self) -> None:
        try:
            async with self._pool.connection() as conn:
                await workers.end_worker(conn, self.worker_id)
        except (DatabaseConnectionError, StoreError):
            # The others see it by the presence.
            pass
        _log.info(events.WORKER_STOPPED, worker=self.name)


def _check_needs(registry: Registry, resources: Mapping[type, Any]) -> None:
    for pipeline in registry:
        for place in pipeline.graph.all_places:
            for need in place.step.needs:
                if need not in resources:
                    raise DefinitionError(
                        f"step {place.name} of {pipeline.name}@{pipeline.version} needs {need.__name__}, which this process does not have"
                    )
