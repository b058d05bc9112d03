"""`rkyc.why`: one line for every way in which a job stands still, and what would make it go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.engine.suspend import Suspend
from rkyc.errors import NotFoundError, PermanentException, RetryableException
from rkyc.flow import payload
from rkyc.flow.graph import chain
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.states import JobState, WaitReason
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.queue import restarts
from rkyc.testing.kit import Kit
from tests.support.engine import announce, query, serve, wait_for, wait_status

pytestmark = pytest.mark.anyio
CHILD = "019a0000-0000-7000-8000-000000000007"
LONG = datetime.now(UTC) + timedelta(days=3)


@step(retry=RetryPolicy(max_attempts=2, initial_s=3600.0, max_s=3600.0, jitter=False))
async def act(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    match input.get("how"):
        case "hang":
            await asyncio.Event().wait()
        case "busy":
            raise RetryableException("the other side is busy")
        case "never":
            raise PermanentException("no such company {why}")
        case "partly":
            ctx.warn("ODD", "odd")
        case "wait":
            due_at = datetime.fromtimestamp(input["due"], UTC) if "due" in input else None
            raise Suspend(input["kind"], input["key"], due_at, input.get("detail"))
        case _:
            pass
    return {}


PIPELINE = Pipeline("acting", 1, chain(act, act.named("after")))


@pytest.fixture
async def client(pool: Pool) -> Client:
    await announce(pool, PIPELINE)
    return Client(pool=pool)


async def why(client: Client, job_id: UUID) -> tuple[str, str, str]:
    row = await client.why(job_id)
    return row["reason"], row["why"], row["remedy"]


@contextlib.asynccontextmanager
async def served(dsn: str, **options: Any) -> AsyncIterator[None]:
    async with serve(dsn, PIPELINE, grace_s=0.0, **options):
        yield


async def test_a_lane_without_a_worker_is_named(client: Client) -> None:
    for _ in range(3):
        job_id = await client.enqueue("acting", {}, lane="low")
    assert await why(client, job_id) == (
        "lane_unserved",
        "lane low is served by no live worker",
        "start one: rkyc serve --lanes low",
    )


async def test_busy_slots_and_the_queue_before_it_are_told(client: Client, dsn: str, pool: Pool) -> None:
    async with served(dsn, slots=1):
        first = await client.enqueue("acting", {"how": "hang"})
        await wait_status(pool, first, "running")
        assert (await why(client, first))[0] == "running"
        await client.enqueue("acting", {})
        job_id = await client.enqueue("acting", {})

        async def is_told() -> bool:
            return (await why(client, job_id))[0] == "slots_busy"

        await wait_for(is_told, what="the beat that tells of the busy slot")
        assert (await why(client, job_id))[1] == (
            "all 1 slots of the 1 worker(s) of lane default are busy, and 1 task(s) are before it"
        )


async def test_a_long_queue_is_counted_up_to_a_bound(client: Client, pool: Pool) -> None:
    await _add_worker(pool)
    async with pool.transaction() as conn:
        ids = await client.enqueue_many("acting", [{}] * 1200, conn=conn)
    assert (await why(client, ids[-1]))[1] == "ready in lane default with more than 1000 task(s) before it"
    assert "with 5 task(s)" in (await why(client, ids[5]))[1]


async def test_a_job_for_later_and_its_deadline_are_told(client: Client) -> None:
    job_id = await client.enqueue("acting", {}, run_at=LONG, deadline_s=60)
    reason, said, _ = await why(client, job_id)
    assert reason == "scheduled"
    assert f"starts at {LONG:%Y-%m-%dT%H:%M:%SZ} (in 3 d), as it was enqueued; its deadline is " in said


async def test_a_retry_names_its_time_and_the_error(rkyc_kit: Kit) -> None:
    await rkyc_kit.enqueue(PIPELINE, {"how": "busy"})
    (job,) = await rkyc_kit.drain(within_s=1)
    async with rkyc_kit.client() as client:
        reason, said, remedy = await why(client, job.job_id)
    assert reason == "retry_backoff"
    assert "attempt 1 of step act failed (RETRYABLE the other side is busy); the next one is at " in said
    assert "(in 60 min)" in said
    assert remedy == "nothing: it is tried again by itself"


@pytest.mark.parametrize(
    ("kind", "key", "detail", "said", "remedy"),
    [
        ("signal", "approved", None, "waits for signal approved since ", "rkyc jobs signal {job} approved"),
        ("event", "rates", None, "waits for event rates since ", "publish it"),
        (
            "child",
            CHILD,
            f"waiting for child acting {CHILD}",
            f"waiting for child acting {CHILD}, since ",
            "rkyc jobs why CHILD",
        ),
        ("limit", "claude", None, "limit claude is taken", "when a place is free"),
        ("paused", "lane", "lane default is paused", ": lane default is paused", "rkyc jobs resume {job}"),
        ("batch", "rows", "3 of 50", ": 3 of 50", "when it is full or due"),
        ("dance", "partner", None, "waits (dance) for partner since ", "documentation"),
    ],
)
async def test_a_wait_says_for_what_and_what_ends_it(
    rkyc_kit: Kit, kind: str, key: str, detail: str | None, said: str, remedy: str
) -> None:
    job = await rkyc_kit.run_inline(PIPELINE, {"how": "wait", "kind": kind, "key": key, "detail": detail})
    async with rkyc_kit.client() as client:
        reason, text, remedy_text = await why(client, job.job_id)
    assert reason == (kind if kind != "dance" else "other")
    assert said in text
    assert remedy.format(job=job.job_id) in remedy_text


async def test_a_wait_for_a_rate_names_its_time_and_no_place(rkyc_kit: Kit) -> None:
    wait = {
        "kind": "limit",
        "key": "rate/starts/slow",
        "detail": "the rate of limit slow",
        "due": LONG.timestamp(),
    }
    await rkyc_kit.enqueue(PIPELINE, {"how": "wait"} | wait)
    (job,) = await rkyc_kit.drain(within_s=1)
    async with rkyc_kit.client() as client:
        reason, text, remedy = await why(client, job.job_id)
    assert reason == "rate"
    assert f"waits for the rate of limit slow until {LONG:%Y-%m-%dT%H:%M:%SZ} (in 3 d), since 2" in text
    assert remedy == "nothing: it goes on at its time; a higher rate lets more begin"


async def test_a_wait_with_a_limit_names_it(rkyc_kit: Kit) -> None:
    wait = {"how": "wait", "kind": "signal", "key": "approved", "due": LONG.timestamp()}
    await rkyc_kit.enqueue(PIPELINE, wait)
    (job,) = await rkyc_kit.drain(within_s=1)
    async with rkyc_kit.client() as client:
        _, said, _ = await why(client, job.job_id)
    assert said.endswith(f", until {LONG:%Y-%m-%dT%H:%M:%SZ} at most")


async def test_a_version_that_nobody_serves_is_named(client: Client, dsn: str, pool: Pool) -> None:
    old = await client.enqueue("acting", {})
    async with serve(dsn, Pipeline("acting", 2, act), Pipeline("other", 1, act)):
        await wait_status(pool, old, "pending")

        async def is_blocked() -> bool:
            return (await why(client, old))[0] == "version_blocked"

        await wait_for(is_blocked, what="the job to be parked")
    _, said, remedy = await why(client, old)
    assert "no live worker serves version 1 of pipeline acting, since " in said
    assert said.endswith("; the newest one is 2")
    assert remedy == "keep a worker with version 1 until its jobs are done"


async def test_the_end_of_a_job_says_how_and_what_to_do(rkyc_kit: Kit) -> None:
    told = {}
    for how in ("well", "partly", "never"):
        job = await rkyc_kit.run_inline(PIPELINE, {"how": how})
        async with rkyc_kit.client() as client:
            told[how] = (*await why(client, job.job_id), job.job_id)
    assert told["well"][0] == "completed"
    assert told["partly"][0] == "partial"
    reason, said, remedy, job_id = told["never"]
    assert reason == "failed"
    # What looks like a place to fill in is only text of the error.
    assert "permanent after 1 attempt(s): PERMANENT no such company {why}" in said
    assert f"rkyc jobs retry {job_id}" in remedy


async def test_a_cancelled_job_says_by_what(client: Client) -> None:
    job_id = await client.enqueue("acting", {})
    await client.cancel(job_id, "not wanted")
    reason, said, _ = await why(client, job_id)
    assert (reason, said.endswith("in step act: not wanted")) == ("cancelled", True)


async def test_a_worker_that_is_gone_is_named(client: Client, dsn: str, pool: Pool) -> None:
    async with served(dsn):
        job_id = await client.enqueue("acting", {"how": "hang"})
        await wait_status(pool, job_id, "running")
        # Its presence seems to be another session: as after a kill, before anyone took the task over.
        await query(pool, "UPDATE rkyc.running SET worker_id = 0")
        await query(
            pool,
            """INSERT INTO rkyc.worker (id, name, host, pid, version, lanes, slots, presence_at, started_at, beat_at)
               OVERRIDING SYSTEM VALUE
               VALUES (0, 'the dead', 'h', 1, '', '{}', 1, clock_timestamp(), clock_timestamp(), clock_timestamp())""",
        )
        reason, said, _ = await why(client, job_id)
    assert (reason, "was on the dead, whose presence is gone" in said) == ("worker_lost", True)


async def test_an_unknown_job_is_not_explained(client: Client) -> None:
    with pytest.raises(NotFoundError):
        await client.why(make_uuid7(0, bytes(RANDOM_BYTES)))


async def test_every_reason_to_wait_and_every_end_has_its_line(pool: Pool) -> None:
    names = {row["name"] for row in await query(pool, "SELECT name FROM rkyc.reason")}
    assert {reason.value for reason in WaitReason} <= names
    assert {state.value for state in JobState if state.is_terminal} <= names


async def test_facts_are_for_programs(client: Client) -> None:
    job_id = await client.enqueue("acting", {}, lane="high")
    facts = payload.decode((await client.why(job_id))["facts"])
    assert (facts["job"], facts["lane"], facts["step"], facts["workers"]) == (str(job_id), "high", "act", 0)


async def test_a_turn_that_has_not_come_is_named(client: Client, dsn: str, pool: Pool) -> None:
    ids = [await client.enqueue("acting", {"how": "hang"}, fair_key="bank") for _ in range(3)]
    async with served(dsn, slots=1):
        told = await wait_for(lambda: _of_kind(client, ids, "fair"), what="a job that waits for its turn")
    assert told[1].startswith("waits for its turn since ")
    assert "bank" in told[1]


@pytest.mark.parametrize("fair_key", [None, "bank"])
async def test_a_job_is_told_what_its_lane_lacks_with_a_key_and_without(
    client: Client, pool: Pool, fair_key: str | None
) -> None:
    job_id = await client.enqueue("acting", {}, fair_key=fair_key)
    assert await why(client, job_id) == (
        "lane_unserved",
        "lane default is served by no live worker",
        "start one: rkyc serve --lanes default",
    )
    worker_id = await _add_worker(pool)
    # It has not told yet what it serves.
    assert (await why(client, job_id))[0] == ("queued" if fair_key is None else "fair")
    await _serve_edition(pool, worker_id, 2)
    assert await why(client, job_id) == (
        "version_unserved",
        "no live worker of lane default serves version 1 of pipeline acting",
        "start one that does: rkyc serve --app MODULE:REGISTRY --lanes default",
    )
    await _serve_edition(pool, await _add_worker(pool), 1)
    reason, said, _ = await why(client, job_id)
    facts = payload.decode((await client.why(job_id))["facts"])
    assert (facts["workers"], facts["serving"], facts["slots"]) == (2, 1, 2)
    if fair_key is None:
        assert (reason, facts["ahead"]) == ("queued", "0")
    else:
        assert (reason, facts["ahead"]) == ("fair", None)
        assert said.startswith("waits for its turn since ")


@pytest.mark.parametrize("serves", [False, True])
@pytest.mark.parametrize("fair_key", [None, "bank"])
async def test_a_paused_lane_is_named_whoever_serves_it(
    client: Client, pool: Pool, fair_key: str | None, serves: bool
) -> None:
    job_id = await client.enqueue("acting", {}, fair_key=fair_key)
    await client.pause_all("lane", "default", "the bank is down", by="kim")
    if serves:
        await _serve_edition(pool, await _add_worker(pool), 2)
    reason, said, remedy = await why(client, job_id)
    assert (reason, remedy) == ("paused", "rkyc lanes resume default")
    assert "lane default is paused by kim since " in said and said.endswith(": the bank is down")


async def _add_worker(pool: Pool) -> int:
    """Register a worker that beats now and has no presence."""
    rows = await query(
        pool,
        """INSERT INTO rkyc.worker (name, host, pid, version, lanes, slots, started_at, beat_at)
           VALUES ('w', 'h', 1, '', '{default}', 1, clock_timestamp(), clock_timestamp()) RETURNING id""",
    )
    return int(rows[0]["id"])


async def _serve_edition(pool: Pool, worker_id: int, version: int) -> None:
    async with pool.connection() as conn:
        await restarts.register_editions(conn, worker_id, Registry([Pipeline("acting", version, act)]), {})


async def _of_kind(client: Client, ids: list[UUID], reason: str) -> tuple[str, str, str] | None:
    told = [await why(client, job_id) for job_id in ids]
    return next((one for one in told if one[0] == reason), None)
