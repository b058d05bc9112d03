"""Events to every process: each once, in order, none skipped, whatever commits late or is cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from rkyc.engine.broadcasting import CachePublisher
from rkyc.engine.client import Client
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.listeners import KEPT_DAYS, Listener, drop_old_events
from rkyc.errors import InvalidInputError
from rkyc.flow import payload
from rkyc.flow.broadcast import Broadcast, Cache, Subscription
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, wait_for

pytestmark = pytest.mark.anyio
TOPIC = "characters"


class Heard:
    """Keeps the numbers that a handler got."""

    def __init__(self) -> None:
        self.payloads: list[Any] = []
        self.failures_left = 0

    async def take(self, event: Broadcast) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise RuntimeError("meant to fail")
        self.payloads.append(event.payload)


@pytest.fixture
async def client(pool: Pool) -> Client:
    return Client(pool=pool)


def make_listener(pool: Pool) -> tuple[Listener, Heard]:
    heard = Heard()
    return Listener(pool=pool, subscription=Subscription(TOPIC, heard.take)), heard


@contextlib.asynccontextmanager
async def open_transaction(dsn: str) -> AsyncIterator[Any]:
    """A connection whose transaction the test ends by itself."""
    pool = await Pool.open(dsn)
    async with pool.connection() as conn:
        yield conn
    await pool.close()


async def hear(listener: Listener, heard: Heard, count: int) -> None:
    """Let it listen until it got as many: a transaction of any other test on the server holds events back."""

    async def is_heard() -> bool:
        await listener.run_once()
        return len(heard.payloads) >= count

    await wait_for(is_heard, what="the events")


async def test_events_come_once_and_in_order(client: Client, pool: Pool) -> None:
    listener, heard = make_listener(pool)
    for number in range(450):
        await client.broadcast(TOPIC, number)
    await client.broadcast("other", "not for us")
    await hear(listener, heard, 450)
    await client.broadcast(TOPIC, 450)
    await hear(listener, heard, 451)
    await listener.run_once()
    assert heard.payloads == list(range(451))


async def test_an_event_that_commits_late_is_not_skipped(client: Client, pool: Pool, dsn: str) -> None:
    listener, heard = make_listener(pool)
    async with open_transaction(dsn) as late:
        await late.execute("BEGIN")
        await client.broadcast(TOPIC, "first", conn=late)
        await client.broadcast(TOPIC, "second")
        # The second is there to be read, and waits for the first.
        await listener.run_once()
        assert heard.payloads == []
        await late.execute("COMMIT")
    await hear(listener, heard, 2)
    assert heard.payloads == ["first", "second"]


async def test_no_event_is_skipped_whose_transaction_is_younger_than_the_last_that_ended(
    client: Client, pool: Pool, dsn: str
) -> None:
    listener, heard = make_listener(pool)
    async with open_transaction(dsn) as older, open_transaction(dsn) as younger:
        for conn in (older, younger):
            await conn.execute("BEGIN")
            await conn.execute("SELECT pg_current_xact_id()")
        # The later transaction draws the lower number, and no snapshot has ever seen it.
        await client.broadcast(TOPIC, "first", conn=younger)
        await client.broadcast(TOPIC, "second", conn=older)
        await older.execute("COMMIT")
        await listener.run_once()
        await listener.run_once()
        assert heard.payloads == []
        await younger.execute("COMMIT")
    await hear(listener, heard, 2)
    assert heard.payloads == ["first", "second"]


async def test_many_writers_that_commit_in_any_order_are_all_heard_in_order(
    client: Client, pool: Pool
) -> None:
    listener, heard = make_listener(pool)

    async def write(writer: int) -> None:
        for number in range(10):
            async with pool.transaction() as conn:
                drawn = await client.broadcast(TOPIC, [writer, number], conn=conn)
                await asyncio.sleep(0.001 * ((drawn * 7) % 5))

    async def listen() -> None:
        while len(heard.payloads) < 80:
            await listener.run_once()
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(listen(), *(write(writer) for writer in range(8)))
    assert len(heard.payloads) == 80
    rows = await query(pool, "SELECT payload FROM rkyc.broadcast ORDER BY id")
    assert heard.payloads == [payload.decode(row["payload"]) for row in rows]


async def test_what_was_rolled_back_is_told_to_nobody(client: Client, pool: Pool, dsn: str) -> None:
    listener, heard = make_listener(pool)
    async with open_transaction(dsn) as late:
        await late.execute("BEGIN")
        await client.broadcast(TOPIC, "never", conn=late)
        await late.execute("ROLLBACK")
    await client.broadcast(TOPIC, "said")
    await hear(listener, heard, 1)
    assert heard.payloads == ["said"]


async def test_an_event_whose_handler_fails_comes_again_before_the_next(client: Client, pool: Pool) -> None:
    listener, heard = make_listener(pool)
    for number in range(3):
        await client.broadcast(TOPIC, number)
    heard.failures_left = 2
    for _ in range(2):
        with pytest.raises(RuntimeError, match="meant to fail"):
            await hear(listener, heard, 3)
    await hear(listener, heard, 3)
    assert heard.payloads == [0, 1, 2]


async def test_a_new_process_begins_with_the_newest_full_refresh(client: Client, pool: Pool) -> None:
    cache = Cache(TOPIC, singular="character", plural="characters")
    publisher = CachePublisher(client, cache)
    await publisher.publish_full_refresh([{"id": 1}])
    await publisher.publish_upsert({"id": 2})
    await publisher.publish_full_refresh([{"id": number} for number in range(10_000)])
    await publisher.publish_delete(3)
    listener, heard = make_listener(pool)
    await hear(listener, heard, 2)
    assert [told["type"] for told in heard.payloads] == ["full_refresh", "delete"]
    assert len(heard.payloads[0]["characters"]) == 10_000


async def test_old_events_are_forgotten_but_not_what_a_new_process_needs(client: Client, pool: Pool) -> None:
    cache = Cache(TOPIC)
    publisher = CachePublisher(client, cache)
    await publisher.publish_upsert({"id": 1})
    await publisher.publish_full_refresh([{"id": 1}])
    await publisher.publish_upsert({"id": 2})
    await client.broadcast("news", "old")
    await query(pool, "UPDATE rkyc.broadcast SET at = at - $1::interval", timedelta(days=KEPT_DAYS + 1))
    await client.broadcast("news", "new")
    await drop_old_events(pool, DatabaseClock())
    rows = await query(pool, "SELECT topic, kind FROM rkyc.broadcast ORDER BY id")
    assert [tuple(row) for row in rows] == [(TOPIC, "full_refresh"), (TOPIC, "upsert"), ("news", "event")]


async def test_five_processes_keep_their_caches_equal_to_the_table(
    dsn: str, pool: Pool, client: Client
) -> None:
    await query(pool, "CREATE TABLE public.character (id int PRIMARY KEY, name text NOT NULL)")
    caches = [Cache(TOPIC, singular="character", plural="characters") for _ in range(5)]
    publisher = CachePublisher(client, caches[0])

    async def change(number: int) -> None:
        async with pool.transaction() as conn:
            key = number % 7
            if number % 5 == 4:
                # Only what was there: a delete that finds nothing takes no lock that would order it.
                if (
                    await conn.fetchval("DELETE FROM public.character WHERE id = $1 RETURNING id", key)
                    is not None
                ):
                    await publisher.publish_delete(key, conn=conn)
            else:
                name = f"name {number}"
                await conn.execute(
                    "INSERT INTO public.character VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                    key,
                    name,
                )
                await publisher.publish_upsert({"id": key, "name": name}, conn=conn)

    async def equal() -> bool:
        rows = {row["id"]: dict(row) for row in await query(pool, "SELECT * FROM public.character")}
        return all(dict(cache.entries) == rows for cache in caches)

    async with contextlib.AsyncExitStack() as stack:
        for cache in caches:
            registry = Registry()
            registry.subscribe(TOPIC, cache.apply)
            await stack.enter_async_context(serve(dsn, registry=registry))
        await publisher.publish_full_refresh([])
        await asyncio.gather(*(change(number) for number in range(60)))
        await wait_for(equal)
        # All their connections are cut; what changes meanwhile is heard afterwards.
        cut = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'rkyc%'"""
        await query(pool, cut)
        for number in range(60, 63):
            await change(number)
        await wait_for(equal)


async def test_a_topic_or_kind_that_can_not_be_kept_is_refused(client: Client) -> None:
    for topic, kind in (("", "event"), ("t" * 256, "event"), ("t", ""), ("t\0", "event")):
        with pytest.raises(InvalidInputError, match="can't be used"):
            await client.broadcast(topic, {}, kind=kind)
