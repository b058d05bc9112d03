"""A job that is enqueued in the transaction that needs it: an order and its confirmation, both or neither.

The same with each of the usual drivers. All of them call `rkyc.enqueue`, a function of the database; from asyncpg
the client of this package does it too. `tests/examples/test_transactional_enqueue.py` runs all of them.
"""

from __future__ import annotations

import asyncpg
import orjson
import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, cast, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from rkyc import Client

PIPELINE = "confirm-order"


async def order_by_asyncpg(conn: asyncpg.Connection[asyncpg.Record], order_id: int) -> None:
    async with conn.transaction():
        await conn.execute("INSERT INTO orders (id) VALUES ($1)", order_id)
        given = orjson.dumps({"order": order_id}).decode()
        await conn.fetchval("SELECT rkyc.enqueue($1, $2)", PIPELINE, given)


async def order_by_client(conn: asyncpg.Connection[asyncpg.Record], client: Client, order_id: int) -> None:
    async with conn.transaction():
        await conn.execute("INSERT INTO orders (id) VALUES ($1)", order_id)
        await client.enqueue(PIPELINE, {"order": order_id}, conn=conn)


def order_by_psycopg(conn: psycopg.Connection, order_id: int) -> None:
    with conn.transaction():
        conn.execute("INSERT INTO orders (id) VALUES (%s)", (order_id,))
        conn.execute("SELECT rkyc.enqueue(%s, %s)", (PIPELINE, Jsonb({"order": order_id})))


async def order_by_async_psycopg(conn: psycopg.AsyncConnection, order_id: int) -> None:
    async with conn.transaction():
        await conn.execute("INSERT INTO orders (id) VALUES (%s)", (order_id,))
        await conn.execute("SELECT rkyc.enqueue(%s, %s)", (PIPELINE, Jsonb({"order": order_id})))


def order_by_sqlalchemy(conn: Connection, order_id: int) -> None:
    with conn.begin():
        conn.execute(text("INSERT INTO orders (id) VALUES (:id)"), {"id": order_id})
        conn.execute(select(func.rkyc.enqueue(PIPELINE, cast({"order": order_id}, JSONB))))


async def order_by_async_sqlalchemy(conn: AsyncConnection, order_id: int) -> None:
    async with conn.begin():
        await conn.execute(text("INSERT INTO orders (id) VALUES (:id)"), {"id": order_id})
        await conn.execute(select(func.rkyc.enqueue(PIPELINE, cast({"order": order_id}, JSONB))))


async def orders_by_client(
    conn: asyncpg.Connection[asyncpg.Record], client: Client, order_ids: list[int]
) -> None:
    async with conn.transaction():
        await conn.executemany("INSERT INTO orders (id) VALUES ($1)", [(one,) for one in order_ids])
        await client.enqueue_many(PIPELINE, [{"order": one} for one in order_ids], conn=conn)


def orders_by_psycopg(conn: psycopg.Connection, order_ids: list[int]) -> None:
    with conn.transaction():
        conn.cursor().executemany("INSERT INTO orders (id) VALUES (%s)", [(one,) for one in order_ids])
        inputs = [Jsonb({"order": one}) for one in order_ids]
        conn.execute("SELECT rkyc.enqueue_many(%s, %s)", (PIPELINE, inputs))


def orders_by_sqlalchemy(conn: Connection, order_ids: list[int]) -> None:
    with conn.begin():
        conn.execute(text("INSERT INTO orders (id) VALUES (:id)"), [{"id": one} for one in order_ids])
        inputs = [{"order": one} for one in order_ids]
        conn.execute(select(func.rkyc.enqueue_many(PIPELINE, cast(inputs, ARRAY(JSONB)))))
