"""Cancels the children of jobs that failed or were cancelled, as they were started to be.

The end of the parent leaves a note in its own transaction. Whoever works it off may die in the middle: the note
stays until no child is left, and a child that was cancelled is not cancelled again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from rkyc.errors import ConflictError, DatabaseConnectionError, NotFoundError
from rkyc.store.pool import Pool
from rkyc.store.queue import children

# Children of one look.
BATCH = 100
REASON = "its parent ended"


class Orphans:
    """Looks for children that are to be cancelled; `cancel` is the client's."""

    def __init__(self, *, pool: Pool, cancel: Callable[..., Awaitable[bool]]) -> None:
        self._pool = pool
        self._cancel = cancel

    async def run_once(self) -> float | None:
        """Cancel at most 100; return 0 when there may be more."""
        async with self._pool.connection() as conn:
            if not await children.has_orphaned(conn):
                return None
            found = await children.list_orphans(conn, BATCH)
            if not found:
                await children.drop_orphaned(conn)
        for job_id in found:
            # One that just moves, or a lost connection: the next look finds it again.
            with contextlib.suppress(ConflictError, NotFoundError, DatabaseConnectionError):
                await self._cancel(job_id, REASON, stops_undo=False)
        return 0.0 if len(found) == BATCH else None
