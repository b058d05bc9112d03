"""Removes payloads that no job names any more, and chunks whose writer died before they became a blob.

Every process looks about once an hour; of two that look at once each takes what the other has not locked. What was
touched lately is left alone: a commit that is about to name a blob touches it first.
"""

from __future__ import annotations

import random

from rkyc.store import blobs
from rkyc.store.pool import Pool
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# Between two looks, and the first one's delay at most. Seconds.
COLLECT_S = 3600.0
# For how long nobody must have touched a payload, and for how long a chunk may wait for its blob. Seconds.
PAYLOAD_AGE_S = 86_400.0
CHUNK_AGE_S = 7 * 86_400.0


class Collector:
    """One process's looks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._has_looked = False

    async def run_once(self) -> float | None:
        """Remove at most 100 payloads; look again at once while there are more."""
        if not self._has_looked:
            # Not at the start: it is not what a worker was started for.
            self._has_looked = True
            return random.uniform(60.0, COLLECT_S)
        async with self._pool.connection() as conn:
            number = await blobs.collect(conn, payload_age_s=PAYLOAD_AGE_S, chunk_age_s=CHUNK_AGE_S)
        if number:
            _log.info(events.PAYLOADS_COLLECTED, payloads=number)
        return 1.0 if number else None
