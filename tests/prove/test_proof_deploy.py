"""A deploy over 500 jobs in flight: 0 failed, 0 repeated steps, whether the old version is served on or comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.deploys import roll_out

pytestmark = [pytest.mark.anyio, pytest.mark.prove, pytest.mark.timeout(600)]


@pytest.mark.parametrize("serves_both", [True, False], ids=["both served", "the old one removed and back"])
async def test_500_jobs_in_flight_end_on_their_version_and_no_step_runs_twice(
    dsn: str, pool: Pool, tmp_path: Path, serves_both: bool
) -> None:
    await roll_out(dsn, pool, tmp_path, jobs=500, serves_both=serves_both)
