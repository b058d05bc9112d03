"""Puts jobs into the queue and tells the workers.

Calls of one moment, and those that come while a statement is under way, share a statement where they
differ in id and input only: many producers cost hardly more round trips and syncs than one. Each is answered after the commit. A group that the database refuses is sent again one by one, so
that nobody fails for a neighbour. The hint to the workers rides on the statement, at most so often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from rkyc.errors import (
    DatabaseConnectionError,
    InvalidInputError,
    OutputInvalidError,
    RkycError,
    UnknownLaneError,
    UnknownPipelineError,
)
from rkyc.store.connections import KeptConnection
from rkyc.store.pool import Connection, Pool, refuse_data_errors
from rkyc.store.queue import jobs, pipelines
from rkyc.store.queue.jobs import NewJobs

# Rows of one INSERT, and their text together: a group must not hold up everyone. Bytes.
GROUP_ROWS_MAX = 1000
GROUP_BYTES_MAX = 16_000_000
# Between two hints to the workers: NOTIFY takes a lock of the whole database at commit. Seconds.
WAKE_PAUSE_S = 0.002

_Entry = tuple[UUID, str, asyncio.Future[None]]


class Enqueuer:
    """The one way of a client's jobs into the queue; `open_pool` gives the pool that it writes by."""

    def __init__(self, open_pool: Callable[[], Awaitable[Pool]]) -> None:
        self._open_pool = open_pool
        self._kept: KeptConnection | None = None
        self._gathered: dict[NewJobs, list[_Entry]] = {}
        self._writing: asyncio.Future[None] | None = None
        self._told_at = -WAKE_PAUSE_S
        # Lanes that got tasks and whose workers have not been told yet.
        self._lanes_to_wake: set[str] = set()
        self._waking: asyncio.Task[None] | None = None

    async def put(self, new: NewJobs, job_id: UUID, text: str) -> None:
        """Enqueue one job; returns when it is committed.

        Raises:
            UnknownPipelineError, UnknownLaneError, InvalidInputError
            DatabaseConnectionError: whether it is in the queue is not known.
        """
        if self._writing is None or self._writing.done():
            # Nobody to share with: written here and now, without a task of the loop.
            self._writing = asyncio.get_running_loop().create_future()
            try:
                await self._insert_alone(new, [job_id], [text])
            finally:
                self._writing.set_result(None)
                if self._gathered:
                    self._writing = asyncio.create_task(self._write_gathered())
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.setdefault(new, []).append((job_id, text, future))
        await future

    async def insert(
        self,
        conn: Connection,
        new: NewJobs,
        ids: Sequence[UUID],
        texts: Sequence[str],
        *,
        tells: bool | None = None,
    ) -> None:
        """Insert jobs by a connection of the caller's; `tells` the workers with it: by default where a hint is due.

        Raises:
            UnknownPipelineError, UnknownLaneError, InvalidInputError
        """
        if tells is None:
            tells = self._take_hint()
        try:
            with refuse_data_errors("the job's input"):
                lane, count = await jobs.enqueue_jobs(conn, new, ids, texts, tells=tells)
        except OutputInvalidError as error:
            raise InvalidInputError(str(error), error.details) from error
        if not count:
            await _explain_refusal(conn, new)
        if not tells:
            self._wake("due" if new.run_at is not None else lane or "*")

    def _take_hint(self) -> bool:
        """Return whether the next statement is to carry a hint."""
        now = time.monotonic()
        if now - self._told_at < WAKE_PAUSE_S:
            return False
        self._told_at = now
        return True

    async def close(self) -> None:
        """Write what has gathered, and tell what is still to be told."""
        if self._writing is not None:
            await self._writing
        if self._waking is not None:
            await self._waking

    async def _write_gathered(self) -> None:
        while self._gathered:
            new, entries = next(iter(self._gathered.items()))
            group = _first_group(entries)
            del entries[: len(group)]
            if not entries:
                del self._gathered[new]
            try:
                await self._write(new, group)
            finally:
                # Whatever ended it: nobody waits for ever.
                for _, _, future in group:
                    if not future.done():
                        future.cancel()
            if not self._gathered:
                # Whoever was answered may have more at once: those share a statement again.
                await asyncio.sleep(0)

    async def _write(self, new: NewJobs, group: list[_Entry]) -> None:
        try:
            await self._insert_alone(new, [entry[0] for entry in group], [entry[1] for entry in group])
        except RkycError as error:
            if isinstance(error, InvalidInputError) and len(group) > 1:
                for entry in group:
                    await self._write(new, [entry])
                return
            for _, _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        for _, _, future in group:
            if not future.done():
                future.set_result(None)

    async def _insert_alone(self, new: NewJobs, ids: list[UUID], texts: list[str]) -> None:
        if self._kept is None:
            self._kept = KeptConnection(await self._open_pool())
        async with self._kept.connection() as conn:
            await self.insert(conn, new, ids, texts)

    def _wake(self, lane: str) -> None:
        """Tell the workers soon, of many enqueues at once."""
        self._lanes_to_wake.add(lane)
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._tell_workers())

    async def _tell_workers(self) -> None:
        pool = await self._open_pool()
        while self._lanes_to_wake:
            await asyncio.sleep(max(0.0, self._told_at + WAKE_PAUSE_S - time.monotonic()))
            self._told_at = time.monotonic()
            lanes, self._lanes_to_wake = self._lanes_to_wake, set()
            try:
                async with pool.connection() as conn:
                    await jobs.notify(conn, jobs.WAKE_CHANNEL, sorted(lanes))
            except DatabaseConnectionError:
                # A hint that is lost: the workers look by themselves within their poll.
                return


def _first_group(entries: list[_Entry]) -> list[_Entry]:
    """Return as many of the first entries as one statement takes: at least one."""
    group: list[_Entry] = []
    size = 0
    for entry in entries[:GROUP_ROWS_MAX]:
        size += len(entry[1])
        if group and size > GROUP_BYTES_MAX:
            break
        group.append(entry)
    return group


async def _explain_refusal(conn: Connection, new: NewJobs) -> None:
    lanes = await jobs.list_lanes(conn)
    if new.lane not in lanes:
        raise UnknownLaneError(f"no lane is called {new.lane!r}: expected one of {', '.join(lanes)}")
    known = ", ".join(row["name"] for row in await pipelines.list_pipelines(conn)) or "none"
    raise UnknownPipelineError(
        f"no pipeline is called {new.pipeline!r}: this database knows {known}; a worker that serves it makes it known"
    )
