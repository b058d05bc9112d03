"""Compensation goes on after a kill -9: each compensator to its end, in the same order."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkyc.engine.client import Client
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, submit, wait_entries
from tests.support.engine import query, wait_all_ended, wait_for
from tests.support.fleet import open_fleet

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_what_was_begun_to_be_undone_is_undone_after_a_kill(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path, app="tests.support.sagas:registry", dsn=dsn) as fleet:
        victim = await fleet.start()
        inputs = [make_input(tmp_path, number, fails=["mail"], wait=0.3) for number in range(20)]
        await submit(pool, "booking", inputs)
        await wait_entries(tmp_path, "undone", 5)
        await victim.kill()
        await fleet.start()
        assert await wait_all_ended(pool, 20, timeout_s=60) == {"failed": 20}
    for number in range(20):
        undone = [e.step for e in entries(tmp_path) if e.job == str(number) and e.what == "undone"]
        once = list(dict.fromkeys(undone))
        assert once == ["undo:car", "undo:hotel", "undo:flight"], "all of it, in reverse order"
        assert len(undone) <= 4, "at most the one that was being committed runs twice"
        refunds = [e.step for e in entries(tmp_path) if e.job == str(number) and e.what == "refunded"]
        assert len(refunds) <= 4
    rows = await pool_metadata(pool)
    assert rows == [["car", "hotel", "flight"]] * 20


async def test_what_a_cancel_began_to_undo_is_undone_after_a_kill(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with open_fleet(tmp_path, app="tests.support.sagas:registry", dsn=dsn) as fleet:
        victim = await fleet.start()
        inputs = [make_input(tmp_path, number, stay="signal", wait=0.3) for number in range(20)]
        ids = await submit(pool, "trip", inputs)
        await wait_for(lambda: _all_wait(pool, 20), timeout_s=60)
        for job_id in ids:
            assert await client.cancel(job_id, "enough")
        await wait_entries(tmp_path, "undone", 5)
        await victim.kill()
        await fleet.start()
        assert await wait_all_ended(pool, 20, timeout_s=60) == {"cancelled": 20}
    for number in range(20):
        undone = [e.step for e in entries(tmp_path) if e.job == str(number) and e.what == "undone"]
        assert list(dict.fromkeys(undone)) == ["undo:hotel", "undo:flight"], "all of it, in reverse order"
        assert len(undone) <= 3, "at most the one that was being committed runs twice"
    assert await pool_metadata(pool) == [["hotel", "flight"]] * 20
    (row,) = await query(pool, "SELECT count(DISTINCT error_message), min(error_message) FROM rkyc.history")
    assert tuple(row) == (1, "enough")


async def _all_wait(pool: Pool, number: int) -> bool:
    return len(await query(pool, "SELECT FROM rkyc.waiting WHERE kind = 'signal'")) == number


async def pool_metadata(pool: Pool) -> list[list[str]]:
    async with pool.connection() as conn:
        rows = await conn.fetch(
            "SELECT ARRAY(SELECT jsonb_array_elements_text(metadata -> 'compensated')) AS undone FROM rkyc.history"
        )
    return [list(row["undone"]) for row in rows]
