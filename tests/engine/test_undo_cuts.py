"""Cancels and failures at any moment, and with connections cut: what was done is undone once, and nothing is left."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.flow import payload
from rkyc.store.pool import Pool
from tests.engine.test_cuts import once
from tests.engine.test_undo_from_outside import expect_undone, wait_reason
from tests.support.crashes import entries, make_input
from tests.support.cut_proxy import Cut, CutProxy, cut_at_random
from tests.support.engine import query, serve, tasks_left, wait_all_ended
from tests.support.sagas import registry

pytestmark = pytest.mark.anyio
JOBS = 12
# Pipeline -> steps or elements at which its jobs may fail.
FAILING = {"booking": ["car", "mail"], "tour": ["right"], "fleet": ["c"]}
# Seconds, by step or element.
WAITS = dict.fromkeys(["flight", "hotel", "car", "start", "left", "b"], 0.03)


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    # A socket's path is at most 107 bytes long.
    with tempfile.TemporaryDirectory(prefix="cut") as name:
        yield Path(name)


async def run_sagas(client: Client, folder: Path, dice: random.Random) -> None:
    """Enqueue sagas of all shapes; some fail, some are cancelled, at any moment."""

    async def cancel(job_id: UUID) -> None:
        await asyncio.sleep(dice.random() * 0.3)
        await client.cancel(job_id, stops_undo=False)

    async with asyncio.TaskGroup() as cancels:
        for number in range(JOBS):
            for pipeline, failing in FAILING.items():
                more: dict[str, Any] = {"stay": "none", "elements": ["a", "b", "c"], "wait": 0.005}
                if dice.random() < 0.5:
                    more["fails"] = [dice.choice(failing)]
                given = make_input(folder, f"{pipeline}{number}", waits=WAITS, **more)
                job_id = await client.enqueue(pipeline, given)
                if dice.random() < 0.5:
                    cancels.create_task(cancel(job_id))


async def check_sagas(pool: Pool, folder: Path, *, is_once: bool) -> Counter[str]:
    """Check that exactly what was completed is undone of each job that did not complete; return how many ended how."""
    rows = await query(
        pool,
        """SELECT j.input ->> 'job' AS job, s.status, s.metadata -> 'compensated' AS compensated,
             ARRAY(SELECT DISTINCT c.step FROM rkyc.superseded_checkpoint c WHERE c.job_id = j.id
                   AND c.step !~ '^undo:' AND c.step NOT IN ('note', 'stay', 'list_elements', 'finish')) AS done,
             ARRAY(SELECT c.step FROM rkyc.checkpoint c WHERE c.job_id = j.id AND s.status <> 'completed'
                   AND c.step NOT IN ('note', 'stay', 'list_elements', 'finish')
                   AND c.step NOT LIKE 'start%1' AND c.step NOT LIKE 'collect%') AS left
           FROM rkyc.job j JOIN rkyc.job_status s ON s.job_id = j.uuid""",
    )
    undone = Counter((one.job, one.step, one.what) for one in entries(folder) if "undone" in one.what)
    if is_once:
        assert {key: number for key, number in undone.items() if number > 1} == {}
    for row in rows:
        compensated = payload.decode(row["compensated"]) or []
        if row["status"] != "completed":
            assert (sorted(compensated), row["left"]) == (sorted(row["done"]), []), dict(row)
        else:
            assert not any(job == row["job"] for job, _, _ in undone)
        for step in compensated:
            assert any(job == row["job"] and name.startswith(f"undo:{step}") for job, name, _ in undone)
    assert await tasks_left(pool) == []
    return Counter(row["status"] for row in rows)


@pytest.mark.parametrize("seed", range(3))
async def test_sagas_that_are_cancelled_at_any_moment_are_undone_once(
    dsn: str, pool: Pool, tmp_path: Path, seed: int
) -> None:
    client, dice = Client(pool=pool), random.Random(seed)
    async with serve(dsn, registry=registry, slots=9, prefetch=9), serve(dsn, registry=registry, slots=9):
        await run_sagas(client, tmp_path, dice)
        await wait_all_ended(pool, 3 * JOBS)
    counts = await check_sagas(pool, tmp_path, is_once=True)
    assert counts["cancelled"] and counts["completed"] + counts["failed"]


@pytest.mark.parametrize("seed", range(3))
async def test_sagas_under_random_cuts_are_undone(
    dsn: str, pool: Pool, tmp_path: Path, folder: Path, seed: int
) -> None:
    dice = random.Random(seed)
    decide = cut_at_random(seed, 0.15, ("rkyc flush", "rkyc", "rkyc claim"))
    async with CutProxy(dsn, folder, decide).run() as proxy:
        client = Client(pool=pool)
        async with serve(proxy.dsn, registry=registry, slots=20):
            await run_sagas(client, tmp_path, dice)
            await wait_all_ended(pool, 3 * JOBS)
            proxy.is_on = False
        assert sum(proxy.cuts.values()) >= 5
    counts = await check_sagas(pool, tmp_path, is_once=False)
    assert counts["cancelled"] and counts["failed"]


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_cancel_whose_answer_is_lost_does_not_stop_what_it_began(
    dsn: str, pool: Pool, tmp_path: Path, folder: Path, cut: Cut
) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("trip", make_input(tmp_path, 1, stay="signal", wait=0.1))
        await wait_reason(pool, job_id, "signal")
        async with CutProxy(dsn, folder, once("rkyc", 1, cut)).run() as proxy:
            cut_pool = await Pool.open(proxy.dsn)
            assert await Client(pool=cut_pool).request_cancel(job_id, "enough") == "undoing"
            await cut_pool.close()
            assert proxy.cuts
        await expect_undone(pool, job_id, tmp_path, "enough")
