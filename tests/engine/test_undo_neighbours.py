"""Who else has to do with a job that is being undone: parents, children, schedules, keys, whoever waits for its end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine import endings
from rkyc.engine.client import Client
from rkyc.engine.orphans import Orphans
from rkyc.errors import ConflictError, PermanentException
from rkyc.flow import payload
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.schedule import Schedule
from rkyc.flow.step import step
from rkyc.flow.unique import Unique
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import jobs
from tests.engine.test_compensation import told
from tests.engine.test_undo_from_outside import wait_reason
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import query, read_job, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.probes import tell
from tests.support.sagas import registry

pytestmark = pytest.mark.anyio


@step
async def lead(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Start a trip and wait for its end."""
    end = await ctx.spawn("trip", job["child"], on_failure="return")
    tell(ctx, job, "told")
    return {"child": end.status}


leading = registry.merge(Registry([Pipeline("leading", 1, chain(lead))]))


def leader(folder: Path, **more: Any) -> dict[str, Any]:
    return make_input(folder, "parent", child=make_input(folder, "child", stay="signal", **more))


async def find_child(pool: Pool) -> UUID:
    async def look() -> Any:
        return await query(pool, "SELECT job_id FROM rkyc.job_status WHERE pipeline = 'trip'")

    (row,) = await wait_for(look)
    child: UUID = row["job_id"]
    await wait_reason(pool, child, "signal")
    return child


async def test_a_parent_is_told_only_when_its_child_is_undone(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=leading):
        parent = await client.enqueue("leading", leader(tmp_path, wait=0.2))
        child = await find_child(pool)
        await wait_reason(pool, parent, "child")
        assert await client.request_cancel(child) == "undoing"
        await wait_entries(tmp_path, "undone", 1)
        assert (await read_job(pool, parent))["wait_reason"] == "child"
        row = await wait_status(pool, parent)
    assert (row["status"], payload.decode(row["result"])) == ("completed", {"child": "cancelled"})
    assert [one.what for one in entries(tmp_path)][-2:] == ["undone", "told"]
    assert told(tmp_path, "undone") == [("undone", "undo:hotel"), ("undone", "undo:flight")]


async def test_the_child_of_a_cancelled_parent_is_undone_and_left_to_it(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=leading):
        parent = await client.enqueue("leading", leader(tmp_path, wait=0.5))
        child = await find_child(pool)
        await wait_reason(pool, parent, "child")
        assert await client.request_cancel(parent) == "cancelled"
        await wait_entries(tmp_path, "undoing", 1)
        for _ in range(3):
            await Orphans(pool=pool, cancel=client.cancel).run_once()
        row = await wait_status(pool, child)
        assert (row["status"], row["error_message"]) == ("cancelled", "its parent ended")
        assert payload.decode(row["metadata"])["compensated"] == ["hotel", "flight"]
        assert told(tmp_path, "undone") == [("undone", "undo:hotel"), ("undone", "undo:flight")]

        async def is_forgotten() -> bool:
            return await query(pool, "SELECT FROM rkyc.orphaned") == []

        await wait_for(is_forgotten)


async def test_a_job_that_is_started_again_after_its_undoing_has_new_children(dsn: str, pool: Pool) -> None:
    async def release(ctx: Any, output: Any) -> None:
        await ctx.spawn("room", "cancel")

    @step(compensate=release)
    async def reserve(ctx: Any) -> Any:
        return await ctx.spawn("room", "book")

    @step
    async def write_mail(ctx: Any) -> None:
        raise PermanentException("meant to fail")

    @step
    async def change_room(ctx: Any, input: str) -> str:
        changed.append(input)
        return input

    changed: list[str] = []
    client = Client(pool=pool)
    async with serve(dsn, Pipeline("stay", 1, chain(reserve, write_mail)), Pipeline("room", 1, change_room)):
        job_id = await client.enqueue("stay", {})
        assert (await wait_status(pool, job_id))["status"] == "failed"
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["status"] == "failed"
    assert changed == ["book", "cancel", "book", "cancel"]


@pytest.mark.parametrize("end", ["cancel", "second cancel", "fail"])
async def test_hooks_run_once_at_the_real_end(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    heard: list[tuple[str, int]] = []

    async def hear(conn: Connection, job_id: int, state: str, now: dt.datetime) -> Sequence[str]:
        heard.append((state, len(told(tmp_path, "undone"))))
        return []

    monkeypatch.setitem(endings.HOOKS, "hear", hear)
    async with serve(dsn, registry=registry):
        given = make_input(tmp_path, 1, stay="signal", fails=["mail"], wait=0.2)
        async with pool.connection() as conn:
            job_id: UUID = await conn.fetchval("SELECT gen_random_uuid()")
            new = jobs.NewJobs("trip", traits='{"on_end": ["hear"]}')
            await jobs.enqueue_jobs(conn, new, [job_id], [payload.encode(given)], tells=True)
        await wait_reason(pool, job_id, "signal")
        client = Client(pool=pool)
        if end == "fail":
            await client.signal(job_id, "go")
        else:
            await client.cancel(job_id)
        await wait_entries(tmp_path, "undoing", 1)
        assert heard == []
        if end == "second cancel":
            await client.cancel(job_id)
        await wait_status(pool, job_id)
    expected = {"cancel": ("cancelled", 2), "second cancel": ("cancelled", 0), "fail": ("failed", 2)}
    assert heard == [expected[end]]


async def test_the_next_tick_waits_until_the_job_before_is_undone(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    given = make_input(tmp_path, 1, stay="signal", wait=1.0)
    quick = make_input(tmp_path, 2, stay="none")
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        every: dict[str, Any] = {"interval_s": 3600.0, "catch_up": "last"}
        await client.schedules.add(Schedule("hourly", "trip", given, overlap="cancel", **every))
        await client.schedules.add(Schedule("other", "walk", quick, **every))

        async def fire(name: str, hours_ago: int) -> None:
            await query(
                pool,
                "UPDATE rkyc.schedule SET next_fire = date_trunc('hour', now()) - make_interval(hours => $2) WHERE name = $1",
                name,
                hours_ago,
            )

        async def trips() -> list[str]:
            rows = await query(
                pool, "SELECT status FROM rkyc.job_status WHERE pipeline = 'trip' ORDER BY created_at"
            )
            return [row["status"] for row in rows]

        await fire("hourly", 0)
        first = await find_child(pool)
        await query(pool, "UPDATE rkyc.schedule_fire SET tick = tick - interval '1 hour'")
        await fire("hourly", 1)
        await wait_entries(tmp_path, "undoing", 1)
        # Another schedule is not held up by it, though it has been due for less long.
        await fire("other", 0)
        assert await wait_all_ended(pool, 1) == {"completed": 1}
        assert len(await trips()) == 1
        row = await wait_status(pool, first)
        assert (row["status"], row["error_message"]) == (
            "cancelled",
            "the next tick of schedule hourly is due",
        )

        async def has_next() -> bool:
            return len(await trips()) == 2

        await wait_for(has_next)
    assert told(tmp_path, "undone") == [("undone", "undo:hotel"), ("undone", "undo:flight")]


async def test_a_holder_of_a_key_that_must_be_undone_is_kept(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    unique = Unique("order-7", on_conflict="replace")
    async with serve(dsn, registry=registry):
        holder = await client.submit("trip", make_input(tmp_path, 1, stay="signal", wait=0.3), unique=unique)
        await wait_reason(pool, holder.job_id, "signal")
        again = await client.submit("trip", make_input(tmp_path, 2), unique=unique)
        assert (again.job_id, again.is_new) == (holder.job_id, False), "what it did would be undone beside it"
        await client.cancel(holder.job_id)
        for _ in range(3):
            again = await client.submit("trip", make_input(tmp_path, 2), unique=unique)
            assert (again.job_id, again.is_new) == (holder.job_id, False)
        row = await wait_status(pool, holder.job_id)
        assert (row["status"], payload.decode(row["metadata"])["compensated"]) == (
            "cancelled",
            ["hotel", "flight"],
        )
        given = make_input(tmp_path, 3, stay="none")
        again = await client.submit("trip", given, unique=unique)
        assert again.is_new
        assert (await wait_status(pool, again.job_id))["status"] == "completed"
    assert await tasks_left(pool) == []


async def refuse_all(client: Client, job_id: UUID, step: str, why: str) -> None:
    for start in (client.fork(job_id, step), client.rerun(job_id), client.retry_from(job_id, step)):
        with pytest.raises(ConflictError, match=why):
            await start


async def test_a_job_that_was_undone_in_part_is_not_started_from_what_it_did(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    given = make_input(tmp_path, 1, fails=["mail"], undo_fails={"flight": "always"})
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("booking", given)
        assert (await wait_status(pool, job_id))["pipeline_step"] == "undo:flight"
        await refuse_all(client, job_id, "mail", "undone in part: `rkyc jobs retry` goes on with the undoing")
        await query(
            pool, "UPDATE rkyc.checkpoint SET output = output #- '{job,undo_fails}' WHERE step = 'flight'"
        )
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["pipeline_step"] == "mail"
        await query(pool, "UPDATE rkyc.job SET input = input - 'fails' - 'undo_fails'")
        assert (await client.rerun(job_id, dry_run=True)).kept == ()
        forked = await client.fork(job_id, "mail")
        assert (await wait_status(pool, forked))["status"] == "completed"
        await client.retry_from(job_id, "mail")
        assert (await wait_status(pool, job_id))["status"] == "completed"
    for each in (job_id, forked):
        done = await query(pool, "SELECT step FROM rkyc.step_status WHERE job_id = $1", each)
        assert {one["step"] for one in done} >= {"flight", "hotel", "car", "mail"}
    # Once by the fork and once by the job itself.
    assert [one for one in told(tmp_path, "acted") if one[1] == "flight"] == [("acted", "flight")] * 3


async def test_a_job_that_is_being_undone_is_not_forked(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("trip", make_input(tmp_path, 1, stay="signal", wait=60))
        await wait_reason(pool, job_id, "signal")
        assert await client.request_cancel(job_id) == "undoing"
        with pytest.raises(ConflictError, match="is being undone: wait for its end"):
            await client.fork(job_id, "hotel")
        assert await client.request_cancel(job_id) == "cancelled"
        await refuse_all(client, job_id, "hotel", "undone in part")


async def test_a_fork_that_fails_undoes_only_what_it_did_itself(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("booking", make_input(tmp_path, 1))
        assert (await wait_status(pool, job_id))["status"] == "completed"
        forked = await client.fork(job_id, "mail", input=make_input(tmp_path, 1, fails=["mail"]))
        row = await wait_status(pool, forked)
        assert (row["status"], row["pipeline_step"], told(tmp_path, "undone")) == ("failed", "mail", [])
        forked = await client.fork(job_id, "car", input=make_input(tmp_path, 1, fails=["mail"]))
        for times in (1, 2):
            assert (await wait_status(pool, forked))["status"] == "failed"
            assert told(tmp_path, "undone") == [("undone", "undo:car")] * times
            await client.retry(forked)
            await wait_entries(tmp_path, "undone", times + 1)
        assert (await wait_status(pool, forked))["status"] == "failed"
        acted = [name for _, name in told(tmp_path, "acted")]
        assert acted == ["flight", "note", "hotel", "car", "mail", "car", "car", "car"], "the rest was kept"
        await client.retry_from(forked, "hotel")
        await wait_entries(tmp_path, "undone", 5)
        assert (await wait_status(pool, forked))["status"] == "failed"
    assert told(tmp_path, "undone")[3:] == [("undone", "undo:car"), ("undone", "undo:hotel")]


async def test_the_items_of_a_map_that_a_fork_took_over_are_not_undone(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    given = make_input(tmp_path, 1, stay="none", elements=["x", "y"])
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("fleet", given)
        assert (await wait_status(pool, job_id))["status"] == "completed"
        forked = await client.fork(job_id, "stay", input=given | {"stay": "signal"})
        await wait_reason(pool, forked, "signal")
        assert await client.request_cancel(forked) == "cancelled", "at once"
        forked = await client.fork(job_id, "list_elements", input=given | {"stay": "signal"})
        await wait_reason(pool, forked, "signal")
        assert await client.request_cancel(forked) == "undoing"
        await wait_status(pool, forked)
    undone = {one.what for one in entries(tmp_path) if one.what.startswith("undone")}
    assert undone == {"undone-0-x", "undone-1-y"}
    assert told(tmp_path, "undone") == []
