"""Submitting: inside the caller's transaction, once per key, in bulk; and how soon it starts."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from rkyc.engine.client import Client
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
    UnknownPipelineError,
    WorkerBaseException,
)
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import announce, query, serve, wait_all_ended, wait_for, wait_status
from tests.support.probes import registry

pytestmark = pytest.mark.anyio
# As in production: what starts quickly here was not found by a quick poll.
SLOW = UpkeepOptions()


@pytest.fixture
async def client(pool: Pool) -> Client:
    await announce(pool, *registry)
    return Client(pool=pool)


async def count_rows(pool: Pool, table: str) -> int:
    (row,) = await query(pool, f"SELECT count(*) AS n FROM rkyc.{table}")
    return int(row["n"])


async def test_a_job_of_a_transaction_that_rolls_back_never_was(client: Client, pool: Pool) -> None:
    async with pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await client.enqueue("single", {}, conn=conn, idempotency_key="k")
        await transaction.rollback()
    for table in ("job", "ready", "idempotency"):
        assert await count_rows(pool, table) == 0


async def test_a_job_of_a_transaction_starts_at_its_commit(
    client: Client, dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry, upkeep=SLOW), pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        job_id = await client.enqueue("single", make_input(tmp_path, "late"), conn=conn)
        # The claims of these pass over it.
        await client.enqueue_many("single", [make_input(tmp_path, number) for number in range(30)])
        await wait_entries(tmp_path, "ended", 30)
        assert not [one for one in entries(tmp_path) if one.job == "late"]
        await transaction.commit()
        await wait_status(pool, job_id, "completed", timeout_s=1.5)


@pytest.mark.parametrize("way", ["client", "sql"])
async def test_of_twenty_submits_at_once_with_one_key_one_is_new(
    client: Client, pool: Pool, way: str
) -> None:
    async def submit() -> Any:
        if way == "client":
            return (await client.submit("single", {"n": 1}, idempotency_key="k")).job_id
        return (await query(pool, "SELECT rkyc.enqueue('single', '{\"n\": 1}', idempotency_key => 'k')"))[0][
            0
        ]

    ids = await asyncio.gather(*(submit() for _ in range(20)))
    assert len(set(ids)) == 1
    assert await count_rows(pool, "job") == await count_rows(pool, "ready") == 1


async def test_the_same_key_for_another_request_is_a_conflict(client: Client, pool: Pool) -> None:
    first = await client.submit("single", {"a": 1, "b": [2]}, idempotency_key="k")
    again = await client.submit("single", {"b": [2], "a": 1}, idempotency_key="k")
    assert (first.is_new, again.is_new, again.job_id) == (True, False, first.job_id)
    for pipeline, given in (("single", {"a": 2}), ("chained", {"a": 1, "b": [2]})):
        with pytest.raises(ConflictError, match="'k'"):
            await client.submit(pipeline, given, idempotency_key="k")
    assert await count_rows(pool, "job") == 1


@pytest.mark.parametrize("first", ["client", "sql"])
async def test_a_key_stands_for_the_same_request_through_both_doors(
    client: Client, pool: Pool, first: str
) -> None:
    given = {"b": [1, 2.5, 10**30], "a": {"한": "글", "é": None, "t": 1.0}}

    async def by_client(pipeline: str = "single", **changes: Any) -> UUID:
        return (await client.submit(pipeline, {**given, **changes}, idempotency_key="k")).job_id

    async def by_sql(pipeline: str = "single", **changes: Any) -> UUID:
        text = json.dumps({**given, **changes}, indent=2)
        sql = "SELECT rkyc.enqueue($1, $2::text::jsonb, idempotency_key => 'k')"
        return UUID(str((await query(pool, sql, pipeline, text))[0][0]))

    doors = [by_client, by_sql] if first == "client" else [by_sql, by_client]
    ids = [await door() for door in doors]
    # A program of before hashed in another way.
    await query(pool, "UPDATE rkyc.idempotency SET request_sha256 = sha256('older')")
    ids += [await door() for door in doors]
    assert len(set(ids)) == 1
    for pipeline, changes in (("single", {"b": [1]}), ("chained", {})):
        with pytest.raises(ConflictError):
            await by_client(pipeline, **changes)
        with pytest.raises(asyncpg.PostgresError, match="was used with another input"):
            await by_sql(pipeline, **changes)
    assert await count_rows(pool, "job") == 1


async def test_the_end_by_a_person_bears_the_time_of_the_database(client: Client, pool: Pool) -> None:
    job_id = await client.enqueue("single", {})
    ((before,),) = await query(pool, "SELECT clock_timestamp()")
    assert await client.cancel(job_id)
    ((finished_at,),) = await query(pool, "SELECT finished_at FROM rkyc.history")
    await client.retry(job_id)
    ((retried_at, after),) = await query(pool, "SELECT at, clock_timestamp() FROM rkyc.event")
    assert before < finished_at < retried_at < after


async def test_a_refused_submit_leaves_its_key_free_inside_the_callers_transaction(
    client: Client, pool: Pool
) -> None:
    async with pool.transaction() as conn:
        with pytest.raises(UnknownPipelineError):
            await client.submit("nobody", {}, idempotency_key="k", conn=conn)
    assert await count_rows(pool, "idempotency") == 0
    assert (await client.submit("single", {}, idempotency_key="k")).is_new


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"t": "a\0b"}, InvalidInputError),
        ({"t": "\ud800"}, InvalidInputError),
        ({"n": float("nan")}, InvalidInputError),
        ({"o": object()}, InvalidInputError),
        ({"t": "x" * 16_000_001}, PayloadTooLargeError),
    ],
)
async def test_an_input_that_can_not_be_stored_is_refused_at_the_call(
    client: Client, pool: Pool, given: Any, error: type[Exception]
) -> None:
    for key in (None, "k"):
        with pytest.raises(error):
            await client.submit("single", given, idempotency_key=key)
    with pytest.raises(error):
        await client.enqueue_many("single", [{}, given])
    assert await count_rows(pool, "job") == 0


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0b", "\ud800"], ids=ascii)
async def test_a_key_that_can_not_be_kept_is_refused_at_the_call(
    client: Client, pool: Pool, key: str
) -> None:
    with pytest.raises(InvalidInputError, match="expected 1 to 255"):
        await client.submit("single", {}, idempotency_key=key)
    assert await count_rows(pool, "job") == 0
    assert (await client.submit("single", {}, idempotency_key="k" * 255)).is_new


@pytest.mark.parametrize("given", [[1], [], "text", 5, {"t": "a\0b"}, {"n": math.nan}], ids=ascii)
async def test_metadata_that_is_no_object_is_refused_at_the_call(
    client: Client, pool: Pool, given: Any
) -> None:
    with pytest.raises(InvalidInputError, match="metadata"):
        await client.submit("single", {}, metadata=given)
    with pytest.raises(InvalidInputError, match="metadata"):
        await client.enqueue_many("single", [{}], metadata=given)
    assert await count_rows(pool, "job") == 0


@pytest.mark.parametrize(
    "option",
    [
        {"deadline_s": 0.0},
        {"deadline_s": -1.0},
        {"deadline_s": 1e12},
        {"deadline_s": math.nan},
        {"budget_usd": -1.0},
        {"budget_usd": math.inf},
        {"budget_usd": math.nan},
    ],
    ids=str,
)
async def test_a_number_that_makes_no_sense_is_refused_at_the_call(
    option: dict[str, float], client: Client, pool: Pool
) -> None:
    with pytest.raises(InvalidInputError, match="can't be used: expected"):
        await client.enqueue("single", {}, **option)
    assert await count_rows(pool, "job") == 0


async def test_many_jobs_get_their_ids_in_order_and_run(
    client: Client, dsn: str, pool: Pool, tmp_path: Path
) -> None:
    ids = await client.enqueue_many("single", [make_input(tmp_path, number) for number in range(2500)])
    rows = await query(pool, "SELECT uuid, (input ->> 'job')::int AS n FROM rkyc.job")
    assert {row["n"]: row["uuid"] for row in rows} == dict(enumerate(ids))
    assert len(rows) == 2500
    async with serve(dsn, registry=registry, slots=200):
        assert await wait_all_ended(pool, 2500) == {"completed": 2500}


async def test_nothing_enqueued_is_nothing_done(client: Client, pool: Pool) -> None:
    assert await client.enqueue_many("single", []) == []
    with pytest.raises(UnknownPipelineError):
        await client.enqueue_many("nobody", [{}])


async def test_an_idle_worker_starts_what_is_submitted_at_once(
    client: Client, dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry, upkeep=SLOW):
        took = []
        for number in range(20):
            began = time.monotonic()
            job_id = await client.enqueue("single", make_input(tmp_path, number))
            await client.result(job_id, timeout_s=2)
            took.append(time.monotonic() - began)
        rows = await query(
            pool, "SELECT rkyc.enqueue('single', $1::text::jsonb)", '{"ledger": "/dev/null", "job": "x"}'
        )
        await wait_status(pool, rows[0][0], "completed", timeout_s=2)
    assert sorted(took)[10] < 0.5


@pytest.mark.parametrize("way", ["client", "sql"])
async def test_a_job_for_soon_starts_when_it_is_due_and_not_at_the_next_poll(
    client: Client, dsn: str, pool: Pool, tmp_path: Path, way: str
) -> None:
    async with serve(dsn, registry=registry, upkeep=SLOW):
        # The beat has just looked: its next look of itself is seconds away.
        await wait_status(pool, await client.enqueue("single", make_input(tmp_path, "first")))
        (now,) = await query(
            pool, "SELECT clock_timestamp() + interval '0.5 s' AS due, clock_timestamp() AS at"
        )
        if way == "client":
            job_id = await client.enqueue("single", make_input(tmp_path, "due"), run_at=now["due"])
        else:
            sql = "SELECT rkyc.enqueue('single', $1::text::jsonb, run_at => $2)"
            text = f'{{"ledger": "{tmp_path / "ledger"}", "job": "due"}}'
            job_id = (await query(pool, sql, text, now["due"]))[0][0]
        row = await wait_status(pool, job_id, "completed", timeout_s=2.5)
    assert 0.5 <= (row["started_at"] - now["at"]).total_seconds() < 1.5


async def test_a_result_is_waited_for_and_a_failure_raised(client: Client, dsn: str, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry):
        good = await client.enqueue("single", make_input(tmp_path, "good"))
        assert await client.result(good, timeout_s=5) == {"step": "only", "job": "good"}
        bad = await client.enqueue("failing", make_input(tmp_path, "bad", permanent=True))
        with pytest.raises(WorkerBaseException, match="meant to fail") as caught:
            await client.result(bad, timeout_s=5)
        assert caught.value.details == {"error_code": "PERMANENT", "status": "failed"}
        slow = await client.enqueue("single", make_input(tmp_path, "slow", wait=30))
        with pytest.raises(TimeoutError):
            await client.result(slow, timeout_s=0.1)
        with pytest.raises(NotFoundError):
            await client.result(good.__class__(int=7), timeout_s=1)
        await client.cancel(slow)


async def test_a_task_that_came_back_under_the_cursor_is_found_all_the_same(
    client: Client, dsn: str, pool: Pool, tmp_path: Path
) -> None:
    """As after a claim that was rolled back when the cursor had passed its number."""
    async with serve(dsn, registry=registry):
        for number in range(3):
            await wait_status(pool, await client.enqueue("single", make_input(tmp_path, number)))
        await query(
            pool,
            """WITH j AS (INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, created_at)
                          SELECT gen_random_uuid(), 'single', 1, 'default', input, now() FROM rkyc.job LIMIT 1 RETURNING id)
               INSERT INTO rkyc.ready (lane, seq, job_id, step) SELECT 'default', 1, id, 'only' FROM j""",
        )

        async def found() -> bool:
            return await count_rows(pool, "history") == 4

        await wait_for(found, timeout_s=12)


@pytest.mark.parametrize("run_at", [dt.datetime.max.replace(tzinfo=dt.UTC), "tomorrow", 5])
async def test_a_job_for_no_time_is_refused_by_its_name(client: Client, pool: Pool, run_at: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"run_at .* can't be used: expected a datetime"):
        await client.enqueue("single", {}, run_at=run_at)
    assert await count_rows(pool, "job") == 0


@pytest.mark.parametrize("wrong", [5, b"low", "low\0"])
async def test_a_name_that_is_none_is_refused_by_its_name(client: Client, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^pipeline .* can't be used"):
        await client.enqueue(wrong, {})
    for option in ("lane", "webhook_url"):
        with pytest.raises(InvalidInputError, match=rf"^{option} .* can't be used"):
            await client.enqueue("single", {}, **{option: wrong})


@pytest.mark.parametrize("text", ["a\0b", "a\ud800"])
async def test_a_text_that_can_not_be_stored_is_refused_and_nothing_is_done(
    client: Client, pool: Pool, text: str
) -> None:
    job_id = await client.enqueue("single", {})
    deeds: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.cancel(job_id, text),
        lambda: client.pause(job_id, by=text),
        lambda: client.pause_all("pipeline", "single", text),
        lambda: client.pause_all("pipeline", "single", by=text),
        lambda: client.fork(job_id, "only", by=text),
        lambda: client.schedules.pause(text),
        lambda: client.schedules.remove(text),
    ]
    for deed in deeds:
        with pytest.raises(InvalidInputError, match="a text can't be stored"):
            await deed()
    assert (await client.get(job_id))["status"] == "pending"
    assert await client.pauses() == []
    assert await count_rows(pool, "job") == 1
