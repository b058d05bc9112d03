"""A schedule at full length: 60 s of ticks over three processes, whichever fires killed again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from rkyc.engine.client import Client
from rkyc.flow.schedule import Schedule
from rkyc.store.pool import Pool
from tests.support.crashes import make_input
from tests.support.engine import announce, wait_for
from tests.support.fleet import Fleet, open_fleet
from tests.support.probes import registry
from tests.support.ticks import check_ticks, read_ticks

pytestmark = [pytest.mark.anyio, pytest.mark.prove, pytest.mark.timeout(600)]
TICKS = 60


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, dsn=dsn) as running:
        yield running


async def test_sixty_ticks_start_sixty_jobs_while_processes_are_killed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await announce(pool, *registry)
    await fleet.keep_running(3)
    schedules = Client(pool=pool).schedules
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
    killed = 0

    async def kill_some() -> bool:
        nonlocal killed
        ticks = await read_ticks(pool, "each-second")
        if len(ticks) >= 10 * (killed + 1) and killed < 5:
            await fleet.pick().kill()
            killed += 1
        await asyncio.sleep(0.05)
        return len(ticks) >= TICKS

    await wait_for(kill_some, timeout_s=180, what="the last tick")
    await schedules.pause("each-second")
    check_ticks(await read_ticks(pool, "each-second"), timedelta(seconds=1))
    assert killed == 5
