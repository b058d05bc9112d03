"""`ctx.emit`: what reaches the database, in which pieces, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.stream import CHUNK_CHARS_MAX, StreamWriter, TokenStream
from rkyc.errors import LeaseLostError
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool, Record
from tests.support.engine import announce, query, serve, wait_for, wait_status
from tests.support.moves import add_job, add_worker, claim
from tests.support.talkers import open_gate, registry, script

pytestmark = pytest.mark.anyio


async def run(dsn: str, pool: Pool, pipeline: str, input: dict[str, Any]) -> Record:
    """Run a job to its end and return its row."""
    async with serve(dsn, registry=registry), Client(pool=pool) as client:
        return await wait_status(pool, await client.enqueue(pipeline, input))


async def chunks(pool: Pool) -> list[Record]:
    return await query(pool, "SELECT * FROM rkyc.stream_chunk ORDER BY job_id, seq")


async def text(pool: Pool) -> str:
    return "".join(row["text"] for row in await chunks(pool))


async def test_tokens_of_a_moment_become_one_chunk(dsn: str, pool: Pool, tmp_path: Path) -> None:
    words = [f"{number} " for number in range(500)]
    await run(dsn, pool, "talk", script(tmp_path, *words))
    assert await text(pool) == "".join(words)
    assert len(await chunks(pool)) < 100
    assert [row["number"] for row in await chunks(pool)] == list(range(len(await chunks(pool))))


async def test_long_text_becomes_several_chunks(dsn: str, pool: Pool, tmp_path: Path) -> None:
    await run(dsn, pool, "talk", script(tmp_path, {"long": 3 * CHUNK_CHARS_MAX + 5}))
    assert [len(row["text"]) for row in await chunks(pool)] == [CHUNK_CHARS_MAX] * 3 + [5]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("한국어 é 🙂\n\r\t\"'\\", "한국어 é 🙂\n\r\t\"'\\"),
        ("a\0b", "a\ufffdb"),
        ("cut \ud83d", "cut \ufffd"),
        ("joined \ud83d\ude42", "joined 🙂"),
    ],
)
async def test_text_that_can_not_be_kept_is_replaced(pool: Pool, given: str, kept: str) -> None:
    async with open_writer(pool) as (writer, stream):
        await stream.emit(given)
        await writer.run_once()
        assert await text(pool) == kept


@contextlib.asynccontextmanager
async def open_writer(pool: Pool) -> AsyncIterator[tuple[StreamWriter, TokenStream]]:
    """Make a writer that runs when told, and the stream of a claimed task."""
    await announce(pool, *registry)
    async with pool.connection() as conn:
        await add_job(conn, "talk")
        (held,) = await claim(conn, await add_worker(conn))
    writer = StreamWriter(pool=pool, clock=DatabaseClock())
    try:
        yield writer, writer.open(held, "talk", 1)
    finally:
        await writer.close()


@pytest.mark.parametrize("value", [7, b"bytes", None, ["list"]], ids=str)
async def test_what_is_no_text_fails_the_step(dsn: str, pool: Pool, tmp_path: Path, value: Any) -> None:
    @step
    async def wrong(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        await ctx.emit(value)
        return {}

    async with serve(dsn, Pipeline("wrong", 1, wrong)), Client(pool=pool) as client:
        row = await wait_status(pool, await client.enqueue("wrong", {}))
    assert (row["status"], row["error_code"]) == ("failed", "OUTPUT_INVALID")
    assert "ctx.emit takes text" in row["error_message"]


async def test_one_attempt_may_not_emit_without_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rkyc.engine.stream.ATTEMPT_CHARS_MAX", 10)
    async with open_writer(pool) as (_, stream):
        await stream.emit("x" * 10)
        with pytest.raises(Exception, match="more than 10 characters"):
            await stream.emit("y")


async def test_emit_waits_while_the_database_is_far_behind(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.engine.stream.PENDING_CHARS_MAX", 10)
    async with open_writer(pool) as (writer, stream):
        await stream.emit("x" * 10)
        waiting = asyncio.create_task(stream.emit("y"))
        await asyncio.sleep(0)
        assert not waiting.done()
        await writer.run_once()
        await waiting
        assert await text(pool) == "x" * 10 + "y"


async def test_nothing_is_written_without_the_lease(pool: Pool) -> None:
    async with open_writer(pool) as (writer, stream):
        await stream.emit("a")
        await writer.run_once()
        await query(pool, "UPDATE rkyc.running SET fence = fence + 1")
        await stream.emit("b")
        await writer.run_once()
        assert await text(pool) == "a"
        with pytest.raises(LeaseLostError):
            await stream.emit("c")
        await stream.close(completed=True)
        assert await query(pool, "SELECT FROM rkyc.stream_event WHERE is_end") == []


async def test_end_of_a_step_waits_for_its_last_token(dsn: str, pool: Pool, tmp_path: Path) -> None:
    """Whoever sees the job's end sees all tokens: here the same snapshot shows both."""
    async with serve(dsn, registry=registry), Client(pool=pool) as client:
        for number in range(20):
            job_id = await client.enqueue(
                "talk", script(tmp_path, *(f"{number} " for _ in range(number + 1)))
            )

            async def seen(job_id: Any = job_id) -> str | None:
                (row,) = await query(
                    pool,
                    "SELECT h.job_id, (SELECT string_agg(text, '' ORDER BY seq) FROM rkyc.stream_chunk c WHERE c.job_id = j.id) AS text"
                    " FROM rkyc.job j LEFT JOIN rkyc.history h ON h.job_id = j.id WHERE j.uuid = $1",
                    job_id,
                )
                return row["text"] if row["job_id"] is not None else None

            assert await wait_for(seen) == f"{number} " * (number + 1)


async def test_connection_cut_in_mid_write_writes_each_chunk_once(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.engine.stream._AGAIN_S", 0.01)
    async with open_writer(pool) as (writer, stream):
        for number in range(30):
            await stream.emit(f"{number} ")
            await asyncio.gather(writer.run_once(), *([_cut(pool)] if number % 3 else []))
        assert await text(pool) == "".join(f"{number} " for number in range(30))
        assert [row["number"] for row in await chunks(pool)] == list(range(30))


async def _cut(pool: Pool) -> None:
    await query(
        pool,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'rkyc stream'",
    )


async def test_group_that_can_not_be_written_leaves_nobody_waiting(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.engine.stream.PENDING_CHARS_MAX", 3)
    async with open_writer(pool) as (writer, stream):
        await stream.emit("a")
        closing = asyncio.create_task(stream.close(completed=True))
        await asyncio.sleep(0)
        await query(pool, "ALTER TABLE rkyc.stream_chunk RENAME TO away")
        with pytest.raises(Exception, match="stream_chunk"):
            await writer.run_once()
        await closing
        await query(pool, "ALTER TABLE rkyc.away RENAME TO stream_chunk")
        await stream.emit("bcd")
        await writer.run_once()
        assert await text(pool) == "bcd"


async def test_only_chunks_of_jobs_that_ended_a_while_ago_are_removed(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry), Client(pool=pool) as client:
        ended = await client.enqueue("talk", script(tmp_path, "ended"))
        await wait_status(pool, ended)
        running = await client.enqueue("talk", script(tmp_path, "running", {"gate": "end"}))

        async def both() -> bool:
            return await text(pool) == "endedrunning"

        await wait_for(both)
        await StreamWriter(pool=pool, clock=DatabaseClock()).drop_old()
        assert await text(pool) == "endedrunning"
        await StreamWriter(pool=pool, clock=DatabaseClock(), keep_s=0).drop_old()
        assert await text(pool) == "running"
        open_gate(tmp_path, "end")
        await wait_status(pool, running)


async def test_process_that_emits_nothing_opens_no_connection(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry), Client(pool=pool) as client:
        for actions, number in (([], 0), (["a"], 1)):
            await wait_status(pool, await client.enqueue("talk", script(tmp_path, *actions)))
            rows = await query(
                pool,
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rkyc stream'",
            )
            assert len(rows) == number
