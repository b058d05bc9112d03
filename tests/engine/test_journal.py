"""`ctx.call`: paid once, remembered over retries, drains and restarts by a person."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pydantic
import pytest

from rkyc.engine.client import Client
from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, group
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input
from tests.support.engine import query, serve, wait_status
from tests.support.ledger import record
from tests.support.probes import gather, registry

pytestmark = pytest.mark.anyio


@dataclasses.dataclass
class Row:
    name: str
    value: float


class Model(pydantic.BaseModel):
    items: list[int]


async def ask(job: dict[str, Any], name: str, answer: Any) -> Any:
    record(job["ledger"], "asked", name, job["job"], 1)
    return answer


@step(retry=RetryPolicy(max_attempts=3, initial_s=0.0))
async def call_all(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Make calls of all kinds; fail behind them as often as the job says."""
    long_name = "x" * 250
    said = {
        "number": await ctx.call("number", lambda: ask(job, "number", 10**30)),
        "nothing": await ctx.call("nothing", lambda: ask(job, "nothing", None)),
        "row": await ctx.call("row", lambda: ask(job, "row", Row("a", 0.5)), returns=Row),
        "model": await ctx.call("model", lambda: ask(job, "model", Model(items=[1, 2])), returns=Model),
        "first": await ctx.call("same", lambda: ask(job, "same1", 1)),
        "second": await ctx.call("same", lambda: ask(job, "same2", 2)),
        "named_like_a_second": await ctx.call("same#2", lambda: ask(job, "same3", 3)),
        "long1": await ctx.call(long_name + "1", lambda: ask(job, "long1", 4)),
        "long2": await ctx.call(long_name + "2", lambda: ask(job, "long2", 5)),
        "beside": await asyncio.gather(
            *(ctx.call(f"beside{n}", lambda n=n: ask(job, f"beside{n}", n)) for n in range(20))
        ),
    }
    assert isinstance(said["row"], Row)
    assert isinstance(said["model"], Model)
    if ctx.attempt <= job.get("failures", 0):
        raise RetryableException("again")
    if job.get("permanent") and not Path(job["ledger"] + ".healed").exists():
        raise PermanentException("no")
    return said


EXPECTED = {
    "number": 10**30,
    "nothing": None,
    "row": {"name": "a", "value": 0.5},
    "model": {"items": [1, 2]},
    "first": 1,
    "second": 2,
    "named_like_a_second": 3,
    "long1": 4,
    "long2": 5,
    "beside": list(range(20)),
}


def asked(folder: Path) -> list[str]:
    return [one.step for one in entries(folder) if one.what == "asked"]


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_each_call_is_made_once_over_all_attempts(
    dsn: str, pool: Pool, tmp_path: Path, failures: int
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, Pipeline("calls", 1, call_all)):
        job_id = await client.enqueue("calls", make_input(tmp_path, 1, failures=failures))
        assert await client.result(job_id, timeout_s=10) == EXPECTED
    names = asked(tmp_path)
    assert len(names) == len(set(names)) == 29


async def test_a_job_started_again_by_a_person_pays_nothing_twice(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, Pipeline("calls", 1, call_all)):
        job_id = await client.enqueue("calls", make_input(tmp_path, 1, permanent=True))
        assert (await wait_status(pool, job_id))["status"] == "failed"
        paid = asked(tmp_path)
        Path(str(tmp_path / "ledger") + ".healed").touch()
        await client.retry(job_id)
        assert await client.result(job_id, timeout_s=10) == EXPECTED
    assert asked(tmp_path) == paid


async def test_a_task_that_was_given_back_pays_nothing_twice(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry, grace_s=0.0):
        job_id = await client.enqueue("calling", make_input(tmp_path, 1, waits={"call_and_pause": 1.0}))
        while not asked(tmp_path):
            await asyncio.sleep(0.01)
    async with serve(dsn, registry=registry):
        row = await wait_status(pool, job_id)
    assert row["status"] == "completed"
    assert asked(tmp_path) == ["call_and_pause"]
    assert {one.attempt for one in entries(tmp_path)} == {1}


async def test_a_call_that_raises_is_not_remembered(dsn: str, pool: Pool, tmp_path: Path) -> None:
    @step(retry=RetryPolicy(max_attempts=3, initial_s=0.0))
    async def raise_once(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        async def try_it() -> int:
            record(job["ledger"], "asked", "it", "1", ctx.attempt)
            if ctx.attempt == 1:
                raise RetryableException("not yet")
            return 5

        return {"said": await ctx.call("it", try_it)}

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("raising", 1, raise_once)):
        job_id = await client.enqueue("raising", make_input(tmp_path, 1))
        assert await client.result(job_id, timeout_s=10) == {"said": 5}
    assert len(asked(tmp_path)) == 2


async def test_two_branches_and_two_steps_do_not_share_answers(dsn: str, pool: Pool, tmp_path: Path) -> None:
    @step
    async def say_own_name(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        return {"said": await ctx.call("name", lambda: ask(job, ctx.step, ctx.step))}

    pipeline = Pipeline(
        "naming",
        1,
        chain(say_own_name.named("a"), group(say_own_name.named("b"), say_own_name.named("c")), gather),
    )
    async with serve(dsn, pipeline):
        await wait_status(
            pool, await Client(pool=pool).enqueue("naming", make_input(tmp_path, 1)), "completed"
        )
    assert sorted(asked(tmp_path)) == ["a", "b", "c"]
    rows = await query(pool, "SELECT step, answer #>> '{}' AS answer FROM rkyc.journal ORDER BY step")
    assert [tuple(row) for row in rows] == [("a", "a"), ("b", "b"), ("c", "c")]


@pytest.mark.parametrize(
    "usage",
    [
        {"tokens_in": "many"},
        {"tokens_in": 1.5},
        {"cost_usd": "free"},
        {"tokens_in": 10**12},
        "all",
        {"tokens_in": True},
    ],
)
async def test_an_odd_usage_in_an_answer_is_no_reason_to_fail(
    dsn: str, pool: Pool, tmp_path: Path, usage: Any
) -> None:
    @step(retry=RetryPolicy(max_attempts=1))
    async def odd(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        answer = {"usage": usage, "provider": 5, "model": ["x"]}
        return {"said": await ctx.call("odd", lambda: ask(job, "odd", answer))}

    async with serve(dsn, Pipeline("odd", 1, odd)):
        row = await wait_status(pool, await Client(pool=pool).enqueue("odd", make_input(tmp_path, 1)))
    assert row["status"] == "completed"


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "\ud800" * 250], ids=["NUL", "half a pair", "long"])
@pytest.mark.parametrize("kind", ["call", "wait_signal", "wait_event", "sleep", "spawn"])
async def test_a_name_that_can_not_be_stored_is_refused_before_anything_is_done(
    dsn: str, pool: Pool, kind: str, name: str
) -> None:
    paid: list[str] = []

    async def pay() -> None:
        paid.append(name)

    @step(retry=RetryPolicy(max_attempts=1))
    async def use_name(ctx: Any, job: dict[str, Any]) -> None:
        if kind == "call":
            await ctx.call(name, pay)
        elif kind == "sleep":
            await ctx.sleep(0.0, name=name)
        elif kind == "spawn":
            await ctx.spawn("naming", {}, key=name)
        else:
            await getattr(ctx, kind)(name, timeout_s=0.0)

    async with serve(dsn, Pipeline("naming", 1, use_name)):
        row = await wait_status(pool, await Client(pool=pool).enqueue("naming", {}))
    assert (row["status"], row["error_code"], paid) == ("failed", "DEFINITION_INVALID", [])
