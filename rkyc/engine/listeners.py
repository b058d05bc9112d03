"""Gives the events of topics to the handlers of this process: each once, in order, none skipped.

A listener's place is in its memory alone: a process that ends leaves nothing behind, one that begins starts with
the newest full refresh of its topic. What came while its connection was cut is read afterwards, since it reads
on from its place. How far it may read is decided in flow/broadcast.py. A notice makes it fast, the beat makes
up for a lost one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.loop import PeriodicLoop
from rkyc.flow.broadcast import Broadcast, Frontier, Subscription
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Pool
from rkyc.store.queue import broadcasts

# What workers hear when there is an event.
NOTICE = "broadcast"
# Events of one look.
PAGE_ROWS = 200
# Until the transactions are decided that might bring an earlier event: the first pause and the longest. Seconds.
LOOK_S, LOOK_S_MAX = 0.02, 0.5
# Nothing is to be expected before a notice or a beat. Seconds.
IDLE_S = 3600.0
# How long events are kept for processes that were cut off; full refreshes, and what follows them, for longer.
KEPT_DAYS = 7
_DROP_ROWS = 1000


class Listener:
    """One subscription. `run_once` hands out what may be handed out, and returns the pause in seconds.

    `place` is the number up to which all is handled; set before the first round, it is where the listener begins.
    """

    def __init__(self, *, pool: Pool, subscription: Subscription) -> None:
        self.place: int | None = None
        self._pool = pool
        self._subscription = subscription
        self._frontier: Frontier | None = None
        # Taken from the log and not handled yet: an error of the handler makes its event come again, not the next.
        self._taken: deque[Broadcast] = deque()
        self._pause_s = LOOK_S

    async def run_once(self) -> float:
        """Read and handle until there is nothing more.

        Raises:
            Exception: whatever the handler raises; the event comes again.
        """
        await self._handle()
        while await self._look():
            await self._handle()
        await self._handle()
        assert self._frontier is not None
        return IDLE_S if self._frontier.is_settled else self._pause_s

    async def _look(self) -> bool:
        """Take what may be handed out; True: there may be more at once."""
        async with self._pool.connection() as conn:
            if self._frontier is None:
                if self.place is None:
                    self.place = await broadcasts.find_topic_start(conn, self._subscription.topic)
                self._frontier = Frontier(self.place)
            was_settled = self._frontier.is_settled
            page = await broadcasts.read_broadcasts(
                conn,
                topic=self._subscription.topic,
                after=self._frontier.after,
                noted=self._frontier.noted,
                limit=PAGE_ROWS,
            )
        taken = self._frontier.take(page)
        self._taken.extend(taken)
        self._pause_s = LOOK_S if taken else min(LOOK_S_MAX, self._pause_s * 1.5)
        # What was seen first can be handed out by the next look, where no other transaction is open.
        return (was_settled and bool(page.seen)) or (page.is_full and bool(taken))

    async def _handle(self) -> None:
        while self._taken:
            await self._subscription.handler(self._taken[0])
            self.place = self._taken.popleft().id


class Listeners:
    """The listeners of a process, each with a loop of its own: a slow handler holds up no other."""

    def __init__(self, *, pool: Pool, registry: Registry) -> None:
        # In the order of the registry's subscriptions.
        self.listeners = [Listener(pool=pool, subscription=one) for one in registry.subscriptions]
        self._loops = [
            PeriodicLoop(f"listen {one.topic}", listener.run_once, interval_s=IDLE_S)
            for one, listener in zip(registry.subscriptions, self.listeners, strict=True)
        ]
        self._latest: int | None = None

    def loops(self) -> dict[str, Callable[[], Any]]:
        """Return what is to run, by name."""
        return {f"{loop.name} ({number})": loop.run for number, loop in enumerate(self._loops)}

    def wake(self) -> None:
        """There may be events."""
        for loop in self._loops:
            loop.wake()

    def note_latest(self, latest: int | None) -> None:
        """The beat tells the newest event there is."""
        if latest != self._latest:
            self._latest = latest
            self.wake()


async def drop_old_events(pool: Pool, clock: DatabaseClock) -> None:
    """Forget what no process will ask for any more."""
    before = clock.now() - timedelta(days=KEPT_DAYS)
    while True:
        async with pool.connection() as conn:
            if await broadcasts.drop_broadcasts(conn, before=before, limit=_DROP_ROWS) < _DROP_ROWS:
                return
