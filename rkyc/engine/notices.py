"""Hints to listeners, coalesced and capped: nothing rests on their arrival.

NOTIFY takes a database-wide lock at commit, so one is never sent inside a hot transaction, and at
most so many a round: who misses one sees the change at its next poll.
"""

from __future__ import annotations

import asyncio

import orjson

from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Advance, Arrive, Fork, Outcome, Spread
from rkyc.store.pool import Pool
from rkyc.store.queue import jobs

# A round every 20 ms with at most 20 notices: a thousand a second, whatever the load.
ROUND_S = 0.02
ROUND_NOTICES_MAX = 20


class Notices:
    """Collects what changed and tells it in rounds."""

    def __init__(self, *, pool: Pool) -> None:
        self._pool = pool
        self._progress: dict[int, tuple[Claim, str, str, float | None]] = {}
        self._lanes: set[str] = set()
        self._filled = asyncio.Event()

    def progress(self, claim: Claim, status: str, step: str, fraction: float | None = None) -> None:
        """A job changed, or its step is so far (0-1); the last change of a round is told."""
        if claim.job_id in self._progress or len(self._progress) < ROUND_NOTICES_MAX:
            self._progress[claim.job_id] = (claim, status, step, fraction)
            self._filled.set()

    def outcome(self, claim: Claim, place: Place, outcome: Outcome) -> None:
        """A task moved without ending its job."""
        if isinstance(outcome, Advance):
            self.progress(claim, "running", outcome.next_step)
            return
        self.progress(claim, "pending", place.name)
        if isinstance(outcome, Fork | Spread | Arrive):
            self._lanes.add("*")

    def wake_lane(self, lane: str) -> None:
        """Tasks became ready in a lane; `*` for any."""
        self._lanes.add(lane)
        self._filled.set()

    async def run_once(self) -> None:
        """Tell what has gathered."""
        await self._filled.wait()
        self._filled.clear()
        changed, self._progress = self._progress, {}
        lanes, self._lanes = self._lanes, set()
        texts = [_text(*change) for change in changed.values()]
        async with self._pool.connection() as conn:
            if lanes:
                await jobs.notify(conn, jobs.WAKE_CHANNEL, sorted(lanes))
            if texts:
                await jobs.notify(conn, jobs.PROGRESS_CHANNEL, texts)


def _text(claim: Claim, status: str, step: str, fraction: float | None) -> str:
    said: dict[str, object] = {
        "job_id": str(claim.uuid),
        "pipeline": claim.pipeline,
        "status": status,
        "step": step,
    }
    if fraction is not None:
        said["fraction"] = fraction
    return orjson.dumps(said).decode()
