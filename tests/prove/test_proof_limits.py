"""Limits at full size: a limit of five, eight processes, 2,000 jobs of 50 ms, kills at random."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support import limited_work
from tests.support.crashes import submit
from tests.support.engine import query, wait_all_ended
from tests.support.fleet import Fleet, open_fleet

pytestmark = [pytest.mark.anyio, pytest.mark.prove, pytest.mark.timeout(600)]
JOBS = 2_000
# What a place may stand free while work waits, and how long after a kill nothing is said. Seconds.
GAP_S_MAX = 0.2
AFTER_KILL_S = 3.0


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, dsn=dsn, app=limited_work.APP) as running:
        yield running


async def test_two_thousand_jobs_under_a_limit_of_five_with_random_kills(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await fleet.keep_running(8, slots=50)
    ledger, dice, killed_at = tmp_path / "stays", random.Random(11), {}
    inputs = [{"ledger": str(ledger), "job": n, "corp": "one", "wait": 0.05} for n in range(JOBS)]
    await submit(pool, "occupying", inputs)
    ended = asyncio.create_task(wait_all_ended(pool, JOBS, timeout_s=300))
    while not ended.done():
        await asyncio.wait({ended}, timeout=dice.uniform(4, 8))
        serving = [one for one in fleet.members if one.is_alive and one.report]
        if not ended.done() and len(serving) > 4:
            member = dice.choice(serving)
            killed_at[member.pid] = time.monotonic()
            await member.kill()
    assert ended.result() == {"completed": JOBS}
    assert killed_at
    stays = limited_work.read_stays(ledger, killed_at)
    assert limited_work.count_most(stays) == limited_work.SIZE
    # The first moments, while the fleet finds the work, are no wait for a place.
    begin = sorted(stay.began for stay in stays)[limited_work.SIZE]
    quiet = [
        end - start
        for start, end in limited_work.find_gaps(stays, limited_work.SIZE)
        if start >= begin
        and not any(kill - 0.1 <= start <= kill + AFTER_KILL_S for kill in killed_at.values())
    ]
    assert max(quiet, default=0.0) <= GAP_S_MAX
    rows = await query(pool, "SELECT count(job_id) FROM rkyc.limit_slot")
    assert [tuple(row) for row in rows] == [(0,)]
