"""Branches side by side: one join, all its inputs, no task left behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, chord, group
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.ledger import count, read_ledger
from tests.support.probes import gather, pause, registry, tell

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def saved_table(pool: Pool) -> None:
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")


def job(tmp_path: Path, name: Any, **more: Any) -> dict[str, Any]:
    return {"ledger": str(tmp_path / "ledger"), "job": str(name), **more}


async def test_nested_groups_join_once_each_with_all_their_inputs(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    number = 30
    async with serve(dsn, registry=registry), serve(dsn, registry=registry):
        ids = await Client(pool=pool).enqueue_many("nested", [job(tmp_path, name) for name in range(number)])
        assert await wait_all_ended(pool, number) == {"completed": number}
        row = await wait_status(pool, ids[0])
    assert json.loads(row["result"]) == {"inputs": ["a4", "b2", "c1"]}
    joined = count(read_ledger(tmp_path / "ledger"), "joined")
    assert set(joined.values()) == {1}
    assert len(joined) == 2 * number
    assert await tasks_left(pool) == []
    (saved,) = await query(pool, "SELECT count(*) AS n, count(DISTINCT job) AS jobs FROM public.saved")
    assert tuple(saved) == (number, number)


async def test_the_numbers_of_a_forked_jobs_events_are_dense_and_its_own(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry):
        await Client(pool=pool).enqueue_many("nested", [job(tmp_path, name) for name in range(10)])
        await wait_all_ended(pool, 10)
    rows = await query(
        pool,
        """SELECT job_id, array_agg(seq ORDER BY seq) AS seqs FROM (
             SELECT job_id, seq FROM rkyc.checkpoint UNION ALL SELECT job_id, seq FROM rkyc.history) s GROUP BY 1""",
    )
    for row in rows:
        assert row["seqs"] == list(range(1, len(row["seqs"]) + 1))


@step(retry=RetryPolicy(max_attempts=1))
async def fail_when_told(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "began")
    if Path(job["ledger"] + ".healed").exists():
        return {"healed": True}
    while not Path(job["ledger"] + ".fail").exists():
        await asyncio.sleep(0.01)
    raise PermanentException("meant to fail")


FAILING = Pipeline(
    "failing_fork",
    1,
    chain(
        pause.named("first"),
        group(pause.named("quick"), chain(pause.named("slow1"), pause.named("slow2")), fail_when_told),
        gather.named("joined"),
    ),
)


async def ledger_holds(path: Path, what: str, step_name: str) -> bool:
    return any(entry.what == what and entry.step == step_name for entry in read_ledger(path))


async def test_the_failure_of_a_member_ends_its_siblings_at_once(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    async with serve(dsn, FAILING) as first, serve(dsn, FAILING) as second:
        one = await Client(pool=pool).enqueue("failing_fork", job(tmp_path, 1, waits={"slow1": 30}))
        await wait_for(lambda: ledger_holds(ledger, "began", "slow1"))
        Path(f"{ledger}.fail").touch()
        row = await wait_status(pool, one)
        assert (row["status"], row["pipeline_step"], row["error_code"]) == (
            "failed",
            "fail_when_told",
            "PERMANENT",
        )
        assert await tasks_left(pool) == []

        async def idle() -> bool:
            return first.busy + second.busy == 0

        await wait_for(idle, timeout_s=3, what="the end of the siblings' bodies")
    assert not await ledger_holds(ledger, "ended", "slow1")


async def test_a_failed_fork_that_is_started_again_does_only_what_was_left(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    client = Client(pool=pool)
    async with serve(dsn, FAILING):
        one = await client.enqueue("failing_fork", job(tmp_path, 1, waits={"slow2": 2}))
        await wait_for(lambda: ledger_holds(ledger, "began", "slow2"))
        await wait_for(lambda: ledger_holds(ledger, "ended", "quick"))
        Path(f"{ledger}.fail").touch()
        assert (await wait_status(pool, one))["status"] == "failed"
        Path(f"{ledger}.healed").touch()
        await client.retry(one)
        row = await wait_status(pool, one, "completed", "failed")
        assert row["status"] == "completed"
    ended = count(read_ledger(ledger), "ended")
    assert ended == {("1", "first"): 1, ("1", "quick"): 1, ("1", "slow1"): 1, ("1", "slow2"): 1}
    assert count(read_ledger(ledger), "joined") == {("1", "joined"): 1}
    assert json.loads(row["result"]) == {"inputs": ["fail_when_told", "quick", "slow2"]}


async def test_a_cancelled_fork_leaves_no_task_and_goes_on_after_a_retry(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    client = Client(pool=pool)
    async with serve(dsn, registry=registry) as worker:
        one = await client.enqueue("nested", job(tmp_path, 1, waits={"a3": 30, "b1": 30}))
        await wait_for(lambda: ledger_holds(ledger, "began", "a3"))

        async def only_two_left() -> bool:
            return {branch for _, _, branch in await tasks_left(pool)} == branches

        branches = {registry.latest("nested").place(name).branch for name in ("a3", "b1")}
        await wait_for(only_two_left)
        assert await client.cancel(one)
        assert (await wait_status(pool, one))["status"] == "cancelled"
        assert await tasks_left(pool) == []

        async def idle() -> bool:
            return worker.busy == 0

        await wait_for(idle, timeout_s=3)
        left = await query(pool, "SELECT open_tasks FROM rkyc.history")
        assert {task["step"] for task in json.loads(left[0]["open_tasks"])} == {"a3", "b1"}


async def test_cancels_under_load_leave_no_task_behind(dsn: str, pool: Pool, tmp_path: Path) -> None:
    """Forked jobs cancelled at any moment, while tasks move between tables on three workers."""
    client = Client(pool=pool)
    number = 60
    async with serve(dsn, registry=registry, slots=7), serve(dsn, registry=registry, slots=7, prefetch=5):
        ids = await client.enqueue_many("nested", [job(tmp_path, name, wait=0.005) for name in range(number)])

        async def cancel(index: int) -> bool:
            await asyncio.sleep(0.02 * index)
            return await client.cancel(ids[index])

        cancelled = await asyncio.gather(*(cancel(index) for index in range(number)))
        counts = await wait_all_ended(pool, number)
        assert counts.get("cancelled", 0) == sum(cancelled)
        assert counts.get("failed", 0) == 0
        assert sum(counts.values()) == number

        async def nothing_left() -> bool:
            return not await tasks_left(pool)

        await wait_for(nothing_left, timeout_s=3, what="no task of an ended job")


@step(retry=RetryPolicy(max_attempts=5, initial_s=0.01, max_s=0.01), optional=True)
async def shaky(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    if job["manner"] == "permanent":
        raise PermanentException("cannot")
    if ctx.attempt < 3:
        raise RetryableException("not yet")
    return {"attempt": ctx.attempt}


@pytest.mark.parametrize(("manner", "partial"), [("permanent", True), ("retried", False)])
async def test_an_optional_member_degrades_and_a_retried_one_does_not(
    dsn: str, pool: Pool, tmp_path: Path, manner: str, partial: bool
) -> None:
    pipeline = Pipeline("shaky_fork", 1, chord([pause.named("steady"), shaky], gather))
    async with serve(dsn, pipeline):
        row = await wait_status(
            pool, await Client(pool=pool).enqueue("shaky_fork", job(tmp_path, 1, manner=manner))
        )
    assert (row["status"], row["partial"]) == ("completed", partial)
    assert json.loads(row["result"]) == {"inputs": ["shaky", "steady"]}


async def test_two_members_that_fail_at_once_fail_the_job_once(dsn: str, pool: Pool, tmp_path: Path) -> None:
    pipeline = Pipeline(
        "doubly_failing", 1, group(*(fail_when_told.named(f"f{number}") for number in range(1, 9)))
    )
    Path(str(tmp_path / "ledger") + ".fail").touch()
    async with serve(dsn, pipeline), serve(dsn, pipeline):
        await Client(pool=pool).enqueue_many("doubly_failing", [job(tmp_path, name) for name in range(15)])
        assert await wait_all_ended(pool, 15) == {"failed": 15}

        async def nothing_left() -> bool:
            return not await tasks_left(pool)

        await wait_for(nothing_left, timeout_s=5)
    (row,) = await query(pool, "SELECT count(*) AS n FROM rkyc.dead_letter")
    assert row["n"] == 15
