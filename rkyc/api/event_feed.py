"""Wakes the event streams of this process when something may have happened to their jobs.

Hints are capped and may be lost, so once a second one statement looks how far every watched job is. A
stream that is woken goes on from its own place in its job's log, which all streams of the job share and
extend from the database: a slow client holds nothing here but that place. Nothing runs while nobody watches.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from typing import Any
from uuid import UUID

import orjson

from rkyc.api.hints import Hints
from rkyc.api.job_events import encode_event
from rkyc.api.shared_reads import SharedReads
from rkyc.engine.loop import PeriodicLoop
from rkyc.errors import NotFoundError
from rkyc.flow.job_events import JobEvent, JobHistory
from rkyc.store.pool import Pool, Record
from rkyc.store.queue import events as store

# Rows of one read; a slow client is sent one page at a time.
PAGE_ROWS = 500
_IDLE_S = 3600.0


class Watch:
    """One stream's interest in a job; `wait` returns when something may have happened."""

    def __init__(self, job_id: int, is_gone: Callable[[], bool]) -> None:
        self.job_id = job_id
        self.is_gone = is_gone
        self.mark: str | None = None
        self._moved = asyncio.Event()

    def wake(self) -> None:
        self._moved.set()

    def clear(self) -> None:
        """Forget what happened so far; call it before reading, never after."""
        self._moved.clear()

    async def wait(self, limit_s: float) -> None:
        """Wait for a wake, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._moved.wait()


class EventFeed:
    """The watches of this process; `run` keeps them woken until cancelled."""

    def __init__(
        self,
        *,
        pool: Pool,
        hints: Hints,
        show_payload: Callable[[str | None], Awaitable[str | None]],
        look_s: float = 1.0,
    ) -> None:
        self._pool = pool
        self._show_payload = show_payload
        self._hints = hints
        self._by_uuid: dict[str, set[Watch]] = {}
        self._watches: set[Watch] = set()
        self._plans = SharedReads(self._read_plan)
        self._extensions = SharedReads(self._extend)
        # As long as somebody reads them.
        self._logs: weakref.WeakValueDictionary[int, EventLog] = weakref.WeakValueDictionary()
        self._look_loop = PeriodicLoop("events", self._look, interval_s=look_s)
        self.is_closing = False
        hints.join(self)

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._watches)

    async def run(self) -> None:
        await self._look_loop.run()

    def close(self) -> None:
        """Ask all streams to end: the process goes away, their clients come back to another."""
        self.is_closing = True
        self.wake_all()

    @contextlib.contextmanager
    def watch(self, uuid: UUID, job_id: int, *, is_gone: Callable[[], bool]) -> Iterator[Watch]:
        """Watch a job while the block runs; `is_gone` tells that the client went away."""
        watch = Watch(job_id, is_gone)
        self._watches.add(watch)
        self._by_uuid.setdefault(str(uuid), set()).add(watch)
        self._hints.want()
        if len(self._watches) == 1:
            self._look_loop.wake()
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            siblings = self._by_uuid[str(uuid)]
            siblings.discard(watch)
            if not siblings:
                del self._by_uuid[str(uuid)]

    async def open(self, uuid: UUID) -> EventReader:
        """Return a reader at the job's beginning.

        Raises:
            NotFoundError: no such job.
        """
        plan = await self._plans.get(uuid)
        if plan is None:
            raise NotFoundError(f"no job {uuid}: GET /api/v1/jobs lists those that are kept")
        log = self._logs.get(plan["id"])
        if log is None:
            log = self._logs[plan["id"]] = EventLog(self, uuid, plan)
        return EventReader(log)

    async def extend(self, log: EventLog) -> None:
        """Read what follows in a log; who asks before it is read shares it."""
        await self._extensions.get(log)

    def wake_job(self, uuid: str) -> None:
        for watch in self._by_uuid.get(uuid, ()):
            watch.wake()

    def wake_streams(self, job_ids: Set[int], marked: Set[int]) -> None:
        if marked:
            for watch in self._watches:
                if watch.job_id in marked:
                    watch.wake()

    def wake_all(self) -> None:
        for watch in self._watches:
            watch.wake()

    async def _read_plan(self, uuid: UUID) -> Record | None:
        async with self._pool.connection() as conn:
            return await store.read_plan(conn, uuid)

    async def _extend(self, log: EventLog) -> None:
        # One after the other: an older page must not be taken in after a newer one.
        async with log.turn:
            async with self._pool.connection() as conn:
                rows = await store.read_events(conn, log.job_id, since=log.since, limit=PAGE_ROWS)
            log.take([await self._show_result(row) for row in rows])

    async def _show_result(self, row: Record) -> Record:
        result = await self._show_payload(row["result"])
        return row if result is row["result"] else {**row, "result": result}  # type: ignore[return-value]

    async def _look(self) -> float | None:
        """Compare how far the watched jobs are with the last look."""
        if not self._watches:
            return _IDLE_S
        for watch in self._watches:
            if watch.is_gone():
                watch.wake()
        async with self._pool.connection() as conn:
            marks = await store.read_marks(conn, list({watch.job_id for watch in self._watches}))
        for watch in self._watches:
            mark = marks.get(watch.job_id)
            if mark is not None and mark != watch.mark:
                watch.mark = mark
                watch.wake()
        return None


class EventLog:
    """A job's events as far as they are read, encoded once for all streams of this process that watch it."""

    def __init__(self, feed: EventFeed, uuid: UUID, plan: Record) -> None:
        self._feed = feed
        self._uuid = uuid
        self._history = JobHistory(orjson.loads(plan["graph"]))
        self.turn = asyncio.Lock()
        self.events: list[tuple[JobEvent, bytes]] = []
        self.job_id: int = plan["id"]

    @property
    def since(self) -> int:
        """The number to read on from."""
        return self._history.since

    @property
    def has_end(self) -> bool:
        """The job's end was read, and nothing after it."""
        return self._history.is_over

    async def extend(self) -> None:
        """Read what follows."""
        await self._feed.extend(self)

    def take(self, rows: Sequence[Record]) -> None:
        """Take in the rows that follow."""
        self.events += [(event, encode_event(event, self._uuid, {})) for event in self._history.read(rows)]

    def encode(self, place: int, extra: Mapping[str, Any]) -> bytes:
        """Return the events from a place on; `extra` are fields that each of them gets."""
        if extra:
            return b"".join(encode_event(event, self._uuid, extra) for event, _ in self.events[place:])
        return b"".join(encoded for _, encoded in self.events[place:])


class EventReader:
    """One client's way through a job's events: a place in the log that it shares with others."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._place = 0
        self._extra: dict[str, Any] = {}
        self.job_id = log.job_id

    @property
    def is_over(self) -> bool:
        """The job's end was read and given out."""
        return self._log.has_end and self._place == len(self._log.events)

    async def skip_to(self, last_id: int) -> None:
        """Leave out the events up to an id; if it is none of this job's, all come, marked as replayed."""
        events = self._log.events
        while not events or events[-1][0].id < last_id:
            known = len(events)
            await self._log.extend()
            if len(events) == known:
                break
        place = bisect.bisect_left(events, last_id, key=lambda pair: pair[0].id)
        if place < len(events) and events[place][0].id == last_id:
            self._place = place + 1
        else:
            self.replay()

    def replay(self) -> None:
        """Give all events, marked as replayed."""
        self._place = 0
        self._extra = {"replayed": True}

    async def next(self) -> bytes:
        """Return the next events, encoded; empty: there are no more now."""
        if self._place == len(self._log.events):
            await self._log.extend()
        place, self._place = self._place, len(self._log.events)
        return self._log.encode(place, self._extra)
