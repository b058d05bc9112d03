"""The audit trail: what people do is noted in the transaction of the deed, and what programs send is not."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from rkyc.engine.client import Client
from rkyc.errors import ConflictError, EncryptionError, NotFoundError
from rkyc.store.crypto import erase_tenant
from rkyc.store.pool import Pool
from tests.engine.test_payloads import NEW_KEY, OLD_KEY, codec
from tests.support.engine import announce, query
from tests.support.waiters import registry

pytestmark = pytest.mark.anyio
KIM = "cli:kim@desk"


@pytest.fixture
async def client(pool: Pool) -> Client:
    await announce(pool, *registry)
    return Client(pool=pool)


async def trail(pool: Pool) -> list[tuple[str, str, str, str, Any]]:
    rows = await query(
        pool, "SELECT who, action, kind, object, details::text AS details FROM rkyc.audit ORDER BY id"
    )
    return [
        (row["who"], row["action"], row["kind"], row["object"], json.loads(row["details"])) for row in rows
    ]


async def add_job(client: Client) -> UUID:
    return await client.enqueue("approved", {"job": "1"}, budget_usd=1)


async def test_a_signal_of_a_person_is_noted_and_one_of_a_program_is_not(client: Client, pool: Pool) -> None:
    job_id = await add_job(client)
    await client.signal(job_id, "approve", {"by": "a program"})
    await client.signal(job_id, "approve", {"by": "a webhook"}, source="webhook", delivery_id="w")
    assert await trail(pool) == []
    await client.signal(job_id, "approve", {"ok": True}, source="api", by="api:10.0.0.7")
    assert await client.signal(job_id, "approve", {"ok": True}, source="cli", by=KIM, delivery_id="a")
    # The same delivery did nothing the second time.
    assert not await client.signal(job_id, "approve", {"ok": True}, source="cli", by=KIM, delivery_id="a")
    assert await trail(pool) == [
        ("api:10.0.0.7", "job.signal", "job", str(job_id), {"name": "approve"}),
        (KIM, "job.signal", "job", str(job_id), {"name": "approve", "delivery_id": "a"}),
    ]


async def test_an_event_that_a_person_publishes_is_noted(client: Client, pool: Pool) -> None:
    await client.publish("rates", 1)
    await client.publish("rates", 2, source="cli", by=KIM)
    assert await trail(pool) == [(KIM, "event.publish", "topic", "rates", {"woken": 0})]


async def test_money_that_a_person_adds_is_noted(client: Client, pool: Pool) -> None:
    job_id = await add_job(client)
    await client.add_budget(job_id, 2.5, by=KIM)
    assert await trail(pool) == [(KIM, "job.add_budget", "job", str(job_id), {"added_usd": 2.5})]


async def test_keys_that_are_rotated_or_erased_are_noted(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rkyc.store.crypto._ROTATED_AT_ONCE", 2)
    for tenant in ("a", "b", "c"):
        await codec(pool, OLD_KEY).seal(b"secret", tenant)
    assert await codec(pool, NEW_KEY, OLD_KEY).rotate(by=KIM) == 3
    assert await codec(pool, NEW_KEY, OLD_KEY).rotate(by=KIM) == 0
    async with pool.connection() as conn:
        assert await erase_tenant(conn, "b", by=KIM)
        assert not await erase_tenant(conn, "b", by=KIM)
    (master,) = {row["master"] for row in await query(pool, "SELECT master FROM rkyc.tenant_key")}
    assert await trail(pool) == [
        (KIM, "keys.rotate", "master_key", master, {"rotated": 2}),
        (KIM, "keys.rotate", "master_key", master, {"rotated": 1}),
        (KIM, "keys.erase", "tenant", "b", {}),
    ]


async def test_a_key_that_can_not_be_unwrapped_stops_a_rotation_and_what_was_noted_was_done(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.store.crypto._ROTATED_AT_ONCE", 1)
    await codec(pool, OLD_KEY).seal(b"secret", "a")
    await codec(pool, "33" * 32).seal(b"secret", "b")
    with pytest.raises(EncryptionError, match="which is not given"):
        await codec(pool, NEW_KEY, OLD_KEY).rotate()
    (moved,) = await query(
        pool, "SELECT count(*) AS n FROM rkyc.tenant_key k JOIN rkyc.audit a ON a.object = k.master"
    )
    assert moved["n"] == len(await trail(pool)) <= 1


async def test_what_is_refused_or_rolled_back_leaves_no_entry(client: Client, pool: Pool) -> None:
    job_id = await add_job(client)
    await codec(pool, OLD_KEY).seal(b"secret", "bank")
    with pytest.raises(NotFoundError):
        await client.signal(uuid4(), "approve", source="cli", by=KIM)
    with pytest.raises(NotFoundError):
        await client.add_budget(uuid4(), 1, by=KIM)
    async with pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await client.signal(job_id, "approve", source="cli", by=KIM, conn=conn)
        await client.publish("rates", 1, source="cli", by=KIM, conn=conn)
        await erase_tenant(conn, "bank", by=KIM)
        await transaction.rollback()
    await client.cancel(job_id, by="somebody")
    with pytest.raises(ConflictError):
        await client.signal(job_id, "approve", source="cli", by=KIM)
    with pytest.raises(ConflictError):
        await client.add_budget(job_id, 1, by=KIM)
    assert [action for _, action, *_ in await trail(pool)] == ["job.cancel"]


async def test_a_deed_whose_entry_can_not_be_written_is_not_done(client: Client, pool: Pool) -> None:
    """An entry needs somebody who did it: here nobody is named, and the database refuses it."""
    job_id = await add_job(client)
    await codec(pool, OLD_KEY).seal(b"secret", "bank")

    async def erase() -> None:
        async with pool.connection() as conn:
            await erase_tenant(conn, "bank", by="")

    before = await kept(pool)
    deeds: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.signal(job_id, "approve", source="cli", by=""),
        lambda: client.publish("rates", 1, source="api", by=""),
        lambda: client.add_budget(job_id, 1, by=""),
        lambda: codec(pool, NEW_KEY, OLD_KEY).rotate(by=""),
        erase,
    ]
    for deed in deeds:
        with pytest.raises(asyncpg.CheckViolationError):
            await deed()
    assert (await kept(pool), await trail(pool)) == (before, [])


async def kept(pool: Pool) -> list[Any]:
    """Return what the deeds would change."""
    rows = await query(
        pool,
        """SELECT (SELECT count(*) FROM rkyc.signal) AS signals, (SELECT count(*) FROM rkyc.published) AS events,
                  (SELECT sum(added_usd) FROM rkyc.job_budget) AS usd, (SELECT min(master) FROM rkyc.tenant_key) AS master""",
    )
    return list(rows[0].values())
