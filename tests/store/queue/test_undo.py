"""The moves into compensation and out of it, by the store's own statements; and what is told of it meanwhile."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.expiry import FIRST_WAIT
from rkyc.flow import payload
from rkyc.flow.graph import chain
from rkyc.flow.outcome import EndUndone
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import commits, deadlines, expiry, jobs, undo
from tests.support.engine import announce, query, tasks_left
from tests.support.moves import NOW, add_job, add_worker, advance, claim, dump, fail
from tests.support.places import WHERE, cancel, put
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


async def take_back(ctx: Any, output: Any) -> None: ...


@step(compensate=take_back)
async def act(ctx: Any) -> dict[str, Any]:
    return {}


SAGA = Pipeline("saga", 1, chain(act.named("s1"), act.named("s2"), act.named("s3")))
OUTSIDE: dict[str, Any] = {"order": None, "reason": None, "lane": None, "step": None}


async def put_saga(conn: Connection, *, done: int) -> int:
    """Enqueue a saga, let so many of its steps be completed, and cancel it."""
    number = await add_job(conn, "saga")
    (held,) = await claim(conn, await add_worker(conn))
    for step_number in range(1, done + 1):
        held.step = f"s{step_number}"
        row = advance(held, f"s{step_number + 1}")
        await commits.advance_tasks(conn, [row], worker_id=1, now=NOW)
        held.events += 1
    assert await cancel(conn, number, "enough")
    return number


@pytest.mark.parametrize("where", WHERE)
async def test_the_end_of_a_job_that_can_not_be_undone_stands(pool: Pool, where: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await put(conn, where)
        before = await dump(conn)
        assert not await undo.begin_undo(conn, number, **OUTSIDE)
        assert not await undo.has_undo(conn, number)
        assert await dump(conn) == before


async def test_an_end_is_taken_back_once_and_only_where_something_was_completed(pool: Pool) -> None:
    await announce(pool, SAGA)
    async with pool.connection() as conn:
        fresh = await put_saga(conn, done=0)
        assert not await undo.begin_undo(conn, fresh, **OUTSIDE)
        number = await put_saga(conn, done=2)
        assert await undo.has_undo(conn, number) and not await undo.is_undoing(conn, number)
        assert await undo.begin_undo(conn, number, **OUTSIDE)
        assert await undo.is_undoing(conn, number)
        assert await jobs.is_finished(conn, number) is None
        assert await tasks_left(pool) == [("ready", number, 0)]
        (held,) = await claim(conn, 1)
        assert (held.step, held.events, [name for name, _ in held.outputs or ()]) == (
            "undo:s2",
            3,
            ["s1", "s2", "undo:begin"],
        )
        begun = payload.decode(dict(map(tuple, held.outputs or ()))["undo:begin"])
        assert {name: begun[name] for name in ("state", "step", "error_message", "steps", "done")} == {
            "state": "cancelled",
            "step": "s3",
            "error_message": "enough",
            "steps": ["s2", "s1"],
            "done": ["s1", "s2"],
        }
        before = await dump(conn)
        assert not await undo.begin_undo(conn, number, **OUTSIDE), "it has not ended"
        assert await dump(conn) == before
        # Whoever ends it now ends it for good.
        assert await cancel(conn, number, "again")
        assert not await undo.begin_undo(conn, number, **OUTSIDE)
        assert await jobs.is_finished(conn, number) == "cancelled"


async def test_a_worker_says_itself_what_can_be_undone(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        number = await add_job(conn, "chained")
        (held,) = await claim(conn, await add_worker(conn))
        await commits.advance_tasks(conn, [advance(held)], worker_id=1, now=NOW)
        held.events, held.step = 1, "s2"
        await commits.fail_task(conn, fail(held), seq=2, open_tasks="[]", warnings=None, worker_id=1, now=NOW)
        order = payload.encode([{"step": "s5", "lane": None}, {"step": "s1", "lane": "high"}])
        assert await undo.begin_undo(
            conn, number, order=order, reason="task_failed", lane="default", step="s2"
        )
        (again,) = await claim(conn, 1, lane="high")
        assert again.step == "undo:s1"
        assert await commits.has_checkpoint(conn, number, held.fence, "undo:begin")


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_only_whoever_holds_the_lease_ends_what_is_undone(pool: Pool, state: Any) -> None:
    await announce(pool, SAGA)
    async with pool.connection() as conn:
        number = await put_saga(conn, done=1)
        await undo.begin_undo(conn, number, **OUTSIDE)
        (held,) = await claim(conn, 1)
        code = "PERMANENT" if state == "failed" else None
        end = EndUndone(
            held, state, "s2", 1, "default", None, code, None, "enough", None, 0, 0, ("s1",), None
        )
        before = await dump(conn)
        held.fence -= 1
        assert not await undo.end_undone(conn, end, seq=9, worker_id=1, now=NOW)
        assert await dump(conn) == before
        held.fence += 1
        assert await undo.end_undone(conn, end, seq=9, worker_id=1, now=NOW)
        assert await jobs.is_finished(conn, number) == state
        assert await tasks_left(pool) == []


async def test_a_task_that_undoes_is_beyond_deadlines_and_limits(pool: Pool) -> None:
    await announce(pool, SAGA)
    async with pool.connection() as conn:
        number = await put_saga(conn, done=1)
        await undo.begin_undo(conn, number, **OUTSIDE)
        await conn.execute("UPDATE rkyc.job SET deadline_at = created_at - interval '1 day'")
        await conn.execute("UPDATE rkyc.lane SET ttl_s = 1")
        now = dt.datetime.now(dt.UTC)
        await expiry.write_mark(conn, now=now, every_s=0.1)
        later = now + dt.timedelta(days=1)
        assert await deadlines.find_expired_jobs(conn, None) == []
        (row,) = await expiry.find_stale_tasks(conn, lane="default", after=0, limit=9, now=later)
        assert (row["step"], row["is_stale"]) == ("undo:s1", False)
        for step_name, is_stale in (("undo:s1", False), ("s2", True)):
            await conn.execute(
                "INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)"
                " VALUES ('no_worker', 'saga@1', 'default', $1, $2, now())",
                number,
                step_name,
            )
            look: dict[str, Any] = {"lane": "default", "seconds": 1.0, "limit": 9, "now": later}
            (row,) = await expiry.find_stale_waits(conn, after=FIRST_WAIT, **look)
            assert (row["step"], row["is_stale"]) == (step_name, is_stale)
            await conn.execute("DELETE FROM rkyc.waiting")
        await conn.execute("UPDATE rkyc.ready SET step = 's2'")
        assert [row["id"] for row in await deadlines.find_expired_jobs(conn, None)] == [number]
        (row,) = await expiry.find_stale_tasks(conn, lane="default", after=0, limit=9, now=later)
        assert row["is_stale"]


async def test_people_are_told_who_is_being_undone_and_how_it_ends(pool: Pool) -> None:
    await announce(pool, SAGA)
    client = Client(pool=pool)
    async with pool.connection() as conn:
        number = await put_saga(conn, done=2)
        job_id = await conn.fetchval("SELECT uuid FROM rkyc.job WHERE id = $1", number)
        assert await client.undo(job_id) is None
        await undo.begin_undo(conn, number, **OUTSIDE)
    row = await client.undo(job_id)
    assert row is not None
    assert (row["pipeline"], row["ends_as"], row["error_message"]) == ("saga", "cancelled", "enough")
    assert [payload.decode(row[name]) for name in ("steps", "steps_left")] == [["s2", "s1"], ["s2", "s1"]]
    (listed,) = await query(pool, "SELECT * FROM rkyc.undo_status")
    assert dict(listed) == dict(row)
    told = await client.why(job_id)
    assert told["reason"] == "queued"
    assert told["why"].endswith(
        "; what it did is undone first (left: s2, s1), then it ends cancelled: enough"
    )
    assert told["remedy"].endswith(f"; rkyc jobs cancel {job_id} stops the undoing")
    assert payload.decode(told["facts"])["undo_left"] == ["s2", "s1"]
    shown = await client.get(job_id)
    assert (shown["status"], shown["pipeline_step"]) == ("pending", "undo:s2")
    assert payload.decode(shown["metadata"])["undoing"] == {"ends_as": "cancelled", "steps": ["s2", "s1"]}
    async with pool.connection() as conn:
        (held,) = await claim(conn, 1)
        await commits.advance_tasks(conn, [advance(held, "undo:s1")], worker_id=1, now=NOW)
    row = await client.undo(job_id)
    assert row is not None and payload.decode(row["steps_left"]) == ["s1"]
    assert "runs: step undo:s1 on tester" in (await client.why(job_id))["why"]
