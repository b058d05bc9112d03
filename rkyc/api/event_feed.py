"""Wakes the event streams of this process when something may have happened to their jobs.

Hints are capped and may be lost, so once a second one statement looks how far every watched job is. A
stream that is woken reads from the database, from its own place on: a slow client holds nothing here but
that place. Nothing runs while nobody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Set
from uuid import UUID

import orjson

from rkyc.api.hints import Hints
from rkyc.api.job_events import JobEvent, JobHistory
from rkyc.api.shared_reads import SharedReads
from rkyc.engine.loop import PeriodicLoop
from rkyc.errors import NotFoundError
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

    def __init__(self, *, pool: Pool, hints: Hints, look_s: float = 1.0) -> None:
        self._pool = pool
        self._hints = hints
        self._by_uuid: dict[str, set[Watch]] = {}
        self._watches: set[Watch] = set()
        self._plans = SharedReads(self._read_plan)
        self._pages = SharedReads(self._read_page)
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
        return EventReader(self, plan)

    async def read_rows(self, job_id: int, since: int) -> list[Record]:
        """Return a page of a job's rows; who asks for the same page before it is read shares it."""
        return await self._pages.get((job_id, since))

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

    async def _read_page(self, key: tuple[int, int]) -> list[Record]:
        job_id, since = key
        async with self._pool.connection() as conn:
            return await store.read_events(conn, job_id, since=since, limit=PAGE_ROWS)

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


class EventReader:
    """One job's events from a place on, page by page."""

    def __init__(self, feed: EventFeed, plan: Record) -> None:
        self._feed = feed
        self._graph = orjson.loads(plan["graph"])
        self._history = JobHistory(self._graph)
        self._kept: list[JobEvent] = []
        self.job_id: int = plan["id"]

    @property
    def is_over(self) -> bool:
        """The job's end was read and given out."""
        return self._history.is_over and not self._kept

    async def skip_to(self, last_id: int) -> bool:
        """Leave out the events up to an id; False: it is none of this job's, and all events will come."""
        while events := await self._read():
            if events[-1].id >= last_id:
                if any(event.id == last_id for event in events):
                    self._kept = [event for event in events if event.id > last_id]
                    return True
                break
        self._history = JobHistory(self._graph)
        return False

    async def next(self) -> list[JobEvent]:
        """Return the next events; none: there are no more now."""
        kept, self._kept = self._kept, []
        return kept or await self._read()

    async def _read(self) -> list[JobEvent]:
        return self._history.read(await self._feed.read_rows(self.job_id, self._history.since))
