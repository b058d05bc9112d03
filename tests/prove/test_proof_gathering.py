"""A thousand branches over three processes, two of them killed: their join starts once, with all results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.fleet import Fleet, open_fleet
from tests.support.gathering import check_gathering

pytestmark = [pytest.mark.anyio, pytest.mark.prove, pytest.mark.timeout(600)]


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, dsn=dsn, app="tests.support.map_probes:registry") as running:
        yield running


@pytest.mark.parametrize("pipeline", ["mapped", "chord_of_1000"])
async def test_a_join_of_a_thousand_outlives_two_of_three_processes(
    fleet: Fleet, pool: Pool, tmp_path: Path, pipeline: str
) -> None:
    await check_gathering(fleet, pool, tmp_path, pipeline, 1000, slots=50)
