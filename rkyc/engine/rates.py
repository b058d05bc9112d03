"""Waits for a rate: shortly in this process, longer without a slot.

A start is let in for a time (store/queue/buckets.py). A near one is slept through; for a far one the task leaves its slot
and comes back with its grant, so that of ten thousand that wait each is woken once, at its own time. What a call takes
is known only afterwards, so a call is let in when it begins: those of a process form a line, of which the first one
asks, and whoever waits long leaves its slot for a time that other calls in line make it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from datetime import timedelta

from rkyc.engine.suspend import Suspend
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import buckets
from rkyc.store.queue.buckets import Admitted, Charge

# What is slept through in the process, slot and all. Seconds.
SLEEP_S_MAX = 3.0
# How often the first in line asks, since other processes give units back. Seconds.
ASK_S = 0.5
PRUNE_S = 3600.0
# How late a grant may be used: a fleet that was away comes back with thousands, and must not use them all at once.
SLACK_S = 3.0


async def pass_rate(
    pool: Pool, charges: Sequence[Charge], *, claim: Claim | None, purpose: str, subject: str
) -> None:
    """Return when a start or a call may be; `purpose` tells it from the task's others, `subject` is for people.

    Raises:
        Suspend: that is some time from now, and there is a task that can wait without a slot.
    """
    admitted = await _ask(pool, charges, claim, purpose)
    if admitted.wait_s <= 0:
        return
    if claim is None or admitted.wait_s <= SLEEP_S_MAX:
        await asyncio.sleep(admitted.wait_s)
        return
    async with pool.connection() as conn:
        await buckets.keep_grant(
            conn, job_id=claim.job_id, branch=claim.branch, purpose=purpose, start_at=admitted.start_at
        )
    raise Suspend("limit", f"rate/{charges[0].scope}", admitted.start_at, f"the rate of {subject}")


async def prune_rates(pool: Pool) -> float:
    """Forget what is over; return the seconds until the next look."""
    async with pool.connection() as conn:
        await buckets.prune_grants(conn)
        await buckets.prune_buckets(conn)
    return PRUNE_S


class Lines:
    """The calls of this process that wait for buckets, in a line for each set of them."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, ...], _Line] = {}

    async def enter(
        self, pool: Pool, charges: Sequence[Charge], *, claim: Claim | None, subject: str
    ) -> None:
        """Return when the call may begin; its units are charged.

        Raises:
            Suspend: that takes long, and there is a task that can wait without a slot.
        """
        line = self._lines.setdefault(tuple(charge.scope for charge in charges), _Line())
        leaves_at = asyncio.get_running_loop().time() + (math.inf if claim is None else SLEEP_S_MAX)
        if await line.wait_to_be_first(leaves_at):
            try:
                if await line.ask_until(pool, charges, leaves_at):
                    return
            finally:
                line.lock.release()
        async with pool.connection() as conn:
            later = await buckets.reserve_units(
                conn, [charge._replace(scope=f"line/{charge.scope}") for charge in charges]
            )
        due_at = max(later.start_at, later.now + timedelta(seconds=SLEEP_S_MAX))
        raise Suspend("limit", f"rate/{charges[0].scope}", due_at, f"the rate of {subject}")

    async def settle(self, conn: Connection, differences: Sequence[Charge]) -> None:
        """Correct what was charged, here and for those who wait for a time; the first in line asks again."""
        both = [*differences, *(one._replace(scope=f"line/{one.scope}") for one in differences)]
        await buckets.settle_units(conn, both)
        for line in self._lines.values():
            line.changed.set()


class _Line:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.changed = asyncio.Event()

    async def wait_to_be_first(self, leaves_at: float) -> bool:
        """Take the lock; False: not before `leaves_at`, in seconds of the loop's clock."""
        try:
            async with asyncio.timeout_at(None if math.isinf(leaves_at) else leaves_at):
                await self.lock.acquire()
        except TimeoutError:
            return False
        return True

    async def ask_until(self, pool: Pool, charges: Sequence[Charge], leaves_at: float) -> bool:
        """Ask again and again; False: it does not fit before `leaves_at`."""
        while True:
            self.changed.clear()
            async with pool.connection() as conn:
                wait_s = await buckets.take_units(conn, charges)
            if wait_s <= 0:
                return True
            if asyncio.get_running_loop().time() >= leaves_at:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, ASK_S)):
                    await self.changed.wait()


async def _ask(pool: Pool, charges: Sequence[Charge], claim: Claim | None, purpose: str) -> Admitted:
    async with pool.connection() as conn:
        # A task that nobody has held before has been let in nowhere.
        if claim is not None and not claim.is_fresh:
            known = await buckets.use_grant(
                conn, job_id=claim.job_id, branch=claim.branch, purpose=purpose, slack_s=SLACK_S
            )
            if known is not None:
                return known
        return await buckets.reserve_units(conn, charges)
