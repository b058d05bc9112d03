"""Jobs that are ended from outside: what their completed steps did is undone first, then they end as they were to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.errors import ConflictError, RetryableException
from rkyc.flow import payload
from rkyc.flow.graph import chain
from rkyc.flow.lane import LanePolicy
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from rkyc.store.pool import Pool, Record
from tests.engine.test_compensation import told
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import announce, query, read_job, serve, tasks_left, wait_for, wait_status
from tests.support.probes import QUICK
from tests.support.sagas import registry

pytestmark = pytest.mark.anyio


async def wait_reason(pool: Pool, job_id: UUID, reason: str) -> Record:
    async def look() -> Record | None:
        row = await read_job(pool, job_id)
        return row if row["wait_reason"] == reason else None

    row: Record = await wait_for(look, what=f"the wait {reason}")
    return row


async def superseded(pool: Pool) -> list[str]:
    rows = await query(
        pool, "SELECT step FROM rkyc.superseded_checkpoint WHERE step LIKE 'undo:%' ORDER BY seq"
    )
    return [row["step"] for row in rows]


async def expect_undone(pool: Pool, job_id: UUID, folder: Path, reason: str | None) -> Record:
    """Wait for the end of a cancelled trip, and check what it left."""
    row = await wait_status(pool, job_id)
    assert (row["status"], row["error_message"], row["pipeline_step"]) == ("cancelled", reason, "stay")
    assert (row["error_code"], row["wait_reason"]) == (None, None)
    assert payload.decode(row["metadata"])["compensated"] == ["hotel", "flight"]
    assert "undoing" not in payload.decode(row["metadata"])
    assert told(folder, "undone") == [("undone", "undo:hotel"), ("undone", "undo:flight")]
    assert await superseded(pool) == ["undo:begin", "undo:hotel", "undo:flight"]
    assert await query(pool, "SELECT FROM rkyc.dead_letter") == []
    assert await tasks_left(pool) == []
    return row


async def test_what_a_running_job_did_is_undone_when_it_is_cancelled(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry) as worker:
        job_id = await client.enqueue("trip", make_input(tmp_path, 1, wait=0.2))
        await wait_entries(tmp_path, "began", 1, step="stay")
        assert await client.request_cancel(job_id, "enough") == "undoing"
        row = await read_job(pool, job_id)
        assert (row["status"] in ("pending", "running"), row["finished_at"]) == (True, None)
        assert row["pipeline_step"].startswith("undo:")
        assert payload.decode(row["metadata"])["undoing"] == {
            "ends_as": "cancelled",
            "steps": ["hotel", "flight"],
        }
        await expect_undone(pool, job_id, tmp_path, "enough")
        assert worker.busy == 0, "the body was stopped"
        assert not await client.cancel(job_id)
    rows = await query(pool, "SELECT action, details ->> 'reason' AS reason FROM rkyc.audit")
    assert [tuple(row) for row in rows] == [("job.cancel", "enough")]


@pytest.mark.parametrize("stay", ["sleep", "signal", "retry_backoff"])
@pytest.mark.parametrize("is_paused", [False, True])
async def test_what_a_waiting_job_did_is_undone_when_it_is_cancelled(
    dsn: str, pool: Pool, tmp_path: Path, stay: str, is_paused: bool
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("trip", make_input(tmp_path, 1, stay=stay))
        await wait_reason(pool, job_id, stay)
        if is_paused:
            assert await client.pause(job_id)
            await wait_reason(pool, job_id, "paused")
        assert await client.cancel(job_id)
        await expect_undone(pool, job_id, tmp_path, None)


async def test_the_branches_that_completed_are_undone_when_their_job_is_cancelled(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("tour", make_input(tmp_path, 1, waits={"right": 60}))
        await wait_entries(tmp_path, "acted", 2)
        await wait_entries(tmp_path, "began", 1, step="right")

        async def has_arrived() -> Any:
            return await query(pool, "SELECT FROM rkyc.checkpoint WHERE step = 'left'")

        await wait_for(has_arrived)
        assert await client.cancel(job_id)
        row = await wait_status(pool, job_id)
        assert row["status"] == "cancelled"
        assert told(tmp_path, "undone") == [("undone", "undo:left"), ("undone", "undo:start")]
        await query(pool, "UPDATE rkyc.job SET input = input - 'waits'")
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    acted = [name for _, name in told(tmp_path, "acted")]
    assert sorted(acted) == ["finish", "left", "left", "right", "start", "start"]
    assert await tasks_left(pool) == []


@pytest.mark.parametrize("end", ["cancel", "cancel in the map", "fail in the map", "fail behind the map"])
async def test_what_each_item_of_a_map_did_is_undone_once_for_each(
    dsn: str, pool: Pool, tmp_path: Path, end: str
) -> None:
    client = Client(pool=pool)
    more: dict[str, Any] = {"elements": ["a", "b", "c", "d"], "undo_fails": {"b": 2}}
    if "in the map" in end:
        more["waits"] = {"c": 60 if end.startswith("cancel") else 0.3, "d": 60}
        more["fails"] = ["c"]
    elif end == "fail behind the map":
        more |= {"fails": ["mail"], "stay": "none"}
    done = {0: "a", 1: "b"} if "in the map" in end else dict(enumerate("abcd"))
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("fleet", make_input(tmp_path, 1, **more))
        if end.startswith("cancel"):

            async def are_done() -> bool:
                rows = await query(pool, "SELECT FROM rkyc.checkpoint WHERE step = 'reserve'")
                return len(rows) == len(done)

            await wait_for(are_done)
            assert await client.cancel(job_id)
        row = await wait_status(pool, job_id)
        assert row["status"] == ("cancelled" if end.startswith("cancel") else "failed")
        assert payload.decode(row["metadata"])["compensated"] == ["reserve", "start"]
        said = [one.what for one in entries(tmp_path) if one.step.startswith("undo:")]
        assert sorted(one for one in said if one.startswith("undone-")) == [
            f"undone-{index}-{element}" for index, element in done.items()
        ]
        assert sorted(one for one in said if one.startswith("refunded-")) == [
            f"refunded-{index}" for index in done
        ], "what each item remembers is its own"
        assert said[-1] == "undone", "the step before the map comes last"
        given = "input - '{fails,waits}'::text[] || '{\"stay\": \"none\"}'"
        await query(pool, f"UPDATE rkyc.job SET input = {given}")
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert await tasks_left(pool) == []


async def test_a_job_that_has_completed_nothing_is_cancelled_at_once(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    await announce(pool, *registry)
    job_id = await client.enqueue("booking", make_input(tmp_path, 1))
    assert await client.request_cancel(job_id) == "cancelled"
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("booking", make_input(tmp_path, 2, waits={"flight": 60}))
        await wait_entries(tmp_path, "began", 1, step="flight")
        assert await client.request_cancel(job_id) == "cancelled"
        assert (await read_job(pool, job_id))["status"] == "cancelled"
    assert await query(pool, "SELECT FROM rkyc.checkpoint") == []


async def test_a_job_without_compensators_is_cancelled_at_once(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("walk", make_input(tmp_path, 1))
        await wait_entries(tmp_path, "began", 1, step="stay")
        assert await client.request_cancel(job_id, "enough") == "cancelled"
        row = await read_job(pool, job_id)
    assert (row["status"], row["error_message"]) == ("cancelled", "enough")
    (left,) = await query(pool, "SELECT open_tasks FROM rkyc.history")
    assert payload.decode(left["open_tasks"]) == [{"branch": 0, "step": "stay", "lane": "default"}]
    assert [row["step"] for row in await query(pool, "SELECT step FROM rkyc.checkpoint")] == ["flight"]


async def test_a_second_cancel_stops_the_undoing_and_a_retry_goes_on_with_it(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry) as worker:
        given = make_input(tmp_path, 1, stay="signal", wait=60)
        job_id = await client.enqueue("trip", given)
        await wait_reason(pool, job_id, "signal")
        assert await client.request_cancel(job_id, "first") == "undoing"

        async def is_remembered() -> Any:
            return await query(pool, "SELECT FROM rkyc.journal WHERE step = 'undo:hotel'")

        await wait_for(is_remembered)
        assert await client.request_cancel(job_id, "by a machine", stops_undo=False) == "undoing"
        assert (await read_job(pool, job_id))["status"] == "running"
        assert await client.request_cancel(job_id, "second") == "cancelled"
        row = await read_job(pool, job_id)
        assert (row["status"], row["error_message"]) == ("cancelled", "second")
        assert (row["pipeline_step"], await tasks_left(pool)) == ("undo:hotel", [])

        async def is_idle() -> bool:
            return worker.busy == 0

        await wait_for(is_idle)
        assert told(tmp_path, "undone") == []
        await query(pool, "UPDATE rkyc.checkpoint SET output = output #- '{job,wait}'")
        # The undoing runs past it.
        await query(pool, "UPDATE rkyc.job SET deadline_at = now()")
        assert "rkyc jobs retry" in (await client.why(job_id))["remedy"]
        await client.retry(job_id)
        await expect_undone(pool, job_id, tmp_path, "first")
    refunds = [one.step for one in entries(tmp_path) if one.what == "refunded"]
    assert refunds == ["undo:hotel", "undo:flight"], "what was stopped is remembered"


async def test_a_cancelled_job_that_is_started_again_does_what_was_undone(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("trip", make_input(tmp_path, 1, stay="signal"))
        for number in (1, 2):
            await wait_reason(pool, job_id, "signal")
            await client.cancel(job_id)
            assert (await wait_status(pool, job_id))["status"] == "cancelled"
            assert len(told(tmp_path, "undone")) == 2 * number
            await client.retry(job_id)
        await wait_reason(pool, job_id, "signal")
        await client.signal(job_id, "go")
        assert (await wait_status(pool, job_id))["status"] == "completed"
    acted = [name for _, name in told(tmp_path, "acted")]
    assert acted == ["flight", "hotel"] * 3 + ["mail"]


async def test_a_compensator_of_a_cancelled_job_that_fails_for_good_leaves_its_dead_letter(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        given = make_input(tmp_path, 1, stay="signal", undo_fails={"hotel": "always"})
        job_id = await client.enqueue("trip", given)
        await wait_reason(pool, job_id, "signal")
        await client.cancel(job_id, "enough")
        row = await wait_status(pool, job_id)
        assert (row["status"], row["pipeline_step"]) == ("failed", "undo:hotel")
        (letter,) = await query(pool, "SELECT reason FROM rkyc.dead_letter")
        assert letter["reason"] == "compensation_failed"
        await query(pool, "UPDATE rkyc.checkpoint SET output = output #- '{job,undo_fails}'")
        await client.retry(job_id)
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_message"]) == ("cancelled", "enough")


def make_waiting(undone: list[Any], lane: str | None = None) -> Pipeline:
    """A pipeline whose second step is started in the lane `slow`."""

    @step(retry=QUICK, lane=lane)
    async def undo(ctx: Any, room: dict[str, Any]) -> None:
        undone.append((room, ctx.attempt))
        if ctx.attempt < 3:
            raise RetryableException("not yet")

    @step(compensate=undo)
    async def hire(ctx: Any) -> dict[str, Any]:
        return {"room": 7}

    @step(lane="slow")
    async def late(ctx: Any) -> None:
        await ctx.wait_signal("go")

    return Pipeline("late", 1, chain(hire, late))


@pytest.mark.parametrize("lane", [None, "slow"])
async def test_what_was_done_is_undone_when_the_next_step_is_not_started_in_time(
    dsn: str, pool: Pool, lane: str | None
) -> None:
    undone: list[Any] = []
    served = Registry([make_waiting(undone, lane)], [LanePolicy("slow", ttl_s=0.3)])
    client = Client(pool=pool)
    async with serve(dsn, registry=served, lanes=("default",)) as worker:
        job_id = await client.enqueue("late", {})

        async def is_expired() -> bool:
            rows = await query(pool, "SELECT FROM rkyc.checkpoint WHERE step = 'undo:begin'")
            gone = await query(pool, "SELECT FROM rkyc.superseded_checkpoint WHERE step = 'undo:begin'")
            return bool(rows or gone)

        await wait_for(is_expired)
        assert b'status="expired"' not in worker._metrics.render() or lane is None
        if lane is not None:
            # Nobody serves the compensator's lane, for longer than tasks may wait there.
            await asyncio.sleep(1.0)
            assert (await read_job(pool, job_id))["status"] == "pending"
            async with serve(dsn, registry=served) as other:
                row = await wait_status(pool, job_id)
                assert b'jobs_total{pipeline="late",status="expired"} 1.0' in other._metrics.render()
        else:
            row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"], row["error_class"]) == ("failed", "TTL_EXPIRED", "retryable")
    assert "step late was not started within 0.3 s in lane slow" in row["error_message"]
    assert undone == [({"room": 7}, attempt) for attempt in (1, 2, 3)]
    (letter,) = await query(pool, "SELECT queue, step, reason, state FROM rkyc.dead_letter")
    assert tuple(letter) == ("dlq.slow", "late", "ttl_expired", "dead")


async def test_what_was_done_is_undone_when_the_deadline_passes_while_the_job_waits(
    dsn: str, pool: Pool
) -> None:
    undone: list[Any] = []
    client = Client(pool=pool)
    async with serve(dsn, make_waiting(undone)):
        job_id = await client.enqueue("late", {}, deadline_s=1.0)
        await wait_reason(pool, job_id, "signal")
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED")
    assert [attempt for _, attempt in undone] == [1, 2, 3], "past the deadline, with all its attempts"
    (letter,) = await query(pool, "SELECT step, reason, state FROM rkyc.dead_letter")
    assert tuple(letter) == ("late", "ttl_expired", "archived")
    assert await tasks_left(pool) == []


async def test_a_job_that_is_being_undone_is_not_moved_to_another_version(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("trip", make_input(tmp_path, 1, stay="signal"))
        await wait_reason(pool, job_id, "signal")
    (old,) = [one for one in registry if one.name == "trip"]
    newer = Pipeline("trip", 2, old.steps, upcast={(1, 2): lambda value, outputs: (value, outputs)})
    await client.cancel(job_id)
    async with serve(dsn, newer):
        await wait_reason(pool, job_id, "version_blocked")
        with pytest.raises(ConflictError, match="is being undone"):
            await client.migrate(job_id, Registry([newer]))
        assert await client.migrate_all("trip", Registry([newer])) == 0
    async with serve(dsn, registry=registry):
        await expect_undone(pool, job_id, tmp_path, None)
