"""Large payloads in blobs, sealed payloads, and the collector: nobody notices but the tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.collector import Collector
from rkyc.errors import EncryptionError, InvalidInputError, StorageDownloadError
from rkyc.flow import payload
from rkyc.flow.graph import chain, chord
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.store import blobs
from rkyc.store.crypto import TenantCodec, erase_tenant
from rkyc.store.pool import Pool
from tests.support.engine import announce, query, serve, wait_for, wait_status

pytestmark = pytest.mark.anyio
LARGE = 1_500_000
OLD_KEY, NEW_KEY = "11" * 32, "22" * 32
ONCE = RetryPolicy(max_attempts=1)


@step(retry=ONCE)
async def grow(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"text": input["text"][:10] + "한" * input.get("grows", 0)}


@step(retry=ONCE)
async def measure(ctx: Any, input: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    return {"input": len(input["text"]), "job": len(job["text"])}


@step(retry=ONCE)
async def join(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {name: len(one["text"]) for name, one in input.items()}


GROWING = Pipeline("growing", 1, chain(grow, measure))
LAST = Pipeline("growing-last", 1, chain(grow))
MEETING = Pipeline(
    "meeting", 1, chain(grow.named("first"), chord([grow.named("left"), grow.named("right")], join))
)
ALL = (GROWING, LAST, MEETING)


@pytest.fixture
async def client(dsn: str, pool: Pool) -> AsyncIterator[Client]:
    await announce(pool, *ALL)
    async with Client(dsn) as client:
        yield client


def codec(pool: Pool, master: str = NEW_KEY, *older: str) -> TenantCodec:
    async def give() -> Pool:
        return pool

    return TenantCodec(give, master=master, older=older)


async def stored(pool: Pool) -> str:
    """Return everything that the tables hold of inputs and outputs."""
    rows = await query(
        pool,
        """SELECT input::text AS t FROM rkyc.job UNION ALL SELECT output::text FROM rkyc.checkpoint
           UNION ALL SELECT result::text FROM rkyc.history WHERE result IS NOT NULL""",
    )
    return "\n".join(row["t"] for row in rows)


async def count(pool: Pool, table: str) -> int:
    return int((await query(pool, f"SELECT count(*) AS n FROM rkyc.{table}"))[0]["n"])


@pytest.mark.parametrize("way", ["alone", "key", "transaction", "bulk"])
async def test_a_large_input_travels_in_a_blob(client: Client, dsn: str, pool: Pool, way: str) -> None:
    value = {"text": "x" * LARGE}
    if way == "bulk":
        (job_id, _) = await client.enqueue_many("growing", [value, {"text": "small"}])
    elif way == "transaction":
        async with pool.transaction() as conn:
            job_id = await client.enqueue("growing", value, conn=conn)
    else:
        job_id = await client.enqueue("growing", value, idempotency_key="k" if way == "key" else None)
    (held,) = await query(pool, "SELECT input ? '$rkyc' AS large FROM rkyc.job WHERE uuid = $1", job_id)
    assert held["large"] and await count(pool, "blob_ref") == 1
    async with serve(dsn, *ALL):
        assert await client.result(job_id, 20) == {"input": 10, "job": LARGE}
    assert payload.decode((await client.get(job_id))["input"]) == value
    if way == "key":
        again = await client.submit("growing", value, idempotency_key="k")
        assert (again.job_id, again.is_new) == (job_id, False)


async def test_a_rolled_back_large_job_leaves_only_bytes_that_nobody_names(
    client: Client, pool: Pool
) -> None:
    async with pool.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await client.enqueue("growing", {"text": "x" * LARGE}, conn=conn)
        await transaction.rollback()
    assert (await count(pool, "job"), await count(pool, "blob_ref"), await count(pool, "blob")) == (0, 0, 1)


@pytest.mark.parametrize("pipeline", ["growing", "growing-last", "meeting"])
async def test_a_large_output_is_read_by_the_next_step_and_as_the_result(
    client: Client, dsn: str, pool: Pool, pipeline: str
) -> None:
    async with serve(dsn, *ALL):
        result = await client.result(
            await client.enqueue(pipeline, {"text": "0123456789", "grows": LARGE}), 20
        )
    if pipeline == "growing":
        assert result == {"input": 10 + LARGE, "job": 10}
    elif pipeline == "growing-last":
        assert len(result["text"]) == 10 + LARGE
    else:
        # Only the first one grew.
        assert result == {"left": 10, "right": 10}
    assert len(await stored(pool)) < 3000
    # Chunks are packed: Korean text of three bytes a letter.
    (chunk,) = await query(pool, "SELECT sum(length(data)) AS n FROM rkyc.blob_chunk")
    assert chunk["n"] < LARGE


async def test_small_payloads_stay_as_they_are(client: Client, dsn: str, pool: Pool) -> None:
    async with serve(dsn, *ALL):
        await client.result(await client.enqueue("growing", {"text": "small"}), 20)
    assert (await count(pool, "blob"), "$rkyc" in await stored(pool)) == (0, False)


async def test_the_engines_own_key_is_refused_from_outside(client: Client, dsn: str, pool: Pool) -> None:
    with pytest.raises(InvalidInputError, match=r"has a key '\$rkyc'"):
        await client.enqueue("growing", {"text": [{"$rkyc": {"size": 1, "blob": "00"}}]})

    @step(retry=ONCE)
    async def forge(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"$rkyc": {"size": 1}}

    async with serve(dsn, Pipeline("forging", 1, forge)):
        job_id = await client.enqueue("forging", {})
        assert (await wait_status(pool, job_id))["error_code"] == "OUTPUT_INVALID"
    # As a value it is a text like any other.
    async with serve(dsn, *ALL):
        assert await client.result(await client.enqueue("growing-last", {"text": '"$rkyc"'}), 20)


async def test_the_collector_takes_what_nobody_names(client: Client, dsn: str, pool: Pool) -> None:
    async with serve(dsn, *ALL):
        first = await client.enqueue("growing-last", {"text": "0123456789", "grows": LARGE})
        await client.result(first, 20)
    async with pool.connection() as conn:
        uploaded = await blobs.write_blob(conn, b"y" * LARGE)
        orphan = await blobs.write_payload(conn, b"z" * LARGE)
        await query(pool, "UPDATE rkyc.blob SET touched_at = touched_at - interval '2 days'")
        await query(
            pool, "INSERT INTO rkyc.blob_chunk VALUES (repeat('a', 64), 0, 'left', now() - interval '8 days')"
        )
        collector = Collector(pool)
        assert await collector.run_once() is not None
        await collector.run_once()
        left = {row["sha256"] for row in await query(pool, "SELECT sha256 FROM rkyc.blob")}
        assert orphan not in left and uploaded in left
        assert len(left) == 2
        assert not await query(
            pool, "SELECT FROM rkyc.blob_chunk WHERE sha256 IN ($1, repeat('a', 64))", orphan
        )
        # Its job goes, and so does what only it named.
        for table in ("history", "job"):
            await query(pool, f"DELETE FROM rkyc.{table}")
        await collector.run_once()
        assert {row["sha256"] for row in await query(pool, "SELECT sha256 FROM rkyc.blob")} == {uploaded}


async def test_a_payload_that_a_person_uploads_too_is_not_collected(pool: Pool) -> None:
    async with pool.connection() as conn:
        await blobs.write_payload(conn, b"the same")
        await blobs.write_blob(conn, b"the same")
        await blobs.write_payload(conn, b"the same")
        assert await blobs.collect(conn, payload_age_s=-1, chunk_age_s=-1) == 0
        assert await blobs.collect(conn, payload_age_s=-1, chunk_age_s=-1) == 0


async def test_the_collector_passes_over_what_a_transaction_is_about_to_name(
    client: Client, pool: Pool
) -> None:
    async with pool.connection() as conn, pool.connection() as collecting:
        transaction = conn.transaction()
        await transaction.start()
        await client.enqueue("growing", {"text": "x" * LARGE}, conn=conn)
        # Held by the transaction's lock, however old it seems.
        assert await blobs.collect(collecting, payload_age_s=-1, chunk_age_s=-1) == 0
        await transaction.commit()
        assert await blobs.collect(collecting, payload_age_s=-1, chunk_age_s=-1) == 0
    assert await count(pool, "blob") == 1


async def test_who_comes_after_the_collector_writes_again(client: Client, pool: Pool) -> None:
    async with pool.connection() as conn, pool.connection() as collecting:
        sha256 = await blobs.write_payload(conn, b"x" * LARGE)
        transaction = collecting.transaction()
        await transaction.start()
        assert await blobs.collect(collecting, payload_age_s=-1, chunk_age_s=-1) == 1
        holding = asyncio.create_task(blobs.hold_for_job(conn, sha256, 1))
        blocked = "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        await wait_for(lambda: query(pool, blocked), what="the wait for the collector")
        await transaction.commit()
        assert await holding is False


async def test_a_lost_blob_fails_the_step_by_its_code(client: Client, dsn: str, pool: Pool) -> None:
    job_id = await client.enqueue("growing", {"text": "x" * LARGE})
    await query(pool, "DELETE FROM rkyc.blob")
    async with serve(dsn, *ALL):
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", StorageDownloadError.error_code)
    # For people it is shown as the envelope that it is.
    assert "$rkyc" in (await client.get(job_id))["input"]


@pytest.mark.parametrize("size", [20, LARGE])
async def test_sealed_payloads_are_noise_to_the_database(dsn: str, pool: Pool, size: int) -> None:
    await announce(pool, *ALL)
    sealing = codec(pool)
    secret = "resident 900101-1234567 "
    async with Client(dsn, codec=sealing) as client, serve(dsn, *ALL, codec=codec(pool)):
        value = {"text": secret * (1 + size // len(secret))}
        job_id = await client.enqueue("growing-last", value, tenant="bank", idempotency_key="k")
        assert await client.result(job_id, 20) == {"text": value["text"][:10]}
        assert (
            await client.submit("growing-last", value, tenant="bank", idempotency_key="k")
        ).is_new is False
        assert payload.decode((await client.get(job_id))["input"]) == value
    assert "resident" not in await stored(pool)
    assert not await query(pool, "SELECT FROM rkyc.blob_chunk WHERE position('resident'::bytea IN data) > 0")
    async with Client(dsn) as without:
        with pytest.raises(EncryptionError, match="has no codec"):
            await without.result(job_id, 20)


async def test_keys_rotate_without_touching_a_payload(pool: Pool) -> None:
    key, sealed = await codec(pool, OLD_KEY).seal(b"secret", "bank")
    assert await codec(pool, NEW_KEY, OLD_KEY).open(sealed, "bank", key) == b"secret"
    with pytest.raises(EncryptionError, match="ENCRYPTION_KEY_V<n>"):
        await codec(pool, NEW_KEY).open(sealed, "bank", key)
    assert await codec(pool, NEW_KEY, OLD_KEY).rotate() == 1
    assert await codec(pool, NEW_KEY, OLD_KEY).rotate() == 0
    assert await codec(pool, NEW_KEY).open(sealed, "bank", key) == b"secret"


async def test_a_tenant_is_erased_by_its_key_and_no_other(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealing = codec(pool)
    key, sealed = await sealing.seal(b"secret", "bank")
    other, kept = await sealing.seal(b"kept", "shop")
    async with pool.connection() as conn:
        assert await erase_tenant(conn, "bank")
        assert not await erase_tenant(conn, "bank")
    monkeypatch.setattr("rkyc.store.crypto.CACHE_S", 0.0)
    with pytest.raises(EncryptionError, match="was deleted: what it sealed is erased"):
        await sealing.open(sealed, "bank", key)
    assert await sealing.open(kept, "shop", other) == b"kept"
    # A new key begins a new life of the tenant.
    assert (await sealing.seal(b"new", "bank"))[0] != key


async def test_what_was_changed_or_moved_to_another_tenant_does_not_open(pool: Pool) -> None:
    sealing = codec(pool)
    key, sealed = await sealing.seal(b"secret", "bank")
    for changed in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", sealed[1:]):
        with pytest.raises(EncryptionError, match="not what was sealed"):
            await sealing.open(changed, "bank", key)
    with pytest.raises(EncryptionError):
        await sealing.open(sealed, "shop", key)
    with pytest.raises(EncryptionError, match="64 hexadecimal digits"):
        codec(pool, "not a key")


@step(retry=ONCE)
async def hand_on(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    """Have a child grow what it is given, and measure what comes back."""
    given = await ctx.spawn("growing-last", {"text": input["text"], "grows": LARGE})
    return {"text": "", "got": len(given["text"])}


PARENT = Pipeline("handing-on", 1, hand_on)


async def test_what_a_child_gets_and_gives_may_be_large(dsn: str, pool: Pool) -> None:
    await announce(pool, PARENT, LAST)
    async with Client(dsn) as client, serve(dsn, PARENT, LAST):
        job_id = await client.enqueue("handing-on", {"text": "x" * LARGE})
        row = await wait_status(pool, job_id)
    assert payload.decode(row["result"]) == {"text": "", "got": 10 + LARGE}
    # Both inputs, and what the child gave.
    assert await count(pool, "blob") == 3
    assert len(await stored(pool)) < 10_000


async def test_a_child_is_sealed_for_the_tenant_of_its_parent(dsn: str, pool: Pool) -> None:
    await announce(pool, PARENT, LAST)
    async with Client(dsn, codec=codec(pool)) as client, serve(dsn, PARENT, LAST, codec=codec(pool)):
        job_id = await client.enqueue("handing-on", {"text": "a secret"}, tenant="bank")
        await wait_status(pool, job_id)
        assert await client.result(job_id) == {"text": "", "got": 8 + LARGE}
    assert "secret" not in await stored(pool)
    rows = await query(pool, "SELECT traits ->> 'tenant' AS tenant FROM rkyc.job")
    assert [row["tenant"] for row in rows] == ["bank", "bank"]
