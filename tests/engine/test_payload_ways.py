"""Each way in which a job comes about, or is changed, with payloads that are large or sealed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.flow import payload
from rkyc.flow.batch import Batch
from rkyc.flow.graph import chain
from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.schedule import Schedule
from rkyc.flow.step import step
from rkyc.store.crypto import TenantCodec
from rkyc.store.pool import Pool
from tests.support.engine import announce, query, serve, wait_for, wait_status

pytestmark = pytest.mark.anyio
SECRET = "resident 900101-1234567 "
# In blobs when they are not sealed, and when they are.
TEXT, OTHER = SECRET * 60_000, SECRET * 70_000


@step
async def copy(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    if job.get("then"):
        ctx.continue_as_new({"text": job["then"]})
    return {"text": job["text"]}


@step
async def measure(ctx: Any, input: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    return {"input": len(input["text"]), "job": len(job["text"])}


@step(limits=[Limit("kind", size=1, key="kind")])
async def count(ctx: Any) -> dict[str, Any]:
    """Take no input, whose field the limit is counted by."""
    return {"counted": True}


@step
async def wait(ctx: Any) -> None:
    await ctx.wait_signal("go")


async def keep(conn: Any, outputs: list[Any]) -> None:
    await conn.execute("SELECT 1")


@step(batch=Batch(size=2, within_s=0.05), save=keep)
async def repeat(ctx: Any, inputs: list[dict[str, Any]]) -> list[Any]:
    return [{"text": one["text"]} for one in inputs]


def double(value: Any, outputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return {"text": value["text"] * 2}, {"copied": outputs["copy"]}


COPYING = Pipeline("copying", 1, chain(copy, measure))
COUNTING = Pipeline("counting", 1, count)
TOGETHER = Pipeline("together", 1, chain(repeat, measure))
OLD = Pipeline("moving", 1, chain(copy, wait))
NEW = Pipeline("moving", 2, chain(copy.named("copied"), measure), upcast={(1, 2): double})


@pytest.fixture(params=["large", "sealed"])
async def codec(request: pytest.FixtureRequest, pool: Pool) -> TenantCodec | None:
    async def give() -> Pool:
        return pool

    return TenantCodec(give, master="22" * 32) if request.param == "sealed" else None


@pytest.fixture
async def client(dsn: str, pool: Pool, codec: TenantCodec | None) -> AsyncIterator[Client]:
    await announce(pool, COPYING, COUNTING, TOGETHER, OLD)
    async with Client(dsn, codec=codec) as client:
        yield client
    rows = await query(
        pool,
        """SELECT input::text AS t FROM rkyc.job UNION ALL SELECT output::text FROM rkyc.checkpoint
           UNION ALL SELECT result::text FROM rkyc.history WHERE result IS NOT NULL""",
    )
    assert rows and not [row["t"] for row in rows if "resident" in row["t"]]
    chunks = await query(
        pool, "SELECT FROM rkyc.blob_chunk WHERE position('resident'::bytea IN data) > 0 AND $1", bool(codec)
    )
    assert not chunks
    lost = await query(
        pool,
        """SELECT FROM rkyc.job j WHERE j.input #>> '{$rkyc,blob}' IS NOT NULL AND NOT EXISTS (
             SELECT FROM rkyc.blob_ref r WHERE r.job_id = j.id AND r.sha256 = j.input #>> '{$rkyc,blob}')""",
    )
    assert not lost, "a blob that the collector would take"
    lost = await query(
        pool,
        """SELECT FROM rkyc.checkpoint c WHERE c.output #>> '{$rkyc,blob}' IS NOT NULL AND NOT EXISTS (
             SELECT FROM rkyc.blob_ref r WHERE r.job_id = c.job_id AND r.sha256 = c.output #>> '{$rkyc,blob}')""",
    )
    assert not lost, "the same of an output"


async def test_a_job_of_a_schedule(client: Client, dsn: str, pool: Pool, codec: TenantCodec | None) -> None:
    await client.schedules.add(Schedule("nightly", "copying", {"text": TEXT}, interval_s=86_400.0))
    by_hand = await client.schedules.run("nightly")
    await query(pool, "UPDATE rkyc.schedule SET next_fire = date_trunc('day', clock_timestamp())")
    async with serve(dsn, COPYING, codec=codec):

        async def find_other() -> Any:
            return await query(pool, "SELECT uuid FROM rkyc.job WHERE uuid <> $1", by_hand)

        (by_tick,) = await wait_for(find_other, what="the job of the tick")
        for job_id in (by_hand, by_tick["uuid"]):
            assert await client.result(job_id, 20) == {"input": len(TEXT), "job": len(TEXT)}


async def test_the_next_run_of_an_endless_job(
    client: Client, dsn: str, pool: Pool, codec: TenantCodec | None
) -> None:
    async with serve(dsn, COPYING, codec=codec):
        first = await client.enqueue("copying", {"text": "", "then": TEXT}, tenant="bank")
        ended = payload.decode((await wait_status(pool, first))["result"])
        if codec is None:
            assert list(ended) == ["continued_as"]
        (_, second) = await client.runs(first)
        assert await client.result(second["job_id"], 20) == {"input": len(TEXT), "job": len(TEXT)}
    rows = await query(pool, "SELECT DISTINCT traits ->> 'tenant' AS tenant FROM rkyc.job")
    assert [row["tenant"] for row in rows] == ["bank"]


async def test_a_fork_with_edits(client: Client, dsn: str, codec: TenantCodec | None) -> None:
    async with serve(dsn, COPYING, codec=codec):
        source = await client.enqueue("copying", {"text": TEXT}, tenant="bank")
        await client.result(source, 20)
        plain = await client.fork(source, "measure")
        edited = await client.fork(
            source, "measure", input={"text": OTHER}, outputs={"copy": {"text": OTHER + OTHER}}
        )
        assert await client.result(plain, 20) == {"input": len(TEXT), "job": len(TEXT)}
        assert await client.result(edited, 20) == {"input": 2 * len(OTHER), "job": len(OTHER)}
        assert payload.decode((await client.get(edited))["input"]) == {"text": OTHER}
        (difference,) = (await client.diff(source, edited)).steps["copy"]
    assert difference.path.endswith("text")


async def test_a_rerun_sees_whether_the_input_changed(
    client: Client, dsn: str, codec: TenantCodec | None
) -> None:
    async with serve(dsn, COPYING, codec=codec):
        source = await client.enqueue("copying", {"text": TEXT}, tenant="bank")
        await client.result(source, 20)
        assert (await client.rerun(source, input={"text": TEXT})).job_id is None
        again = await client.rerun(source, input={"text": OTHER})
        assert again.job_id is not None
        assert await client.result(again.job_id, 20) == {"input": len(OTHER), "job": len(OTHER)}


async def test_a_job_that_is_moved_to_another_version(
    client: Client, dsn: str, pool: Pool, codec: TenantCodec | None
) -> None:
    async with serve(dsn, OLD, codec=codec):
        job_id = await client.enqueue("moving", {"text": TEXT}, tenant="bank")

        async def waits() -> bool:
            return bool((await client.get(job_id))["wait_reason"] == "signal")

        await wait_for(waits, what="a job that waits")
    assert await client.migrate(job_id, Registry([NEW])) == 2
    async with serve(dsn, NEW, codec=codec):
        assert await client.result(job_id, 20) == {"input": len(TEXT), "job": 2 * len(TEXT)}


async def test_a_limit_is_counted_by_a_field_that_the_step_does_not_read(
    client: Client, dsn: str, codec: TenantCodec | None
) -> None:
    async with serve(dsn, COUNTING, codec=codec):
        job_id = await client.enqueue("counting", {"text": TEXT, "kind": "a"})
        assert await client.result(job_id, 20) == {"counted": True}


async def test_what_a_batch_saved_together(client: Client, dsn: str, codec: TenantCodec | None) -> None:
    async with serve(dsn, TOGETHER, codec=codec):
        ids = await client.enqueue_many("together", [{"text": TEXT}, {"text": OTHER}], tenant="bank")
        assert [await client.result(one, 20) for one in ids] == [
            {"input": len(text), "job": len(text)} for text in (TEXT, OTHER)
        ]
