"""Many calls at once: one statement, each answered for itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.enqueuer import Enqueuer
from rkyc.errors import InvalidInputError, UnknownPipelineError
from rkyc.flow.ids import make_uuid7
from rkyc.store.pool import Pool
from rkyc.store.queue.jobs import NewJobs
from tests.support.crashes import make_input
from tests.support.engine import announce, query, serve, wait_all_ended
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


def make_id(number: int) -> Any:
    return make_uuid7(0, number.to_bytes(10, "big"))


async def count_transactions(pool: Pool) -> int:
    rows = await query(pool, "SELECT count(DISTINCT xmin::text) AS n FROM rkyc.job")
    return int(rows[0]["n"])


async def test_calls_that_come_together_share_a_statement(pool: Pool) -> None:
    await announce(pool, *registry)
    client = Client(pool=pool)
    ids = await asyncio.gather(*(client.enqueue("single", {"n": n}) for n in range(200)))
    rows = await query(pool, "SELECT uuid, (input ->> 'n')::int AS n FROM rkyc.job")
    assert {row["n"]: row["uuid"] for row in rows} == dict(enumerate(ids))
    # The first found nobody to share with, and did not wait.
    assert await count_transactions(pool) == 2


async def test_calls_that_differ_in_more_than_the_input_each_get_what_they_asked_for(pool: Pool) -> None:
    await announce(pool, *registry)
    client = Client(pool=pool)
    lanes = ["high", "low", "default"] * 5
    ids = await asyncio.gather(*(client.enqueue("single", {}, lane=lane) for lane in lanes))
    rows = await query(pool, "SELECT uuid, lane FROM rkyc.job")
    assert {row["uuid"]: row["lane"] for row in rows} == dict(zip(ids, lanes, strict=True))


async def test_nobody_fails_for_a_neighbour(pool: Pool) -> None:
    await announce(pool, *registry)

    async def give_pool() -> Pool:
        return pool

    enqueuer = Enqueuer(give_pool)
    new = NewJobs("single")
    # Postgres refuses the third, which shares a statement with the others.
    texts = ["{}", '{"n": 1}', '{"n": 1e999999}', '{"n": 3}']
    ended = await asyncio.gather(
        *(enqueuer.put(new, make_id(n), text) for n, text in enumerate(texts)), return_exceptions=True
    )
    assert [type(each) for each in ended] == [type(None), type(None), InvalidInputError, type(None)]
    rows = await query(pool, "SELECT uuid FROM rkyc.job ORDER BY id")
    assert [row["uuid"] for row in rows] == [make_id(0), make_id(1), make_id(3)]


async def test_an_unknown_pipeline_is_told_to_each_who_asked_for_it(pool: Pool) -> None:
    await announce(pool, *registry)
    client = Client(pool=pool)
    ended = await asyncio.gather(
        *(client.enqueue(name, {}) for name in ("nobody", "single", "nobody", "single")),
        return_exceptions=True,
    )
    assert [isinstance(each, UnknownPipelineError) for each in ended] == [True, False, True, False]
    assert len(await query(pool, "SELECT id FROM rkyc.job")) == 2


async def test_a_caller_who_gives_up_takes_nobody_along(pool: Pool) -> None:
    await announce(pool, *registry)
    client = Client(pool=pool)
    calls = [asyncio.create_task(client.enqueue("single", {"n": n})) for n in range(10)]
    await asyncio.sleep(0)
    calls[4].cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in ended].count(True) == 1
    kept = {row["uuid"] for row in await query(pool, "SELECT uuid FROM rkyc.job")}
    assert {each for each in ended if not isinstance(each, BaseException)} <= kept


async def test_bursts_of_calls_are_all_heard(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, registry=registry, slots=50):
        client = Client(pool=pool)
        for burst in range(5):
            await asyncio.gather(
                *(client.enqueue("single", make_input(tmp_path, burst * 20 + n)) for n in range(20))
            )
        assert await wait_all_ended(pool, 100) == {"completed": 100}
