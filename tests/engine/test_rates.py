"""Rates of starts: spaced in the whole fleet; a far one is waited for without a slot."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import DefinitionError
from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, wait_all_ended, wait_for, wait_status

pytestmark = pytest.mark.anyio


@step
async def start(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    return {}


def rated(**values: Any) -> Pipeline:
    return Pipeline("rated", 1, start.with_policy(limits=[Limit("calls", **values)]))


async def test_starts_are_spaced_over_all_workers(dsn: str, pool: Pool) -> None:
    began = dt.datetime.now(dt.UTC)
    async with serve(dsn, rated(rate=20, per_s=1)), serve(dsn, rated(rate=20, per_s=1)):
        await Client(pool=pool).enqueue_many("rated", [{}] * 12)
        await wait_all_ended(pool, 12)
    (row,) = await query(pool, "SELECT max(finished_at) AS at FROM rkyc.history")
    assert row["at"] - began >= dt.timedelta(seconds=11 / 20)


async def test_a_start_that_is_far_off_holds_no_slot_and_comes_at_its_time(dsn: str, pool: Pool) -> None:
    async with serve(dsn, rated(rate=1, per_s=3600, key="corp"), slots=1):
        client = Client(pool=pool)
        await wait_status(pool, await client.enqueue("rated", {"corp": "a"}))
        late = [await client.enqueue("rated", {"corp": "a"}) for _ in range(3)]

        async def are_waiting() -> bool:
            rows = await query(pool, "SELECT count(*) = 3 AS are FROM rkyc.waiting WHERE kind = 'limit'")
            return bool(rows[0]["are"])

        await wait_for(are_waiting, what="three that wait for their time")
        row = await wait_status(pool, late[0], "pending")
        assert (row["wait_reason"], row["wait_detail"]) == ("limit", "the rate of limit calls:a")
        assert await wait_status(pool, await client.enqueue("rated", {"corp": "b"}))
        # Each was let in for an hour of its own; the first one's hour has come.
        await query(
            pool,
            "UPDATE rkyc.limit_grant g SET start_at = now() FROM rkyc.job j WHERE j.id = g.job_id AND j.uuid = $1",
            late[0],
        )
        await query(
            pool,
            "UPDATE rkyc.waiting w SET due_at = now() FROM rkyc.job j WHERE j.id = w.job_id AND j.uuid = $1",
            late[0],
        )
        assert (await wait_status(pool, late[0]))["status"] == "completed"
        rows = await query(pool, "SELECT due_at FROM rkyc.waiting ORDER BY due_at")
        assert rows[1]["due_at"] - rows[0]["due_at"] >= dt.timedelta(minutes=59)


@pytest.mark.parametrize("values", [{"rate": 0}, {"rate": 1, "per_s": 0}, {"rate": 1, "burst": 0}])
def test_a_rate_that_can_not_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="limit calls"):
        Limit("calls", **values)
