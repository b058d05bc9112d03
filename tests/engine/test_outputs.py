"""What one step of a job gave: the newest that counts, opened, by the item where it is part of a map."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from rkyc.engine.client import Client
from rkyc.errors import EncryptionError, InvalidInputError, NotFoundError, StorageDownloadError
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.engine.test_maps import READING, job
from tests.engine.test_payloads import GROWING, LARGE, codec
from tests.engine.test_waits import wait_reason
from tests.support.engine import announce, query, serve, wait_status
from tests.support.waiters import registry

pytestmark = pytest.mark.anyio


async def test_the_newest_output_that_counts_is_found(dsn: str, pool: Pool) -> None:
    numbers = itertools.count()

    @step
    async def number(ctx: Any) -> dict[str, Any]:
        return {"n": next(numbers)}

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("numbered", 1, chain(number, number.named("second")))):
        job_id = await client.enqueue("numbered", {})
        assert await client.result(job_id, 15) == {"n": 1}
        assert await client.output(job_id, "number") == {"n": 0}
        # The last step's, which is the result.
        assert await client.output(job_id, "second") == await client.output(job_id) == {"n": 1}
        await client.retry_from(job_id, "second")
        assert await client.result(job_id, 15) == {"n": 2}
    assert await client.output(job_id, "number") == {"n": 0}
    assert await client.output(job_id, "second") == {"n": 2}


async def test_a_job_under_way_shows_what_it_has_done_so_far(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("approved", job(tmp_path))
        await wait_reason(pool, job_id, "signal")
        found = await client.find_output(job_id)
        assert (found.step, found.text, found.item) == ("begin", '{"of": "1"}', None)
        with pytest.raises(NotFoundError, match="no output of a step 'approve': there is begin"):
            await client.output(job_id, "approve")


async def test_what_is_not_there_is_told_with_what_there_is(pool: Pool) -> None:
    await announce(pool, *registry)
    client = Client(pool=pool)
    with pytest.raises(NotFoundError, match="rkyc jobs list"):
        await client.output(uuid4())
    job_id = await client.enqueue("approved", {"job": "1"})
    for name in (None, "begin", "nonsense"):
        with pytest.raises(NotFoundError, match="none of its steps has completed"):
            await client.output(job_id, name)


@pytest.mark.parametrize("size", [0, LARGE])
async def test_an_output_is_opened_where_it_lies_in_a_blob_or_is_sealed(
    dsn: str, pool: Pool, size: int
) -> None:
    await announce(pool, GROWING)
    async with Client(dsn, codec=codec(pool)) as client, serve(dsn, GROWING, codec=codec(pool)):
        job_id = await client.enqueue("growing", {"text": "x", "grows": size}, tenant="bank")
        await client.result(job_id, 15)
        assert await client.output(job_id, "grow") == {"text": "x" + "한" * size}
        with pytest.raises(EncryptionError, match="has no codec"):
            await Client(pool=pool).output(job_id, "grow")
        if size:
            await query(pool, "DELETE FROM rkyc.blob")
            with pytest.raises(StorageDownloadError):
                await client.output(job_id, "grow")


async def read_files(dsn: str, pool: Pool, tmp_path: Path, *elements: Any) -> UUID:
    """Return a job that has read these, each as an item of a map."""
    async with serve(dsn, READING):
        job_id = await Client(pool=pool).enqueue("reading", job(tmp_path, *elements))
        assert (await wait_status(pool, job_id))["status"] == "completed"
    return job_id


async def test_an_item_is_named_by_its_key_or_its_number(dsn: str, pool: Pool, tmp_path: Path) -> None:
    names = ("a", "b", "b", "0", 7)
    job_id = await read_files(dsn, pool, tmp_path, *({"name": name} for name in names), {"n": 1})
    client = Client(pool=pool)

    async def index_of(item: str) -> int:
        found = await client.find_output(job_id, "read", item=item)
        value = await client.output(job_id, "read", item=item)
        assert (value["index"], value["key"]) == (found.item, found.item_key)
        return int(value["index"])

    # A key goes before a number; an element without the field has its number for a key.
    said = {"a": 0, "0": 3, "1": 1, "2": 2, "7": 4, "4": 4, "5": 5}
    assert {item: await index_of(item) for item in said} == said
    with pytest.raises(InvalidInputError, match="several have the key 'b': name one by its number: 1, 2"):
        await client.output(job_id, "read", item="b")
    with pytest.raises(InvalidInputError, match=r"name one of 6, by its key or number: a, b, b, 0, 7, 5$"):
        await client.output(job_id, "read")
    for item in ("c", "6", "-1", "٣", "", "\0", "\udcff", "9" * 30):
        with pytest.raises(NotFoundError, match=r"none of 6 is .*: there is a, b"):
            await client.output(job_id, "read", item=item)
    with pytest.raises(InvalidInputError, match=r"step collect .* leave the item out"):
        await client.output(job_id, "collect", item="a")
    assert len((await client.output(job_id, "collect"))["results"]) == 6


async def test_of_many_items_some_are_named(dsn: str, pool: Pool, tmp_path: Path) -> None:
    job_id = await read_files(dsn, pool, tmp_path, *range(30))
    with pytest.raises(InvalidInputError, match=r"name one of 30, by its key or number: 0, 1, .*, 19, …$"):
        await Client(pool=pool).output(job_id, "read")
    assert (await Client(pool=pool).output(job_id, "read", item="29"))["index"] == 29
