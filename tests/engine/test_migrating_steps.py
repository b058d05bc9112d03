"""Jobs that are moved to a version whose steps have other names or stand elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.engine.orphans import Orphans
from rkyc.errors import PermanentException
from rkyc.flow import payload
from rkyc.flow.graph import chain, group
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.engine.test_undo_from_outside import wait_reason
from tests.support.crashes import entries, make_input
from tests.support.engine import announce, query, serve, wait_for, wait_status
from tests.support.probes import tell

pytestmark = pytest.mark.anyio


async def release(ctx: Any, input: dict[str, Any]) -> None:
    tell(ctx, input["job"], "undone")


@step(compensate=release)
async def first(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    ctx.warn("HALF", "done in part")
    return {"job": job}


@step(compensate=release, optional=True)
async def second(ctx: Any) -> dict[str, Any]:
    raise PermanentException("meant to fail")


@step
async def hold(ctx: Any, job: dict[str, Any]) -> None:
    if job.get("holds"):
        await ctx.wait_signal("go")


@step
async def finish(ctx: Any, job: dict[str, Any]) -> None:
    if job.get("fails"):
        raise PermanentException("meant to fail")


OLD = Pipeline("names", 1, chain(first, second, hold, finish))


def renamed(outputs: dict[str, Any]) -> dict[str, Any]:
    return {{"first": "alpha", "second": "beta"}.get(name, name): value for name, value in outputs.items()}


NEW = Pipeline(
    "names",
    2,
    chain(first.named("alpha"), second.named("beta"), hold, finish),
    upcast={(1, 2): lambda value, outputs: (value, renamed(outputs))},
)
MERGED = Pipeline(
    "names",
    2,
    chain(first.named("both"), hold, finish),
    upcast={(1, 2): lambda value, outputs: (value, {"both": outputs["first"]})},
)


def undone(folder: Path) -> list[str]:
    return [entry.step for entry in entries(folder) if entry.what == "undone"]


@pytest.mark.parametrize(("newer", "expected"), [(NEW, ["undo:alpha"]), (MERGED, ["undo:both"])])
async def test_a_renamed_step_stays_degraded_and_is_undone_where_it_was_done(
    dsn: str, pool: Pool, tmp_path: Path, newer: Pipeline, expected: list[str]
) -> None:
    client = Client(pool=pool)
    given = make_input(tmp_path, 1, holds=True)
    async with serve(dsn, OLD):
        ids = [await client.enqueue("names", given | more) for more in ({}, {"fails": True})]
        for job_id in ids:
            await wait_reason(pool, job_id, "signal")
    async with serve(dsn, newer):
        for job_id in ids:
            await client.migrate(job_id, Registry([newer]))
            await client.signal(job_id, "go")
        row = await wait_status(pool, ids[0], "completed")
        assert (await wait_status(pool, ids[1]))["status"] == "failed"
    assert row["partial"]
    told = [item["code"] for one in payload.decode(row["warnings"]) for item in one["items"]]
    assert told == ["HALF", "PERMANENT"]
    assert undone(tmp_path) == expected


@pytest.mark.parametrize("newer", [NEW, MERGED])
async def test_what_a_fork_took_over_is_not_undone_under_another_name(
    dsn: str, pool: Pool, tmp_path: Path, newer: Pipeline
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, OLD):
        job_id = await client.enqueue("names", make_input(tmp_path, 1))
        await wait_status(pool, job_id, "completed")
        forked = await client.fork(job_id, "hold", input=make_input(tmp_path, 1, holds=True, fails=True))
        await wait_reason(pool, forked, "signal")
    async with serve(dsn, newer):
        await client.migrate(forked, Registry([newer]))
        await client.signal(forked, "go")
        assert (await wait_status(pool, forked))["status"] == "failed"
    assert undone(tmp_path) == []


def same(value: Any, outputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return value, outputs


@step
async def kid(ctx: Any, input: str) -> str:
    await ctx.wait_signal("go")
    return input


@step
async def launch(ctx: Any) -> None:
    await ctx.spawn("kid", "aside", wait=False)


@step
async def lead(ctx: Any, job: dict[str, Any]) -> Any:
    async def pay() -> None:
        tell(ctx, job, "paid")

    await ctx.call("pay", pay)
    return await ctx.spawn("kid", "waited for")


@step
async def look_on(ctx: Any) -> None:
    pass


@step
async def end(ctx: Any, input: Any) -> Any:
    return input


KID = Pipeline("kid", 1, kid)
LEADING = Pipeline("leading", 1, chain(launch, lead, end))


async def find_kids(pool: Pool, input: str, number: int) -> list[Any]:
    """Return the children with this input as (job_id, status), oldest first, when there are so many and all wait or ended."""

    async def look() -> Any:
        rows = await query(
            pool,
            """SELECT s.job_id, s.status, s.wait_reason FROM rkyc.job_status s JOIN rkyc.job j ON j.uuid = s.job_id
               WHERE j.pipeline = 'kid' AND j.input = to_jsonb($1::text) ORDER BY j.id""",
            input,
        )
        is_settled = all(row["wait_reason"] == "signal" or row["status"] == "cancelled" for row in rows)
        return rows if len(rows) == number and is_settled else None

    found: list[Any] = await wait_for(look)
    return found


async def lead_on(dsn: str, pool: Pool, folder: Path) -> UUID:
    """Enqueue a job and wait until its step `lead` waits for its child."""
    async with serve(dsn, LEADING, KID):
        job_id = await Client(pool=pool).enqueue("leading", make_input(folder, 1))
        await wait_reason(pool, job_id, "child")
        await find_kids(pool, "waited for", 1)
    return job_id


def paid(folder: Path) -> int:
    return sum(entry.what == "paid" for entry in entries(folder))


async def test_a_step_on_another_branch_keeps_its_calls_and_its_child(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    job_id = await lead_on(dsn, pool, tmp_path)
    newer = Pipeline("leading", 2, chain(launch, group(look_on, lead), end), upcast={(1, 2): same})
    async with serve(dsn, newer, KID):
        await client.migrate(job_id, Registry([newer]))
        await wait_reason(pool, job_id, "child")
        (child,) = await find_kids(pool, "waited for", 1)
        await client.signal(child["job_id"], "go")
        row = await wait_status(pool, job_id, "completed")
    assert payload.decode(row["result"]) == {"look_on": None, "lead": "waited for"}
    assert paid(tmp_path) == 1


async def test_a_step_that_was_gone_and_is_back_has_a_new_child(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    job_id = await lead_on(dsn, pool, tmp_path)
    between = Pipeline("leading", 2, chain(launch, end), upcast={(1, 2): same})
    await announce(pool, between)
    await client.migrate(job_id, Registry([between]))
    newest = Pipeline("leading", 3, LEADING.steps, upcast={(2, 3): same})
    async with serve(dsn, newest, KID):
        await client.migrate(job_id, Registry([newest]))
        (*_, child) = await find_kids(pool, "waited for", 2)
        await client.signal(child["job_id"], "go")
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert paid(tmp_path) == 2


async def test_the_child_of_a_running_step_that_is_gone_is_cancelled_and_no_other(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    job_id = await lead_on(dsn, pool, tmp_path)
    newer = Pipeline("leading", 2, chain(launch, lead.named("lead_anew"), end), upcast={(1, 2): same})
    async with serve(dsn, newer, KID):
        await client.migrate(job_id, Registry([newer]))

        async def is_cancelled() -> Any:
            kids = await find_kids(pool, "waited for", 2)
            return kids if kids[0]["status"] == "cancelled" else None

        (_, child) = await wait_for(is_cancelled)
        await client.signal(child["job_id"], "go")
        await wait_status(pool, job_id, "completed")

        async def is_forgotten() -> bool:
            await Orphans(pool=pool, cancel=client.cancel).run_once()
            return await query(pool, "SELECT FROM rkyc.orphaned") == []

        await wait_for(is_forgotten)
        (aside,) = await find_kids(pool, "aside", 1)
        assert aside["wait_reason"] == "signal"
    assert paid(tmp_path) == 2
