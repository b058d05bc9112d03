"""Schedules over real processes: one job per tick while they are killed, and after all were gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from rkyc.engine.client import Client
from rkyc.flow.schedule import Schedule
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input
from tests.support.engine import announce, wait_all_ended, wait_for
from tests.support.fleet import Fleet, open_fleet
from tests.support.ledger import count
from tests.support.probes import registry
from tests.support.ticks import check_ticks, read_ticks

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
SECOND = timedelta(seconds=1)


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, dsn=dsn) as running:
        yield running


async def wait_ticks(pool: Pool, number: int) -> None:
    async def look() -> bool:
        return len(await read_ticks(pool, "each-second")) >= number

    await wait_for(look, timeout_s=40, what=f"{number} ticks")


async def test_each_tick_starts_one_job_while_processes_are_killed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await announce(pool, *registry)
    schedules = Client(pool=pool).schedules
    for _ in range(3):
        await fleet.start()
    await schedules.add(
        Schedule(
            "each-second",
            "single",
            make_input(tmp_path, "tick"),
            interval_s=1.0,
            catch_up="all",
            overlap="allow",
        )
    )
    await wait_ticks(pool, 2)
    await fleet.members[0].kill()
    await wait_ticks(pool, 4)
    # All of them are gone for a while: what they missed is made up for.
    for member in fleet.members[1:]:
        await member.kill()
    await fleet.start()
    await wait_ticks(pool, 8)
    await schedules.pause("each-second")
    ticks = await read_ticks(pool, "each-second")
    check_ticks(ticks, SECOND)
    await wait_all_ended(pool, len(ticks), timeout_s=30)
    assert count(entries(tmp_path), "ended")["tick", "only"] >= len(ticks)
