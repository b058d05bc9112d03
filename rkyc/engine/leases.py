"""Writes of a running step that must happen once: a transaction under the lock of its lease.

A connection that is lost around the commit leaves its fate open. The lock is what makes asking again safe: the
lost transaction holds it until it is decided, and the statement after it sees what it left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rkyc.errors import DatabaseConnectionError, LeaseLostError
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import commits

T = TypeVar("T")
# How often a connection may be lost before the attempt fails, and the pause after the first loss in seconds.
TRIES = 5
PAUSE_S = 0.1


async def write_under_lease(
    pool: Pool, claim: Claim, step: str, write: Callable[[Connection], Awaitable[T]]
) -> T:
    """Lock the lease, then run `write`, which looks first whether an earlier try has done it.

    Raises:
        LeaseLostError: the task is another worker's.
        DatabaseConnectionError: the connection was lost again and again.
    """
    for number in range(1, TRIES + 1):
        try:
            async with pool.transaction() as conn:
                lease = {"job_id": claim.job_id, "branch": claim.branch, "fence": claim.fence}
                if not await commits.lock_lease(conn, **lease):
                    raise LeaseLostError(f"job {claim.uuid}: the lease of step {step} is lost")
                return await write(conn)
        except DatabaseConnectionError:
            if number == TRIES:
                raise
            await asyncio.sleep(PAUSE_S * number)
    raise AssertionError("the last try returns or raises")
