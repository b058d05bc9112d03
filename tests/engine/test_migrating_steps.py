"""Jobs that are moved to a version whose steps have other names or stand elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import PermanentException
from rkyc.flow import payload
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.engine.test_undo_from_outside import wait_reason
from tests.support.crashes import entries, make_input
from tests.support.engine import serve, wait_status
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
