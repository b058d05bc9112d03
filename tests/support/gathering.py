"""A job of many branches over three processes of which two are killed: what must come of it, at any size."""

from __future__ import annotations

import json
from pathlib import Path

from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, submit, wait_entries
from tests.support.engine import query, tasks_left, wait_status
from tests.support.fleet import Fleet


async def check_gathering(
    fleet: Fleet,
    pool: Pool,
    folder: Path,
    pipeline: str,
    number: int,
    *,
    slots: int = 20,
    wait_s: float = 0.1,
) -> None:
    """Run it, kill one process after a fifth and one after a half, and check that all came together once."""
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")
    first, second, _ = [await fleet.start(slots=slots) for _ in range(3)]
    (job_id,) = await submit(pool, pipeline, [make_input(folder, 1, items=number, wait=wait_s)])
    await wait_entries(folder, "ended", number // 5, timeout_s=120)
    await first.kill()
    await wait_entries(folder, "ended", number // 2, timeout_s=120)
    await second.kill()
    row = await wait_status(pool, job_id, timeout_s=240)
    assert row["status"] == "completed", row["error_message"]
    results = json.loads(row["result"])["results"]
    if isinstance(results, dict):
        assert results == {f"m{n}": n for n in range(number)}
    else:
        assert results == [[n, n] for n in range(number)]
    assert sum(entry.what == "collected" for entry in entries(folder)) == 1
    (saved,) = await query(pool, "SELECT count(*) AS n FROM public.saved")
    assert saved["n"] == 1
    assert await tasks_left(pool) == []
    (twice,) = await query(
        pool,
        """SELECT count(*) AS n FROM (
             SELECT FROM rkyc.checkpoint GROUP BY branch, step HAVING count(*) > 1) c""",
    )
    assert twice["n"] == 0, "a step of an item was completed twice"
