"""Schedules on a database: who fires, what is started, with fixed instants; and one worker that serves them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine.client import Client
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.payloads import Payloads
from rkyc.engine.scheduler import Scheduler
from rkyc.engine.schedules import declare_schedules
from rkyc.errors import ConflictError, DefinitionError, NotFoundError, UnknownLaneError, UnknownPipelineError
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.schedule import Schedule
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import announce, query, serve, wait_all_ended, wait_for, wait_status

pytestmark = pytest.mark.anyio

NOW = datetime(2030, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)


@step
async def note(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    return {"got": job}


NOTED = Pipeline("noted", 1, note)


def make_scheduler(pool: Pool) -> Scheduler:
    async def give() -> Pool:
        return pool

    return Scheduler(
        pool=pool, clock=DatabaseClock(), payloads=Payloads(give), cancel=Client(pool=pool).cancel
    )


async def add(pool: Pool, due_at: datetime, **options: Any) -> Client:
    """Add the schedule `nightly`, due for the first time at an instant."""
    await announce(pool, NOTED)
    client = Client(pool=pool)
    await client.schedules.add(
        Schedule("nightly", "noted", {"n": 1}, **{"interval_s": 1.0, "overlap": "allow", **options})
    )
    await query(pool, "UPDATE rkyc.schedule SET next_fire = $1", due_at)
    return client


async def fire(pool: Pool, now: datetime) -> int:
    """Fire all that is due and return how many looks found something."""
    scheduler, looks = make_scheduler(pool), 0
    while await scheduler.fire_next(now):
        looks += 1
    return looks


async def list_ticks(pool: Pool) -> list[str]:
    rows = await query(
        pool,
        "SELECT metadata ->> 'tick' AS tick FROM rkyc.job WHERE metadata ->> 'schedule' = 'nightly' ORDER BY id",
    )
    return [datetime.fromisoformat(row["tick"]).strftime("%M:%S") for row in rows]


async def end_job(pool: Pool, number: int) -> UUID:
    """End the n-th job by cancelling it."""
    rows = await query(pool, "SELECT uuid FROM rkyc.job ORDER BY id OFFSET $1 LIMIT 1", number)
    await Client(pool=pool).cancel(rows[0]["uuid"])
    job_id: UUID = rows[0]["uuid"]
    return job_id


async def test_each_tick_starts_one_job_whose_metadata_names_it(pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=3.5), catch_up="all")
    assert await fire(pool, NOW) == 1
    assert await list_ticks(pool) == ["59:57", "59:58", "59:59", "00:00"]
    (row,) = await Client(pool=pool).schedules.list()
    assert row["next_fire"] == NOW + timedelta(seconds=0.5)
    assert row["last_fire"] == NOW - timedelta(seconds=0.5)
    assert await fire(pool, NOW) == 0


async def test_many_that_fire_at_once_start_each_tick_once(pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=49.5), catch_up="all")
    await asyncio.gather(*(fire(pool, NOW) for _ in range(8)))
    ticks = await list_ticks(pool)
    assert len(ticks) == len(set(ticks)) == 50


async def test_a_tick_that_was_fired_starts_nothing_again(pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=1.5), catch_up="all")
    await fire(pool, NOW)
    # Whatever set the schedule back: a restored backup, a person.
    await query(pool, "UPDATE rkyc.schedule SET next_fire = next_fire - interval '2 seconds'")
    await fire(pool, NOW)
    assert await list_ticks(pool) == ["59:59", "00:00"]


async def test_a_firing_that_dies_before_its_commit_leaves_nothing(pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=0.5))
    scheduler = make_scheduler(pool)

    class Died(Exception):
        pass

    async def die(*_: Any, **__: Any) -> None:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rkyc.store.queue.schedules.advance_schedule", die)
        with pytest.raises(Died):
            await scheduler.fire_next(NOW)
    assert await list_ticks(pool) == []
    await fire(pool, NOW)
    assert await list_ticks(pool) == ["00:00"]


async def test_skip_leaves_out_the_ticks_while_a_job_runs(pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=0.5), overlap="skip")
    await fire(pool, NOW)
    await fire(pool, NOW + timedelta(seconds=1))
    assert await list_ticks(pool) == ["00:00"]
    await end_job(pool, 0)
    await fire(pool, NOW + timedelta(seconds=2))
    assert await list_ticks(pool) == ["00:00", "00:02"]


async def test_cancel_ends_the_job_before(pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=0.5), overlap="cancel")
    await fire(pool, NOW)
    await fire(pool, NOW + timedelta(seconds=1))
    assert await list_ticks(pool) == ["00:00", "00:01"]
    rows = await query(pool, "SELECT status FROM rkyc.job_status ORDER BY created_at")
    assert [row["status"] for row in rows] == ["cancelled", "pending"]


async def test_queued_ticks_run_one_after_the_other_in_their_order(pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=2.5), overlap="queue", catch_up="all")
    await fire(pool, NOW)
    assert await list_ticks(pool) == ["59:58", "59:59", "00:00"]

    async def reasons() -> list[Any]:
        rows = await query(
            pool,
            "SELECT coalesce(wait_reason, status) AS reason FROM rkyc.job_status ORDER BY created_at, job_id",
        )
        return [row["reason"] for row in rows]

    assert await reasons() == ["queued", "turn", "turn"]
    # One that waits and is cancelled gives nobody its turn.
    await end_job(pool, 1)
    await fire(pool, NOW + timedelta(seconds=1))
    assert await reasons() == ["queued", "cancelled", "turn", "turn"]
    # The end of the first gives its turn to the next, in one commit.
    await end_job(pool, 0)
    assert await reasons() == ["cancelled", "cancelled", "queued", "turn"]
    # What a newer or older program left without a turn gets it with the next tick.
    await query(pool, "UPDATE rkyc.job SET traits = NULL")
    await end_job(pool, 2)
    assert await reasons() == ["cancelled", "cancelled", "cancelled", "turn"]
    await fire(pool, NOW + timedelta(seconds=2))
    assert await reasons() == ["cancelled", "cancelled", "cancelled", "queued", "turn"]


async def test_what_waits_for_a_turn_goes_on_in_order_when_its_schedule_is_removed(pool: Pool) -> None:
    client = await add(pool, NOW - timedelta(seconds=2.5), overlap="queue", catch_up="all")
    await fire(pool, NOW)
    await client.schedules.remove("nightly")

    async def reasons() -> list[str]:
        rows = await query(
            pool, "SELECT wait_reason, status FROM rkyc.job_status ORDER BY created_at, job_id"
        )
        return [row["wait_reason"] or row["status"] for row in rows]

    assert await reasons() == ["queued", "turn", "turn"]
    await end_job(pool, 0)
    assert await reasons() == ["cancelled", "queued", "turn"]
    await end_job(pool, 1)
    assert await reasons() == ["cancelled", "cancelled", "queued"]


async def test_a_schedule_that_was_removed_and_comes_again_waits_for_what_still_runs(pool: Pool) -> None:
    client = await add(pool, NOW - timedelta(seconds=0.5), overlap="queue", catch_up="all")
    await fire(pool, NOW)
    await client.schedules.remove("nightly")
    await add(pool, NOW + timedelta(seconds=0.5), overlap="queue", catch_up="all")
    await fire(pool, NOW + timedelta(seconds=1))
    rows = await query(pool, "SELECT wait_reason FROM rkyc.job_status ORDER BY created_at, job_id")
    assert [row["wait_reason"] for row in rows] == ["queued", "turn"]
    await end_job(pool, 0)
    rows = await query(pool, "SELECT wait_reason FROM rkyc.job_status WHERE status = 'pending'")
    assert [row["wait_reason"] for row in rows] == ["queued"]


@step
async def go_on_once(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    if not job.get("again"):
        ctx.continue_as_new({"again": True})
    await ctx.wait_signal("end")
    return {}


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("skip", ["completed", "signal"]),
        ("queue", ["completed", "signal", "turn"]),
        ("cancel", ["completed", "cancelled", "queued"]),
    ],
)
async def test_the_next_run_of_an_endless_job_counts_for_its_schedule(
    dsn: str, pool: Pool, overlap: str, expected: list[str]
) -> None:
    await add(pool, NOW - timedelta(seconds=0.5), overlap=overlap)
    await fire(pool, NOW)

    async def reasons() -> list[str]:
        rows = await query(
            pool, "SELECT wait_reason, status FROM rkyc.job_status ORDER BY created_at, job_id"
        )
        return [row["wait_reason"] or row["status"] for row in rows]

    async def waits() -> bool:
        return await reasons() == ["completed", "signal"]

    endless = Pipeline("noted", 1, go_on_once.named("note"))
    async with serve(dsn, endless):
        await wait_for(waits, what="the second run")
    await fire(pool, NOW + timedelta(seconds=1))
    assert await reasons() == expected
    if overlap == "queue":
        await end_job(pool, 1)
        assert await reasons() == ["completed", "cancelled", "queued"]


async def test_a_worker_runs_queued_ticks_without_overlap(dsn: str, pool: Pool) -> None:
    await add(pool, NOW - timedelta(seconds=5.5), overlap="queue", catch_up="all")
    await fire(pool, NOW)
    async with serve(dsn, NOTED, slots=10):
        assert await wait_all_ended(pool, 6) == {"completed": 6}
    rows = await query(
        pool,
        """SELECT h.started_at >= lag(h.finished_at) OVER (ORDER BY j.id) AS is_after
           FROM rkyc.history h JOIN rkyc.job j ON j.id = h.job_id ORDER BY j.id""",
    )
    assert [row["is_after"] for row in rows] == [None, True, True, True, True, True]


async def test_a_schedule_of_an_unknown_pipeline_says_so_and_goes_on(pool: Pool) -> None:
    client = await add(pool, NOW - timedelta(seconds=0.5))
    await query(pool, "UPDATE rkyc.schedule SET pipeline = 'gone'")
    await fire(pool, NOW)
    (row,) = await client.schedules.list()
    assert "no pipeline 'gone'" in row["last_error"]
    assert row["next_fire"] > NOW
    await query(pool, "UPDATE rkyc.schedule SET pipeline = 'noted'")
    await fire(pool, NOW + timedelta(seconds=1))
    (row,) = await client.schedules.list()
    assert row["last_error"] is None
    assert await list_ticks(pool) == ["00:01"]


async def test_what_is_paused_fires_not_and_goes_on_at_a_tick_to_come(pool: Pool) -> None:
    client = await add(pool, NOW - timedelta(seconds=0.5), catch_up="all")
    await client.schedules.pause("nightly")
    assert await fire(pool, NOW) == 0
    await client.schedules.resume("nightly")
    (row,) = await client.schedules.list()
    (clock,) = await query(pool, "SELECT clock_timestamp() AS now")
    # By the database's clock, not by that of the ticks before.
    assert timedelta() < row["next_fire"] - clock["now"] <= timedelta(seconds=1)


async def test_run_now_starts_a_job_and_leaves_the_ticks_alone(pool: Pool) -> None:
    client = await add(pool, NOW, overlap="skip")
    job_id = await client.schedules.run("nightly")
    row = await client.get(job_id)
    assert row["status"] == "pending"
    assert '"by_hand": true' in row["metadata"]
    await fire(pool, NOW + timedelta(seconds=0.5))
    assert len(await list_ticks(pool)) == 2
    (row,) = await client.schedules.list()
    assert row["last_fire"] == NOW + timedelta(seconds=0.5)


async def test_declared_schedules_are_written_once_and_keep_a_persons_pause(pool: Pool) -> None:
    await announce(pool, NOTED)
    client = Client(pool=pool)

    async def declare(**options: Any) -> Any:
        registry = Registry([NOTED], schedules=[Schedule("nightly", "noted", **options)])
        async with pool.connection() as conn:
            await declare_schedules(conn, registry)
        (row,) = await client.schedules.list()
        return row

    first = await declare(cron="0 3 * * *")
    assert (first["origin"], first["paused"], first["time_zone"]) == ("code", False, "UTC")
    await client.schedules.pause("nightly")
    again = await declare(cron="0 3 * * *", overlap="queue")
    assert (again["paused"], again["overlap"]) == (True, "queue")
    assert again["next_fire"] == first["next_fire"]
    moved = await declare(cron="0 4 * * *")
    assert moved["paused"]
    assert moved["next_fire"].hour == 4


async def test_mistakes_are_refused_and_named(pool: Pool) -> None:
    client = await add(pool, NOW)
    with pytest.raises(ConflictError, match="a schedule 'nightly' is there already"):
        await client.schedules.add(Schedule("nightly", "noted", interval_s=5))
    with pytest.raises(UnknownPipelineError, match="no pipeline is called 'other'"):
        await client.schedules.add(Schedule("other", "other", interval_s=5))
    with pytest.raises(UnknownLaneError, match="no lane is called 'fast'"):
        await client.schedules.add(Schedule("other", "noted", interval_s=5, lane="fast"))
    for act in (
        client.schedules.run,
        client.schedules.pause,
        client.schedules.resume,
        client.schedules.remove,
    ):
        with pytest.raises(NotFoundError, match="no schedule is called 'nowhere'"):
            await act("nowhere")
    with pytest.raises(DefinitionError, match="pipeline 'other' is not in the registry"):
        Registry([NOTED], schedules=[Schedule("nightly", "other", interval_s=5)])
    await client.schedules.remove("nightly")
    assert await client.schedules.list() == []


async def test_a_worker_fires_what_its_code_declares_and_what_a_person_adds(dsn: str, pool: Pool) -> None:
    registry = Registry([NOTED], schedules=[Schedule("nightly", "noted", interval_s=0.2, overlap="allow")])
    async with serve(dsn, registry=registry):

        async def has_run() -> bool:
            rows = await query(pool, "SELECT count(*) AS n FROM rkyc.history WHERE state = 'completed'")
            return int(rows[0]["n"]) >= 3

        await wait_for(has_run)
        client = Client(pool=pool)
        await client.schedules.pause("nightly")
        await client.schedules.add(Schedule("second", "noted", {"n": 2}, interval_s=0.3))

        async def has_second() -> Any:
            return await query(pool, "SELECT uuid FROM rkyc.job WHERE metadata ->> 'schedule' = 'second'")

        rows = await wait_for(has_second)
        assert (await wait_status(pool, rows[0]["uuid"]))["status"] == "completed"
    ticks = await list_ticks(pool)
    rows = await query(
        pool,
        "SELECT metadata ->> 'tick' AS t FROM rkyc.job WHERE metadata ->> 'schedule' = 'nightly' ORDER BY id",
    )
    assert len({row["t"] for row in rows}) == len(ticks) >= 3


async def test_what_people_do_to_a_schedule_stands_in_the_audit_trail(pool: Pool) -> None:
    client = await add(pool, NOW)
    await client.schedules.run("nightly", by="ann")
    await client.schedules.pause("nightly", by="bob")
    await client.schedules.resume("nightly", by="ann")
    await client.schedules.remove("nightly", by="bob")
    rows = await query(pool, "SELECT who, action, object FROM rkyc.audit ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("client", "schedule.add", "nightly"),
        ("ann", "schedule.run", "nightly"),
        ("bob", "schedule.pause", "nightly"),
        ("ann", "schedule.resume", "nightly"),
        ("bob", "schedule.remove", "nightly"),
    ]
