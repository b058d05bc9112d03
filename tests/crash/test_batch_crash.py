"""What gathers for a batch when its process is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.batch_probes import registry
from tests.support.crashes import entries, make_input, submit
from tests.support.engine import announce, query, wait_all_ended, wait_for
from tests.support.fleet import open_fleet

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_tasks_that_gathered_in_a_killed_process_are_saved_by_another(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    await announce(pool, *registry)
    async with open_fleet(tmp_path, dsn=dsn, app="tests.support.batch_probes:registry") as fleet:
        first = await fleet.start()
        # One short of a full batch: they wait for a fiftieth.
        await submit(pool, "saving", [make_input(tmp_path, number) for number in range(49)])

        async def all_held() -> bool:
            return len(await query(pool, "SELECT FROM rkyc.running")) == 49

        await wait_for(all_held, timeout_s=30)
        await first.kill()
        assert entries(tmp_path) == []
        second = await fleet.start()
        assert await wait_all_ended(pool, 49, timeout_s=60) == {"completed": 49}
    saved = entries(tmp_path)
    assert sorted(int(one.job) for one in saved) == list(range(49))
    assert {(one.pid, one.attempt) for one in saved} == {(second.pid, 2)}
