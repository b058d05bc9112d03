"""Compensation: what completed steps did is undone in reverse order when their job fails for good."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.flow import payload
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import query, serve, tasks_left, wait_status
from tests.support.sagas import registry

pytestmark = pytest.mark.anyio


def told(folder: Path, *what: str) -> list[tuple[str, str]]:
    return [(entry.what, entry.step) for entry in entries(folder) if entry.what in what]


async def test_completed_steps_are_undone_in_reverse_order_and_the_job_fails_with_its_own_error(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("booking", make_input(tmp_path, 1, fails=["car"]))
        row = await wait_status(pool, job_id)
    assert (row["status"], row["pipeline_step"], row["error_code"]) == ("failed", "car", "PERMANENT")
    assert row["error_message"] == "meant to fail"
    assert payload.decode(row["metadata"])["compensated"] == ["hotel", "flight"]
    assert told(tmp_path, "acted", "undone") == [
        ("acted", "flight"),
        ("acted", "note"),
        ("acted", "hotel"),
        ("undone", "undo:hotel"),
        ("undone", "undo:flight"),
    ]
    (letter,) = await query(pool, "SELECT step, reason FROM rkyc.dead_letter")
    assert tuple(letter) == ("car", "task_failed")
    kept = await query(
        pool, "SELECT step FROM rkyc.superseded_checkpoint WHERE step LIKE 'undo:%' ORDER BY seq"
    )
    assert [one["step"] for one in kept] == [
        "undo:begin",
        "undo:mail",
        "undo:car",
        "undo:hotel",
        "undo:flight",
    ]
    assert await tasks_left(pool) == []


async def test_what_was_undone_is_done_again_when_the_job_is_started_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("booking", make_input(tmp_path, 1, fails=["mail"]))
        for _ in range(2):
            assert (await wait_status(pool, job_id))["status"] == "failed"
            assert told(tmp_path, "undone")[-3:] == [
                ("undone", f"undo:{name}") for name in ("car", "hotel", "flight")
            ]
            await client.retry(job_id)
            await wait_entries(tmp_path, "undone", 3)
        assert (await wait_status(pool, job_id))["status"] == "failed"
        await query(pool, "UPDATE rkyc.job SET input = input - 'fails'")
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    acted = [name for _, name in told(tmp_path, "acted")]
    assert acted.count("flight") == 4 and acted.count("mail") == 1
    assert [name for _, name in told(tmp_path, "refunded")].count("undo:flight") == 3, "each time anew"


async def test_a_compensator_is_tried_again_and_its_calls_are_remembered(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    given = make_input(tmp_path, 1, fails=["hotel"], undo_fails={"flight": 2})
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("booking", given)
        assert (await wait_status(pool, job_id))["status"] == "failed"
    assert told(tmp_path, "undoing", "undone", "refunded") == [
        ("undoing", "undo:flight"),
        ("refunded", "undo:flight"),
        ("undoing", "undo:flight"),
        ("undoing", "undo:flight"),
        ("undone", "undo:flight"),
    ]


async def test_a_compensator_that_fails_for_good_is_a_dead_letter_and_goes_on_there(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    given = make_input(tmp_path, 1, fails=["car"], undo_fails={"hotel": "always"})
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("booking", given)
        row = await wait_status(pool, job_id)
        assert (row["status"], row["pipeline_step"]) == ("failed", "undo:hotel")
        (letter,) = await query(pool, "SELECT step, reason FROM rkyc.dead_letter")
        assert tuple(letter) == ("undo:hotel", "compensation_failed")
        assert told(tmp_path, "undone") == []
        await query(
            pool, "UPDATE rkyc.checkpoint SET output = output #- '{job,undo_fails}' WHERE step = 'hotel'"
        )
        await client.retry(job_id)
        row = await wait_status(pool, job_id)
    assert (row["status"], row["pipeline_step"]) == ("failed", "car"), "with the error that it began with"
    assert told(tmp_path, "undone") == [("undone", "undo:hotel"), ("undone", "undo:flight")]


async def test_the_branches_that_completed_are_undone_once_each(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    given = make_input(tmp_path, 1, fails=["right"], waits={"right": 0.2})
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("tour", given)
        assert (await wait_status(pool, job_id))["status"] == "failed"
        assert told(tmp_path, "undone") == [("undone", "undo:left"), ("undone", "undo:start")]
        await query(pool, "UPDATE rkyc.job SET input = input - 'fails'")
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert sorted(name for _, name in told(tmp_path, "acted")) == [
        "finish",
        "left",
        "left",
        "right",
        "start",
        "start",
    ]


async def test_a_branch_that_still_runs_is_stopped_before_the_others_are_undone(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    given = make_input(tmp_path, 1, fails=["right"], waits={"left": 60, "right": 0.1})
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("tour", given)
        assert (await wait_status(pool, job_id))["status"] == "failed"
    assert told(tmp_path, "acted", "undone") == [("acted", "start"), ("undone", "undo:start")]


async def test_a_failure_before_anything_was_done_undoes_nothing(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("booking", make_input(tmp_path, 1, fails=["flight"]))
        row = await wait_status(pool, job_id)
    assert (row["status"], "compensated" in payload.decode(row["metadata"])) == ("failed", False)
    assert await query(pool, "SELECT FROM rkyc.checkpoint") == []


async def test_a_compensator_runs_past_the_deadline_that_ended_its_job(dsn: str, pool: Pool) -> None:
    undone: list[Any] = []

    async def undo(ctx: Any, output: Any) -> None:
        undone.append(output)

    @step(compensate=undo)
    async def reserve(ctx: Any) -> dict[str, Any]:
        return {"room": 7}

    @step
    async def wait(ctx: Any) -> None:
        await asyncio.sleep(60)

    async with serve(dsn, Pipeline("late", 1, chain(reserve, wait))):
        job_id: UUID = await Client(pool=pool).enqueue("late", {}, deadline_s=1.0)
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED") or row[
        "error_code"
    ] == "STEP_TIMEOUT"
    assert undone == [{"room": 7}]
