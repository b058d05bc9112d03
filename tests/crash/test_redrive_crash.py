"""Dead letters started again by processes that are killed meanwhile: none is lost, none runs twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.crashes import checkpoints_by_step, make_input, submit
from tests.support.engine import query, tasks_left, wait_all_ended, wait_for
from tests.support.fleet import Fleet, open_fleet

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
JOBS = 150


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Processes whose lane starts dead letters again five times a second."""
    async with open_fleet(tmp_path, app="tests.support.probes:reviving", dsn=dsn) as opened:
        yield opened


async def test_none_is_lost_and_none_doubled_while_those_who_start_them_again_are_killed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await fleet.keep_running(2, POLL_S=0.1)
    await submit(pool, "reviving", [make_input(tmp_path, name) for name in range(JOBS)])

    async def started_again() -> Counter[int]:
        rows = await query(pool, "SELECT job_id FROM rkyc.event WHERE type = 'job.retried'")
        return Counter(row["job_id"] for row in rows)

    for number in (1, 2, 3):
        kills_at = number * JOBS // 2

        async def enough(at: int = kills_at) -> bool:
            return sum((await started_again()).values()) >= at

        await wait_for(enough, timeout_s=40, what=f"{kills_at} starts")
        await fleet.pick().kill()
    (tmp_path / "ledger.heal").touch()
    counts = await wait_all_ended_well(pool)
    assert counts == {"completed": JOBS}
    assert set((await checkpoints_by_step(pool)).values()) == {1}
    assert await tasks_left(pool) == []
    letters = await query(pool, "SELECT job_id, retry_count, state FROM rkyc.dead_letter")
    assert len(letters) == JOBS and {row["state"] for row in letters} == {"requeued"}
    # Each start of a job is counted with it, in the transaction that made it.
    assert {row["job_id"]: row["retry_count"] for row in letters} == dict(await started_again())


async def wait_all_ended_well(pool: Pool) -> dict[str, int]:
    async def none_failed() -> dict[str, int] | None:
        counts = await wait_all_ended(pool, JOBS, timeout_s=60)
        return counts if "failed" not in counts else None

    counts: dict[str, int] = await wait_for(none_failed, timeout_s=60, what="the completion of all")
    return counts
