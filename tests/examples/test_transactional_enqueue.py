"""A job and the rows that need it: both or neither, by every driver; the workers hear of it at the commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from examples import transactional_enqueue as example
from rkyc.engine.client import Client
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.queue.jobs import WAKE_CHANNEL
from tests.support.engine import announce, query, serve, wait_all_ended

pytestmark = pytest.mark.anyio


@step
async def confirm(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return input


async def by_asyncpg(dsn: str, client: Client, order_ids: list[int]) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        for order_id in order_ids:
            await example.order_by_asyncpg(conn, order_id)
    finally:
        await conn.close()


async def by_client(dsn: str, client: Client, order_ids: list[int]) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        for order_id in order_ids:
            await example.order_by_client(conn, client, order_id)
    finally:
        await conn.close()


async def by_client_in_bulk(dsn: str, client: Client, order_ids: list[int]) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await example.orders_by_client(conn, client, order_ids)
    finally:
        await conn.close()


async def by_psycopg(dsn: str, client: Client, order_ids: list[int]) -> None:
    def run() -> None:
        with psycopg.connect(dsn) as conn:
            for order_id in order_ids:
                example.order_by_psycopg(conn, order_id)

    await asyncio.to_thread(run)


async def by_psycopg_in_bulk(dsn: str, client: Client, order_ids: list[int]) -> None:
    def run() -> None:
        with psycopg.connect(dsn) as conn:
            example.orders_by_psycopg(conn, order_ids)

    await asyncio.to_thread(run)


async def by_async_psycopg(dsn: str, client: Client, order_ids: list[int]) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        for order_id in order_ids:
            await example.order_by_async_psycopg(conn, order_id)


async def by_sqlalchemy(dsn: str, client: Client, order_ids: list[int]) -> None:
    await asyncio.to_thread(_run_sqlalchemy, dsn, order_ids, is_bulk=False)


async def by_sqlalchemy_in_bulk(dsn: str, client: Client, order_ids: list[int]) -> None:
    await asyncio.to_thread(_run_sqlalchemy, dsn, order_ids, is_bulk=True)


def _run_sqlalchemy(dsn: str, order_ids: list[int], *, is_bulk: bool) -> None:
    engine = sqlalchemy.create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as conn:
            if is_bulk:
                example.orders_by_sqlalchemy(conn, order_ids)
                return
            for order_id in order_ids:
                example.order_by_sqlalchemy(conn, order_id)
    finally:
        engine.dispose()


async def by_async_sqlalchemy(dsn: str, client: Client, order_ids: list[int]) -> None:
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.connect() as conn:
            for order_id in order_ids:
                await example.order_by_async_sqlalchemy(conn, order_id)
    finally:
        await engine.dispose()


Way = Callable[[str, Client, list[int]], Awaitable[None]]
SINGLE = [by_asyncpg, by_client, by_psycopg, by_async_psycopg, by_sqlalchemy, by_async_sqlalchemy]
BULK = [by_client_in_bulk, by_psycopg_in_bulk, by_sqlalchemy_in_bulk]


@pytest.fixture
async def shop(dsn: str, pool: Pool) -> AsyncIterator[Client]:
    """A table of orders that takes none above 100, as late as at the commit."""
    await announce(pool, Pipeline(example.PIPELINE, 1, confirm))
    await query(pool, "CREATE TABLE orders (id int PRIMARY KEY)")
    await query(
        pool,
        """CREATE FUNCTION refuse_large() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN IF NEW.id > 100 THEN RAISE EXCEPTION 'sold out' USING ERRCODE = '23514'; END IF; RETURN NULL; END $$""",
    )
    await query(
        pool,
        """CREATE CONSTRAINT TRIGGER sold_out AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION refuse_large()""",
    )
    async with Client(dsn) as client:
        yield client


@pytest.mark.parametrize("way", [*SINGLE, *BULK])
async def test_an_order_and_its_job_are_committed_together(
    dsn: str, pool: Pool, shop: Client, way: Way
) -> None:
    await way(dsn, shop, [1, 2, 3])
    async with serve(dsn, Pipeline(example.PIPELINE, 1, confirm)):
        await wait_all_ended(pool, 3)
    rows = await query(pool, "SELECT (input ->> 'order')::int AS id FROM rkyc.job ORDER BY rkyc.job.id")
    assert (
        [row["id"] for row in rows] == [row["id"] for row in await query(pool, "TABLE orders")] == [1, 2, 3]
    )


@pytest.mark.parametrize("way", [*SINGLE, *BULK])
async def test_a_refused_commit_leaves_neither_order_nor_job_and_wakes_nobody(
    dsn: str, pool: Pool, shop: Client, way: Way
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(dsn)
    try:
        await listener.add_listener(WAKE_CHANNEL, lambda *told: heard.append(str(told[3])))
        with pytest.raises(Exception, match="sold out"):
            await way(dsn, shop, [101])
        for table in ("orders", "rkyc.job", "rkyc.ready", "rkyc.scheduled"):
            assert await query(pool, f"SELECT FROM {table}") == []
        await way(dsn, shop, [1])
        while not heard:
            await asyncio.sleep(0.01)
        # Of the commit alone: it comes in the order of the commits.
        assert heard == ["default"]
    finally:
        await listener.close()


async def test_many_in_one_call_are_in_order_and_refused_as_a_whole(
    dsn: str, pool: Pool, shop: Client
) -> None:
    sql = "SELECT rkyc.enqueue_many($1, $2, lane => $3, run_at => $4::timestamptz)"
    inputs = [f'{{"order": {number}}}' for number in range(5)]
    rows = await query(pool, sql, example.PIPELINE, inputs, "low", None)
    known = await query(pool, "SELECT uuid, lane FROM rkyc.job ORDER BY (input ->> 'order')::int")
    assert [row[0] for row in rows] == [row["uuid"] for row in known]
    assert {row["lane"] for row in known} == {"low"}
    assert [
        row["n"] for row in await query(pool, "SELECT count(*) AS n FROM rkyc.ready WHERE lane = 'low'")
    ] == [5]
    assert await query(pool, sql, example.PIPELINE, [], "low", None) == []
    for pipeline, given, lane, code in (
        ("nobody", inputs, "low", "RK001"),
        (example.PIPELINE, inputs, "nowhere", "RK002"),
        (example.PIPELINE, ["{}", None], "low", "RK003"),
        (example.PIPELINE, ["{}", f'"{"x" * 2_000_001}"'], "low", "RK004"),
    ):
        with pytest.raises(asyncpg.PostgresError) as caught:
            await query(pool, sql, pipeline, given, lane, None)
        assert caught.value.sqlstate == code
    assert len(await query(pool, "SELECT FROM rkyc.job")) == 5
