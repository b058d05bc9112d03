"""How long a process goes on watching the others."""

from __future__ import annotations

import time

import pytest

from rkyc.engine.upkeep import UpkeepOptions
from rkyc.flow.pipeline import Pipeline
from rkyc.store.pool import Pool
from tests.support.engine import serve, wait_for
from tests.support.probes import pause

pytestmark = pytest.mark.anyio


async def test_watch_outlasts_a_notice_whose_claim_is_not_committed_yet(dsn: str, pool: Pool) -> None:
    """Else a process that dies in its first seconds would be missed at the next beat only."""
    options = UpkeepOptions(beat_s=5.0, poll_s=1.0)
    async with serve(dsn, Pipeline("single", 1, pause), upkeep=options) as worker:
        upkeep = worker._upkeep
        heard_at = time.monotonic()
        upkeep.note_activity()
        assert await upkeep.watch() < 2.0
        assert await upkeep.watch() < 2.0

        async def is_over() -> bool:
            return await upkeep.watch() > 60.0

        await wait_for(is_over, timeout_s=5.0)
        assert time.monotonic() - heard_at >= options.poll_s
