"""Claims tasks of jobs with a fairness key, so that no key starves the others.

Such a task waits under its key instead of standing in `ready`; a worker with free slots takes the next one of the key that
has had least. Fairness is about the start of jobs: once begun, a job keeps its slot from step to step, and what it
comes back to later (a retry, a wait) goes through `ready` like all others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection
from rkyc.store.queue import turns

# How far behind the others a key may be that comes back, in tasks: a few small jobs overtake a backlog at once.
BURST = 16.0
# Keys that are compared with one another at once; a look into an index each.
KEYS_MAX = 2_000
# Tasks of one claim: it reads as many of each key.
CLAIM_ROWS_MAX = 64
PRUNE_S = 3600.0
# What tells the workers that such a task came.
NOTICE = "fair:"


class TurnClaims:
    """The turns that one worker asks for; `note` says that there may be some."""

    def __init__(self, *, worker_id: int, get_now: Callable[[], datetime]) -> None:
        self.may_wait = True
        self._worker_id = worker_id
        self._get_now = get_now
        self._prune_at = time.monotonic() + PRUNE_S

    async def claim(self, conn: Connection, lanes: Sequence[str], slots: int) -> list[Claim]:
        """Take at most `slots` tasks, those of the first lanes first; `may_wait` says whether there may be more."""
        claims: list[Claim] = []
        self.may_wait = False
        for lane in await turns.find_turn_lanes(conn, lanes):
            asked = min(slots - len(claims), CLAIM_ROWS_MAX)
            if asked <= 0:
                self.may_wait = True
                break
            async with conn.transaction():
                await turns.lock_turns(conn, lane, self._get_now())
                taken = await turns.claim_turns(
                    conn,
                    lane=lane,
                    slots=asked,
                    burst=BURST,
                    keys_max=KEYS_MAX,
                    worker_id=self._worker_id,
                    now=self._get_now(),
                )
            claims += taken
            self.may_wait = self.may_wait or len(taken) == asked
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_S
            await turns.prune_turns(conn, self._get_now())
        return claims
