"""Jobs of an old version moved to a newer one by its up-casters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.payloads import Payloads
from rkyc.engine.scheduler import Scheduler
from rkyc.errors import ConflictError, DefinitionError, NotFoundError
from rkyc.flow import payload
from rkyc.flow.graph import chain, group
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.schedule import Schedule
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import announce, query, read_job, serve, tasks_left, wait_for, wait_status
from tests.support.probes import gather, pause

pytestmark = pytest.mark.anyio


@step
async def report(ctx: Any, fetched: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    return {"fetched": fetched, "colour": job["colour"]}


def to_second(value: Any, outputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    renamed = {"fetched": {"was": outputs["fetch"]["step"]}} if "fetch" in outputs else {}
    return {**value, "colour": "blue"}, renamed


OLD = Pipeline("painted", 1, chain(pause.named("fetch"), pause.named("slow"), pause.named("last")))
NEW = Pipeline("painted", 2, chain(pause.named("fetched"), report), upcast={(1, 2): to_second})
WITHOUT = Pipeline("painted", 2, chain(pause.named("fetched"), report))


async def begun(pool: Pool, folder: Path) -> UUID:
    """Enqueue a job of version 1 and wait until it is in its second step."""
    job_id = await Client(pool=pool).enqueue("painted", make_input(folder, 1, waits={"slow": 60}))
    await wait_entries(folder, "began", 1, step="slow")
    return job_id


async def blocked(pool: Pool, job_id: UUID) -> None:
    async def look() -> bool:
        return bool((await read_job(pool, job_id))["wait_reason"] == "version_blocked")

    await wait_for(look, what="a job that shows version_blocked")


async def test_a_job_is_moved_at_once_and_keeps_what_was_cast(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, OLD) as older:
        job_id = await begun(pool, tmp_path)
        async with serve(dsn, NEW):
            assert await client.migrate(job_id, Registry([NEW]), by="tester") == 2
            row = await wait_status(pool, job_id)

            async def is_idle() -> bool:
                return older.busy == 0

            await wait_for(is_idle, what="the old body's end")
    assert (row["status"], row["version"]) == ("completed", 2)
    assert payload.decode(row["result"]) == {"fetched": {"was": "fetch"}, "colour": "blue"}
    assert [entry.step for entry in entries(tmp_path) if entry.what == "ended"] == ["fetch"]
    (told,) = await query(pool, "SELECT data FROM rkyc.event WHERE type = 'job.migrated'")
    assert payload.decode(told["data"]) == {"from_version": 1, "version": 2}
    (noted,) = await query(pool, "SELECT who FROM rkyc.audit WHERE action = 'job.migrate'")
    assert noted["who"] == "tester"
    assert await tasks_left(pool) == []


async def test_a_worker_moves_what_nobody_serves_any_more(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, OLD, grace_s=0.1):
        job_id = await begun(pool, tmp_path)
    async with serve(dsn, NEW):
        row = await wait_status(pool, job_id)
    assert (row["status"], row["version"]) == ("completed", 2)


async def test_an_ended_job_is_moved_when_it_is_started_again(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, OLD):
        job_id = await begun(pool, tmp_path)
        await client.cancel(job_id)
    with pytest.raises(ConflictError, match=r"has ended: .* when it is started again \(`rkyc jobs retry`\)"):
        await client.migrate(job_id, Registry([NEW]))
    async with serve(dsn, NEW):
        await client.retry(job_id)
        row = await wait_status(pool, job_id)
    assert (row["status"], row["version"]) == ("completed", 2)


async def test_without_an_up_caster_it_waits_until_a_person_moves_it(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, OLD, grace_s=0.1):
        job_id = await begun(pool, tmp_path)
    async with serve(dsn, WITHOUT):
        await blocked(pool, job_id)
        with pytest.raises(ConflictError, match=r"no up-caster leads from painted@1 to version 2"):
            await client.migrate(job_id, Registry([WITHOUT]))
        assert (await read_job(pool, job_id))["wait_reason"] == "version_blocked", "nothing was changed"
        await client.migrate_all("painted", Registry([Pipeline("painted", 2, NEW.steps, upcast=NEW.upcast)]))
        # The steps are the same, so that this worker can go on with it.
        assert (await wait_status(pool, job_id))["status"] == "completed"
        with pytest.raises(ConflictError, match="has ended"):
            await client.migrate(job_id, Registry([NEW]))
    other = await client.enqueue("painted", make_input(tmp_path, 2), lane="low")
    with pytest.raises(NotFoundError, match="painted@9 is not known here"):
        await client.migrate(other, Registry([NEW]), version=9)


@pytest.mark.parametrize("given", [None, "xy", ({}, None), ({}, {}, {})], ids=repr)
async def test_an_up_caster_that_returns_another_shape_changes_nothing(
    given: Any, dsn: str, pool: Pool, tmp_path: Path
) -> None:
    odd = Pipeline("painted", 2, NEW.steps, upcast={(1, 2): lambda value, outputs: given})
    async with serve(dsn, OLD, grace_s=0.1):
        job_id = await begun(pool, tmp_path)
    async with serve(dsn, odd):
        await blocked(pool, job_id)
        with pytest.raises(ConflictError, match="expected \\(input, outputs by step\\)"):
            await Client(pool=pool).migrate(job_id, Registry([odd]))


async def test_an_up_caster_that_raises_changes_nothing_and_the_others_are_moved(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    def cast(value: Any, outputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if value["job"] == "1":
            raise KeyError("colour")
        return to_second(value, outputs)

    client = Client(pool=pool)
    broken = Pipeline("painted", 2, NEW.steps, upcast={(1, 2): cast})
    async with serve(dsn, OLD, grace_s=0.1):
        refused = await begun(pool, tmp_path)
        moved = await client.enqueue("painted", make_input(tmp_path, 2, waits={"slow": 60}))
        await wait_entries(tmp_path, "began", 2, step="slow")
    async with serve(dsn, WITHOUT):
        await blocked(pool, refused)
        await blocked(pool, moved)
        with pytest.raises(ConflictError, match="raised KeyError: 'colour'"):
            await client.migrate(refused, Registry([broken]))
        with pytest.raises(ConflictError, match="1 jobs were moved, 1 could not be"):
            await client.migrate_all("painted", Registry([broken]))
        assert (await wait_status(pool, moved))["status"] == "completed"
    # A worker that claims it leaves it as it is, too.
    await query(pool, "UPDATE rkyc.worker SET ended_at = clock_timestamp() WHERE ended_at IS NULL")
    async with pool.transaction() as conn:
        await conn.execute(
            """WITH gone AS (DELETE FROM rkyc.waiting RETURNING *)
               INSERT INTO rkyc.ready (lane, job_id, step, events, started_at)
               SELECT lane, job_id, step, events, started_at FROM gone"""
        )
    async with serve(dsn, broken):
        await blocked(pool, refused)
        (row,) = await query(pool, "SELECT detail FROM rkyc.waiting")
        assert row["detail"].endswith("raised KeyError: 'colour'")
    await query(pool, "UPDATE rkyc.job SET input = input - 'waits'")
    async with serve(dsn, OLD):
        assert (await wait_status(pool, refused))["status"] == "completed"


async def test_a_job_in_branches_is_moved_to_a_chain_and_back(dsn: str, pool: Pool, tmp_path: Path) -> None:
    def same(value: Any, outputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return {**value, "waits": {}}, outputs

    left, right = pause.named("left"), pause.named("right")
    forked = Pipeline("shape", 1, chain(pause.named("start"), group(left, right), gather.named("end")))
    again = Pipeline(
        "shape",
        3,
        chain(pause.named("start"), group(left, right), gather.named("end")),
        upcast={(1, 3): same},
    )
    client = Client(pool=pool)
    async with serve(dsn, forked):
        job_id = await client.enqueue("shape", make_input(tmp_path, 1, waits={"right": 60}))

        async def has_left() -> bool:
            return bool(await query(pool, "SELECT FROM rkyc.checkpoint WHERE step = 'left'"))

        await wait_for(has_left)
        async with serve(dsn, again):
            await client.migrate(job_id, Registry([again]))
            assert (await wait_status(pool, job_id))["status"] == "completed"
    ended = [entry.step for entry in entries(tmp_path) if entry.what == "ended"]
    assert sorted(ended) == ["left", "right", "start"]


async def test_a_job_that_is_moved_in_its_first_step_remembers_its_calls_and_signals(
    dsn: str, pool: Pool
) -> None:
    paid: list[int] = []

    async def pay() -> int:
        paid.append(1)
        return len(paid)

    @step
    async def approve(ctx: Any) -> list[Any]:
        number = await ctx.call("pay", pay)
        return [number, await ctx.wait_signal("first"), await ctx.wait_signal("second")]

    @step
    async def tell_all(ctx: Any, input: list[Any]) -> list[Any]:
        return input

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("approval", 1, approve)):
        job_id = await client.enqueue("approval", {})
        await client.signal(job_id, "first", "A")

        async def waits_again() -> bool:
            return bool(await query(pool, "SELECT FROM rkyc.waiting WHERE wake_key LIKE '%second'"))

        await wait_for(waits_again)
    newer = Pipeline(
        "approval", 2, chain(approve, tell_all), upcast={(1, 2): lambda value, outputs: (value, outputs)}
    )
    async with serve(dsn, newer):
        await client.migrate(job_id, Registry([newer]))
        await client.signal(job_id, "second", "B")
        row = await wait_status(pool, job_id)
    assert payload.decode(row["result"]) == [1, "A", "B"]


async def hold_back(client: Client, pool: Pool, held: str, input: dict[str, Any]) -> UUID:
    """Enqueue a job of `painted@1` that does not begin yet."""
    if held == "turn":
        noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
        nightly = Schedule("nightly", "painted", input, interval_s=3600, overlap="queue", catch_up="all")
        await client.schedules.add(nightly)
        await query(pool, "UPDATE rkyc.schedule SET next_fire = $1", noon - timedelta(hours=1))
        payloads = Payloads(client.pool)
        scheduler = Scheduler(pool=pool, clock=DatabaseClock(), payloads=payloads, cancel=client.cancel)
        assert await scheduler.fire_next(noon)
        (_, row) = await query(pool, "SELECT uuid FROM rkyc.job ORDER BY id")
        job_id: UUID = row["uuid"]
        return job_id
    later = datetime.now(UTC) + timedelta(days=7) if "scheduled" in held else None
    job_id = await client.enqueue("painted", input, run_at=later, fair_key="a" if held == "fair" else None)
    if "paused" in held:
        assert await client.pause(job_id)
    return job_id


@pytest.mark.parametrize("held", ["scheduled", "paused", "paused and scheduled", "fair", "turn"])
async def test_a_job_that_is_held_back_stays_so_when_it_is_moved(
    dsn: str, pool: Pool, tmp_path: Path, held: str
) -> None:
    client = Client(pool=pool)
    await announce(pool, OLD)
    job_id = await hold_back(client, pool, held, make_input(tmp_path, 1))
    places = """SELECT 'waiting' AS place, kind, wake_key, detail, since, resume_at AS at, resume_reason FROM rkyc.waiting
                UNION ALL SELECT 'scheduled', reason, NULL, NULL, NULL, due_at, NULL FROM rkyc.scheduled"""
    (before,) = await query(pool, places)
    await client.migrate(job_id, Registry([NEW]))
    assert await query(pool, places) == [before]
    async with serve(dsn, NEW):
        if held == "turn":
            (row, _) = await query(pool, "SELECT uuid FROM rkyc.job ORDER BY id")
            await client.cancel(row["uuid"])
        if "paused" in held:
            await client.resume(job_id)
        if "scheduled" in held:
            await query(pool, "UPDATE rkyc.scheduled SET due_at = now()")
        assert (await wait_status(pool, job_id))["status"] == "completed"


def test_up_casters_are_followed_from_version_to_version() -> None:
    def cast(name: str) -> Any:
        return lambda value, outputs: ([*value, name], outputs)

    pipeline = Pipeline("any", 4, pause, upcast={(1, 2): cast("a"), (2, 3): cast("b"), (2, 4): cast("c")})
    path = pipeline.find_upcasts(1)
    assert path is not None
    value: Any = []
    for fn in path:
        value, _ = fn(value, {})
    assert value == ["a", "c"]
    assert pipeline.find_upcasts(3) is None
    with pytest.raises(DefinitionError, match="upcast from 2 to 5 can't be used"):
        Pipeline("any", 4, pause, upcast={(2, 5): cast("x")})
