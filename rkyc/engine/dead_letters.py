"""Dead letters in a person's hands: look through them, start them again, discard them.

What is done to many is done in groups, each in a transaction of its own with its entry in the audit trail:
whoever is interrupted has done the groups before, whole. What workers do by themselves is in redrive.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from rkyc.errors import NotFoundError
from rkyc.flow import payload
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import audit, dead_letters, jobs
from rkyc.store.queue.dead_letters import Filter

# Rows of one transaction.
GROUP_ROWS = 500


class DeadLetters:
    """The dead letters of a database; `Client.dead_letters` has one."""

    def __init__(self, open_pool: Callable[[], Awaitable[Pool]]) -> None:
        self._open_pool = open_pool

    async def list(self, **filters: Any) -> list[Record]:
        """Return a page of the view `dead_letters`; filters as `store.queue.dead_letters.list_dead_letters`."""
        pool = await self._open_pool()
        async with pool.connection() as conn:
            return await dead_letters.list_dead_letters(conn, **filters)

    async def groups(self, **filters: Any) -> Sequence[Record]:
        """Return a line for each fingerprint, the most frequent first; filters: state, queue, limit."""
        pool = await self._open_pool()
        async with pool.connection() as conn:
            return await dead_letters.list_groups(conn, **filters)

    async def get(self, letter: int | UUID) -> Record:
        """Return one, by its number or its job, with the job's input, error_details and open_tasks (JSON text).

        Raises:
            NotFoundError
        """
        pool = await self._open_pool()
        async with pool.connection() as conn:
            number = await self._find(conn, letter)
            row = await dead_letters.read_dead_letter(conn, number)
        if row is None:
            raise NotFoundError(f"no dead letter {letter}: `rkyc dlq list` shows those that are kept")
        return row

    async def count(self, wanted: Filter) -> int:
        """Return how many a filter fits: the preview of `requeue` and `discard`."""
        pool = await self._open_pool()
        async with pool.connection() as conn:
            return await dead_letters.count_matching(conn, wanted)

    async def requeue(self, wanted: Filter, *, by: str) -> int:
        """Start all that match again, each at the step that failed; completed steps are not repeated. Return how many.

        Those that come while this runs may or may not be among them. One whose deadline has passed, or whose unique key
        another job holds, stays where it is.
        """
        lanes: set[str] = set()

        async def act(conn: Connection, ids: Sequence[int]) -> Sequence[int]:
            done = await dead_letters.requeue_dead_letters(conn, ids)
            lanes.update(done.lanes)
            return done.ids

        count = await self._act(wanted, "dlq.requeue", by, act)
        if lanes:
            pool = await self._open_pool()
            async with pool.connection() as conn:
                await jobs.notify(conn, jobs.WAKE_CHANNEL, sorted(lanes))
        return count

    async def discard(self, wanted: Filter, *, by: str) -> int:
        """Set all that match aside for good; their jobs stay failed. Return how many."""
        return await self._act(wanted, "dlq.discard", by, dead_letters.discard_dead_letters)

    async def _act(
        self,
        wanted: Filter,
        action: str,
        by: str,
        act: Callable[[Connection, Sequence[int]], Awaitable[Sequence[int]]],
    ) -> int:
        """Do something to all that match, group by group, ascending."""
        pool = await self._open_pool()
        asked = {name: value for name, value in asdict(wanted).items() if value is not None}
        total, after = 0, 0
        while True:
            async with pool.transaction() as conn:
                ids = await dead_letters.list_ids(conn, wanted, after=after, limit=GROUP_ROWS)
                done = await act(conn, ids) if ids else []
                if done:
                    await audit.write_entry(
                        conn,
                        who=by,
                        action=action,
                        kind="dead_letter",
                        object=str(done[0]) if len(done) == 1 else f"{len(done)} dead letters",
                        details=payload.encode({"asked": asked, "ids": list(done)}),
                    )
            total += len(done)
            if len(ids) < GROUP_ROWS:
                return total
            after = ids[-1]

    async def _find(self, conn: Connection, letter: int | UUID) -> int:
        if isinstance(letter, int):
            return letter
        number = await dead_letters.find_of_job(conn, letter)
        if number is None:
            raise NotFoundError(f"job {letter} has no dead letter: only a job that failed has one")
        return number
