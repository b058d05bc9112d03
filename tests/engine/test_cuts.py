"""Connections cut around commits whose fate is unknown: nothing lost, nothing done twice."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.store.pool import Pool
from tests.support.cut_proxy import Cut, CutProxy, Decide, cut_at_random
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.ledger import count, read_ledger
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def saved_table(pool: Pool) -> None:
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    # A socket's path is at most 107 bytes long.
    with tempfile.TemporaryDirectory(prefix="cut") as name:
        yield Path(name)


def job(tmp_path: Path, name: Any, **more: Any) -> dict[str, Any]:
    return {"ledger": str(tmp_path / "ledger"), "job": str(name), **more}


def once(name: str, number: int, cut: Cut) -> Decide:
    """Cut one commit of one kind of connection, and no other."""
    done: list[int] = []

    def decide(who: str, which: int) -> Cut | None:
        if who == name and which == number and not done:
            done.append(which)
            return cut
        return None

    return decide


PIPELINES = {
    "chained": {"s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"},
    "calling": {"before", "call_and_pause", "after"},
    "keeping": {"before", "after"},
    "failing": {"before", "fail", "after"},
    "forked": {"m1", "m2", "m3", "m4", "m5"},
    "single": {"only"},
}


@pytest.mark.parametrize("cut", list(Cut))
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("connection", ["rkyc flush", "rkyc"])
async def test_one_cut_commit(
    dsn: str, pool: Pool, tmp_path: Path, folder: Path, connection: str, name: str, cut: Cut
) -> None:
    """Every first commit of the flusher, or of a transaction of its own, is cut once in each way."""
    async with CutProxy(dsn, folder, once(connection, 1, cut)).run() as proxy:
        async with serve(proxy.dsn, registry=registry):
            row = await wait_status(pool, await Client(pool=pool).enqueue(name, job(tmp_path, 1, failures=1)))
        assert row["status"] == "completed"
        assert (row["error_attempts"], row["crash_attempts"]) == (0, 0)
    ended = count(read_ledger(tmp_path / "ledger"), "ended")
    assert ended == {("1", step): 1 for step in PIPELINES[name]}
    assert set(count(read_ledger(tmp_path / "ledger"), "asked").values()) <= {1}
    assert await tasks_left(pool) == []
    assert len(await query(pool, "SELECT FROM public.saved")) == (name == "keeping")


@pytest.mark.parametrize("seed", range(6))
async def test_many_jobs_under_random_cuts_do_each_step_once(
    dsn: str, pool: Pool, tmp_path: Path, folder: Path, seed: int
) -> None:
    decide = cut_at_random(seed, 0.15, ("rkyc flush", "rkyc", "rkyc claim"))
    async with CutProxy(dsn, folder, decide).run() as proxy:
        client = Client(pool=pool)
        async with serve(proxy.dsn, registry=registry, slots=20):
            for name in PIPELINES:
                await client.enqueue_many(
                    name, [job(tmp_path, f"{name}{number}", failures=1, wait=0.001) for number in range(8)]
                )
            counts = await wait_all_ended(pool, 8 * len(PIPELINES))
            proxy.is_on = False
        assert sum(proxy.cuts.values()) >= 5
    assert counts == {"completed": 8 * len(PIPELINES)}
    expected = {
        (f"{name}{number}", step)
        for name, steps in PIPELINES.items()
        for step in steps
        for number in range(8)
    }
    ended = count(read_ledger(tmp_path / "ledger"), "ended")
    assert set(ended) == expected
    assert {key: n for key, n in ended.items() if n != 1} == {}
    assert set(count(read_ledger(tmp_path / "ledger"), "asked").values()) == {1}
    (saved,) = await query(pool, "SELECT count(*) AS n, count(DISTINCT job) AS jobs FROM public.saved")
    assert tuple(saved) == (8, 8)
    (crashed,) = await query(pool, "SELECT max(crash_attempts) AS n FROM rkyc.history")
    assert crashed["n"] == 0
    assert await tasks_left(pool) == []


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_claim_whose_answer_is_lost_is_made_again_and_not_charged(
    dsn: str, pool: Pool, tmp_path: Path, folder: Path, cut: Cut
) -> None:
    async with CutProxy(dsn, folder, once("rkyc claim", 4, cut)).run() as proxy:
        async with serve(proxy.dsn, registry=registry):
            ids = [await Client(pool=pool).enqueue("single", job(tmp_path, number)) for number in range(5)]
            rows = [await wait_status(pool, one) for one in ids]
        assert proxy.cuts
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["crash_attempts"] for row in rows} == {0}
    assert set(count(read_ledger(tmp_path / "ledger"), "began").values()) == {1}


@pytest.mark.parametrize(
    ("connection", "table"),
    [("rkyc claim", "running"), ("rkyc flush", "checkpoint"), ("rkyc flush", "history")],
)
async def test_a_statement_that_an_operator_cancels_is_tried_again(
    dsn: str, pool: Pool, tmp_path: Path, connection: str, table: str
) -> None:
    async with serve(dsn, registry=registry):
        client = Client(pool=pool)
        await wait_status(pool, await client.enqueue("chained", job(tmp_path, "first")))
        async with pool.connection() as blocker:
            transaction = blocker.transaction()
            await transaction.start()
            # Writers wait, readers do not.
            await blocker.execute(f"LOCK TABLE rkyc.{table} IN SHARE MODE")
            enqueuing = asyncio.create_task(client.enqueue("chained", job(tmp_path, "second")))

            async def cancelled() -> bool:
                rows = await query(
                    pool,
                    """SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = $1
                       AND wait_event_type = 'Lock' AND datname = current_database()""",
                    connection,
                )
                return bool(rows)

            await wait_for(cancelled)
            await transaction.rollback()
        row = await wait_status(pool, await enqueuing)
    assert row["status"] == "completed"
    ended = count(read_ledger(tmp_path / "ledger"), "ended")
    assert set(ended.values()) == {1}


async def test_a_commit_that_comes_in_late_is_not_taken_for_a_refusal(
    dsn: str, pool: Pool, tmp_path: Path, folder: Path
) -> None:
    """The server is still at the first statement, waiting for a lock, when the worker has reconnected."""
    blocked, done = asyncio.Event(), asyncio.Event()

    def decide(who: str, which: int) -> Cut | None:
        if who != "rkyc flush" or not blocked.is_set() or done.is_set():
            return None
        done.set()
        return Cut.AFTER

    async def both_wait() -> bool:
        rows = await query(
            pool,
            """SELECT FROM pg_stat_activity WHERE application_name = 'rkyc flush' AND wait_event_type = 'Lock'
               AND datname = current_database()""",
        )
        return len(rows) == 2

    async with (
        CutProxy(dsn, folder, decide).run() as proxy,
        serve(proxy.dsn, registry=registry),
        pool.connection() as blocker,
    ):
        client = Client(pool=pool)
        await wait_status(pool, await client.enqueue("chained", job(tmp_path, "warm")))
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE rkyc.checkpoint IN SHARE MODE")
        blocked.set()
        second = await client.enqueue("chained", job(tmp_path, "second"))
        await wait_for(both_wait)
        await transaction.rollback()
        row = await wait_status(pool, second)
    assert row["status"] == "completed"
    assert set(count(read_ledger(tmp_path / "ledger"), "ended").values()) == {1}
