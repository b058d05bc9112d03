"""Jobs put in by plain SQL: refused at the call, or stored exactly."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import asyncpg
import pytest

from rkyc.store.pool import Pool
from tests.support.engine import announce, query
from tests.support.moves import dump
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


async def enqueue(pool: Pool, pipeline: str | None, input: str | None, **options: Any) -> Any:
    given = "".join(f", {name} => ${number}" for number, name in enumerate(options, 3))
    rows = await query(
        pool, f"SELECT rkyc.enqueue($1, $2::text::jsonb{given})", pipeline, input, *options.values()
    )
    return rows[0][0]


@pytest.mark.parametrize(
    ("pipeline", "input", "options", "code", "says"),
    [
        ("nobody", "{}", {}, "RK001", "no pipeline is called 'nobody'"),
        (None, "{}", {}, "RK001", "no pipeline is called NULL"),
        ("single", "{}", {"lane": "nowhere"}, "RK002", "no lane is called 'nowhere'"),
        ("single", "{}", {"lane": None}, "RK002", "no lane is called NULL"),
        ("single", None, {}, "RK003", "input is null"),
        ("single", '{"a": "' + "x" * 2_000_001 + '"}', {}, "RK004", "at most 2000000"),
        ("single", '{"a": "\\u0000"}', {}, "22P05", "unsupported Unicode escape sequence"),
        ("single", '{"a": "\\ud800"}', {}, "22P02", "invalid input syntax for type json"),
        ("single", '{"a": NaN}', {}, "22P02", "invalid input syntax for type json"),
        ("single", "{", {}, "22P02", "invalid input syntax for type json"),
        ("single", "{}", {"idempotency_key": ""}, "23514", "idempotency"),
        ("single", "{}", {"idempotency_key": "x" * 256}, "23514", "idempotency"),
    ],
)
async def test_what_can_not_run_is_refused_at_the_call(
    pool: Pool, pipeline: str | None, input: str | None, options: dict[str, Any], code: str, says: str
) -> None:
    await announce(pool, *registry)
    with pytest.raises(asyncpg.PostgresError) as caught:
        await enqueue(pool, pipeline, input, **options)
    assert caught.value.sqlstate == code
    assert says in str(caught.value)
    async with pool.connection() as conn:
        assert not any((await dump(conn)).values())


@pytest.mark.parametrize("run_at", ["infinity", "9999-12-31", "12000-01-01"])
@pytest.mark.parametrize("call", ["enqueue('single', '{}', ", "enqueue_many('single', ARRAY['{}'::jsonb], "])
async def test_a_time_that_no_client_can_read_is_refused(pool: Pool, call: str, run_at: str) -> None:
    await announce(pool, *registry)
    with pytest.raises(asyncpg.PostgresError, match="run_at is ") as caught:
        await query(pool, f"SELECT rkyc.{call} run_at => '{run_at}')")
    assert caught.value.sqlstate == "RK009"
    assert await query(pool, "SELECT FROM rkyc.job") == []
    await query(pool, f"SELECT rkyc.{call} run_at => '9999-12-30')")
    (row,) = await query(pool, "SELECT due_at FROM rkyc.job_status")
    assert row["due_at"].year == 9999


async def test_a_refusal_says_what_to_do(pool: Pool) -> None:
    await announce(pool, *registry)
    for pipeline, lane, hint in (("nobody", "default", "rkyc serve"), ("single", "nowhere", "default")):
        with pytest.raises(asyncpg.PostgresError) as caught:
            await enqueue(pool, pipeline, "{}", lane=lane)
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    "input",
    ['{"n": 123456789012345678901234567890}', '{"n": 0.1}', '"text"', "null", "[1, 2]", '{"n": -0.5e-3}'],
)
async def test_what_postgres_can_hold_is_stored_exactly(pool: Pool, input: str) -> None:
    await announce(pool, *registry)
    await enqueue(pool, "single", input)
    rows = await query(pool, "SELECT input = $1::text::jsonb AS same FROM rkyc.job", input)
    assert rows[0]["same"]


async def test_the_ids_are_uuid7_and_sort_by_time(pool: Pool) -> None:
    await announce(pool, *registry)
    ids = []
    for _ in range(3):
        ids.append(await enqueue(pool, "single", "{}"))
        await asyncio.sleep(0.002)
    assert ids == sorted(ids)
    for one in ids:
        assert one.version == 7
        made_at = dt.datetime.fromtimestamp((one.int >> 80) / 1000, dt.UTC)
        assert abs((dt.datetime.now(dt.UTC) - made_at).total_seconds()) < 60


async def test_the_same_key_and_input_give_the_same_job(pool: Pool) -> None:
    await announce(pool, *registry)
    first = await enqueue(pool, "single", '{"a": 1, "b": 2}', idempotency_key="k")
    again = await enqueue(pool, "single", '{"b": 2, "a": 1}', idempotency_key="k")
    assert first == again
    for pipeline, other in (("single", '{"a": 2}'), ("chained", '{"a": 1, "b": 2}')):
        with pytest.raises(asyncpg.PostgresError) as caught:
            await enqueue(pool, pipeline, other, idempotency_key="k")
        assert caught.value.sqlstate == "RK005"
    assert len(await query(pool, "SELECT FROM rkyc.job")) == 1


async def test_twenty_at_once_with_one_key_make_one_job(pool: Pool) -> None:
    await announce(pool, *registry)
    ids = await asyncio.gather(*(enqueue(pool, "single", "{}", idempotency_key="k") for _ in range(20)))
    assert len(set(ids)) == 1
    assert len(await query(pool, "SELECT FROM rkyc.ready")) == 1


async def test_a_rolled_back_transaction_leaves_nothing_and_frees_the_key(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.fetchval("SELECT rkyc.enqueue('single', '{}', idempotency_key => 'k')")
        await transaction.rollback()
        assert not any((await dump(conn)).values())
    await enqueue(pool, "single", '{"other": 1}', idempotency_key="k")


async def test_a_job_for_later_is_scheduled_and_one_for_earlier_is_ready(pool: Pool) -> None:
    await announce(pool, *registry)
    now = dt.datetime.now(dt.UTC)
    await enqueue(pool, "single", "{}", run_at=now + dt.timedelta(hours=1))
    await enqueue(pool, "single", "{}", run_at=now - dt.timedelta(hours=1))
    assert len(await query(pool, "SELECT FROM rkyc.scheduled")) == 1
    assert len(await query(pool, "SELECT FROM rkyc.ready")) == 1


async def test_the_newest_version_is_taken(pool: Pool) -> None:
    await announce(pool, *registry)
    await query(
        pool,
        "INSERT INTO rkyc.pipeline_version (name, version, graph, first_step) VALUES ('single', 3, '{}', 'other')",
    )
    await enqueue(pool, "single", "{}")
    (row,) = await query(
        pool, "SELECT j.version, r.step FROM rkyc.job j JOIN rkyc.ready r ON r.job_id = j.id"
    )
    assert tuple(row) == (3, "other")
