"""Workers killed while jobs wait and children run: nothing waits for ever, nothing is started or taken twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, submit, wait_entries
from tests.support.engine import query, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.fleet import Fleet, open_fleet

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
EACH = 8
CHILDREN = 4


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, dsn=dsn, app="tests.support.waiters:registry") as running:
        yield running


async def count_rows(pool: Pool, what: str) -> int:
    number: int = (await query(pool, f"SELECT count(*) AS n FROM {what}"))[0]["n"]
    return number


async def test_what_waits_outlives_the_worker_that_let_it_wait(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    first, _ = await asyncio.gather(fleet.start(slots=20), fleet.start(slots=20))
    told = [make_input(tmp_path, f"n{n}", naps=[4, 0.1]) for n in range(EACH)]
    await submit(pool, "napping", told)
    approved = await submit(pool, "approved", [make_input(tmp_path, f"a{n}", signals=2) for n in range(EACH)])
    parents = [
        make_input(
            tmp_path,
            f"p{n}",
            manner="all",
            children=[make_input(tmp_path, f"p{n}c{c}", wait=2) for c in range(CHILDREN)],
        )
        for n in range(EACH)
    ]
    await submit(pool, "leading", parents)
    client = Client(pool=pool)
    for job_id in approved:
        await client.signal(job_id, "approve", 1)
    await wait_entries(tmp_path, "began", EACH, step="work")
    assert [one for one in entries(tmp_path) if one.pid == first.pid]
    await first.kill()
    for job_id in approved:
        await client.signal(job_id, "approve", 2)
    ended = await wait_all_ended(pool, EACH * (3 + CHILDREN), timeout_s=60)
    assert ended == {"completed": EACH * (3 + CHILDREN)}
    assert await tasks_left(pool) == []
    # Every child once, every signal once and in its order.
    assert await count_rows(pool, "rkyc.child") == EACH * CHILDREN
    assert await count_rows(pool, "rkyc.job WHERE pipeline = 'working'") == EACH * CHILDREN
    for job_id in approved:
        assert (await client.result(job_id))["said"] == [1, 2]
    done = Counter(one.job for one in entries(tmp_path) if one.what == "ended" and one.step == "work")
    assert len(done) == EACH * CHILDREN


async def test_children_are_cancelled_although_who_should_do_it_is_killed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    first = await fleet.start(slots=200)
    children = [make_input(tmp_path, f"c{n}", wait=100) for n in range(60)]
    told = make_input(tmp_path, "p", manner="all", children=children)
    (parent,) = await submit(pool, "leading", [told])
    await wait_entries(tmp_path, "began", len(children), step="work")
    await Client(pool=pool).cancel(parent)

    async def some_are_cancelled() -> Any:
        return await count_rows(pool, "rkyc.history WHERE state = 'cancelled'") > 1

    await wait_for(some_are_cancelled)
    await first.kill()
    await fleet.start(slots=200)
    assert await wait_all_ended(pool, 61, timeout_s=60) == {"cancelled": 61}
    assert (await wait_status(pool, parent))["status"] == "cancelled"

    async def forgotten() -> bool:
        return await count_rows(pool, "rkyc.orphaned") == 0

    await wait_for(forgotten)
