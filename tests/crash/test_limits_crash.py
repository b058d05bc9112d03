"""A limit of five for each company, several processes, and kills at random: never six at once."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support import limited_work
from tests.support.crashes import submit
from tests.support.engine import query, wait_all_ended, wait_for
from tests.support.fleet import Fleet, open_fleet

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
JOBS = 120


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, dsn=dsn, app=limited_work.APP) as running:
        yield running


async def test_never_more_run_at_once_than_the_limit_whoever_is_killed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await fleet.keep_running(3, slots=20)
    ledger, dice, killed_at = tmp_path / "stays", random.Random(7), {}
    inputs = [
        {"ledger": str(ledger), "job": number, "corp": "ab"[number % 2], "wait": 0.1}
        for number in range(JOBS)
    ]
    await submit(pool, "occupying", inputs)

    async def is_done(share: float) -> bool:
        (row,) = await query(pool, "SELECT count(*) >= $1::float8 AS is_done FROM rkyc.history", JOBS * share)
        return bool(row["is_done"])

    for share in (0.2, 0.5):

        async def look(share: float = share) -> bool:
            return await is_done(share)

        await wait_for(look, timeout_s=60, what=f"{share:.0%} of the jobs")
        member = dice.choice([one for one in fleet.members if one.is_alive and one.report])
        killed_at[member.pid] = time.monotonic()
        await member.kill()
    assert await wait_all_ended(pool, JOBS, timeout_s=60) == {"completed": JOBS}
    stays = limited_work.read_stays(ledger, killed_at)
    assert limited_work.count_most(stays) == limited_work.SIZE

    async def all_are_free() -> bool:
        # A place is freed just after the end that it was held for.
        (row,) = await query(pool, "SELECT count(job_id) AS held FROM rkyc.limit_slot")
        return not row["held"]

    await wait_for(all_are_free)
