"""Waits that were too long: the lane's TTL and a step's schedule-to-start, on a clock of the test's own and for real."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.expiry import Expiry
from rkyc.engine.notices import Notices
from rkyc.flow.graph import chain, group
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.flow.lane import LanePolicy
from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import Timeouts
from rkyc.flow.states import WaitReason
from rkyc.store.pool import Pool, Record, fetch_value
from rkyc.store.queue import expiry, pipelines, restarts, tasks, waits
from rkyc.store.statements import Statement
from rkyc.telemetry.metrics import Metrics
from tests.support.clocks import FixedClock
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import query, read_job, serve, tasks_left, wait_all_ended, wait_status
from tests.support.ledger import count
from tests.support.moves import add_job, add_worker, claim, park
from tests.support.probes import pause

pytestmark = pytest.mark.anyio

SECOND = dt.timedelta(seconds=1)
# The queues of the scan system, with their TTLs in seconds.
SCAN = {
    "scan.vision": 3600,
    "scan.rule": 300,
    "scan.answer": 3600,
    "scan.reward": 3600,
    "character.match": 30,
    "character.reward": 86_400,
    "my.reward": 86_400,
    "celery": 3600,
}


class Scene:
    """Pipelines in limited lanes, and the look of a worker at instants of the test's own."""

    def __init__(self, pool: Pool, start: dt.datetime) -> None:
        self.pool = pool
        self.start = start
        self.metrics = Metrics()
        self.clock = FixedClock(start)
        self.expiry = Expiry(
            pool=pool, clock=self.clock, notices=Notices(pool=pool), metrics=self.metrics, interval_s=15.0
        )

    async def at(self, since: dt.timedelta) -> set[str]:
        """Look at start + since; return the queues of all that is dead then."""
        self.clock.at = self.start + since
        await self.expiry.run_once()
        rows = await query(self.pool, "SELECT queue FROM rkyc.dead_letter WHERE reason = 'ttl_expired'")
        return {row["queue"] for row in rows}


async def make_scene(pool: Pool, *defined: Pipeline, policies: list[LanePolicy] | None = None) -> Scene:
    async with pool.connection() as conn:
        await pipelines.register_pipelines(conn, Registry(defined, policies or []))
        now = await fetch_value(conn, Statement("read_clock", "SELECT clock_timestamp()"))
    return Scene(pool, now)


def in_lane(lane: str) -> Pipeline:
    return Pipeline(f"in_{lane}", 1, pause.with_policy(lane=lane).named("only"))


@pytest.mark.parametrize("lane", SCAN)
async def test_a_task_that_nobody_starts_expires_at_the_ttl_of_its_lane_and_not_a_second_before(
    pool: Pool, lane: str
) -> None:
    ttl_s = SCAN[lane]
    scene = await make_scene(pool, in_lane(lane), policies=[LanePolicy(lane, ttl_s=ttl_s)])
    job_id = await Client(pool=pool).enqueue(f"in_{lane}", {})
    (job,) = await query(pool, "SELECT created_at FROM rkyc.job")
    scene.start = job["created_at"]
    assert await scene.at((ttl_s - 1) * SECOND) == set()
    assert (await read_job(pool, job_id))["status"] == "pending"
    assert await scene.at(ttl_s * SECOND) == {f"dlq.{lane}"}
    row = await read_job(pool, job_id)
    assert (row["status"], row["error_code"], row["error_class"]) == ("failed", "TTL_EXPIRED", "retryable")
    assert f"within {ttl_s} s in lane {lane}" in row["error_message"]
    assert await tasks_left(pool) == []
    # Expired is not failed: it is counted apart.
    text = scene.metrics.render().decode()
    assert f'jobs_total{{pipeline="in_{lane}",status="expired"}} 1.0' in text


async def test_a_job_that_was_to_run_later_waits_from_then_on(pool: Pool) -> None:
    scene = await make_scene(pool, in_lane("fast"), policies=[LanePolicy("fast", ttl_s=30)])
    later = scene.start + 3600 * SECOND
    await Client(pool=pool).enqueue("in_fast", {}, run_at=later)
    await Client(pool=pool).enqueue("in_fast", {}, run_at=later, fair_key="a")
    async with pool.connection() as conn:
        await fetch_value(
            conn, Statement("by_sql", "SELECT rkyc.enqueue('in_fast', '{}', run_at => :at)"), at=later
        )
        await fetch_value(
            conn,
            Statement(
                "many_by_sql", "SELECT rkyc.enqueue_many('in_fast', ARRAY['{}'::jsonb], run_at => :at)"
            ),
            at=later,
        )
        assert await tasks.promote_due_tasks(conn, later) == ["fast"]
    assert await scene.at(3629 * SECOND) == set()
    assert len(await tasks_left(pool)) == 4
    assert await scene.at(3631 * SECOND) == {"dlq.fast"}
    assert await tasks_left(pool) == []


async def test_a_job_that_follows_one_that_was_put_off_waits_from_its_own_beginning(pool: Pool) -> None:
    scene = await make_scene(pool, in_lane("fast"), policies=[LanePolicy("fast", ttl_s=30)])
    client = Client(pool=pool)
    job_id = await client.enqueue("in_fast", {}, run_at=scene.start + 3600 * SECOND)
    await client.cancel(job_id)
    (source,) = await query(
        pool,
        "UPDATE rkyc.job SET traits = jsonb_build_object('run_at', now() - interval '1 day') RETURNING id",
    )
    await client.fork(job_id, "only")
    async with pool.connection() as conn:
        await restarts.continue_job(conn, source["id"], make_uuid7(0, bytes(RANDOM_BYTES)), "{}")
    assert await scene.at(20 * SECOND) == set()
    assert len(await tasks_left(pool)) == 2


async def test_a_task_that_comes_back_waits_anew(pool: Pool) -> None:
    scene = await make_scene(pool, in_lane("fast"), policies=[LanePolicy("fast", ttl_s=30)])
    async with pool.connection() as conn:
        worker_id = await add_worker(conn)
        await add_job(conn, "in_fast")
        # It ran for an hour and is given back: that hour was no wait.
        (held,) = await claim(conn, worker_id, lane="fast")
        await scene.at(3600 * SECOND)
        row = {name: getattr(held, name) for name in ("job_id", "branch", "fence", "lane", "step", "events")}
        await tasks.release_tasks(conn, [{**row, "error_attempts": 0, "crash_attempts": 0}])
    assert await scene.at(3601 * SECOND) == set()
    assert await scene.at(3630 * SECOND) == set()
    assert await scene.at(3632 * SECOND) == {"dlq.fast"}


async def test_an_expired_job_that_is_started_again_has_its_whole_time_again(pool: Pool) -> None:
    scene = await make_scene(pool, in_lane("fast"), policies=[LanePolicy("fast", ttl_s=30)])
    client = Client(pool=pool)
    job_id = await client.enqueue("in_fast", {})
    assert await scene.at(31 * SECOND) == {"dlq.fast"}
    await client.retry(job_id)
    await scene.at(32 * SECOND)
    await scene.at(60 * SECOND)
    assert (await read_job(pool, job_id))["status"] == "pending"
    await scene.at(64 * SECOND)
    assert (await read_job(pool, job_id))["status"] == "failed"


async def test_a_step_with_a_limit_of_its_own_expires_behind_others_that_wait_on(pool: Pool) -> None:
    urgent = pause.with_policy(timeouts=Timeouts(schedule_to_start=60)).named("urgent")
    scene = await make_scene(pool, Pipeline("patient", 1, pause), Pipeline("hurried", 1, urgent))
    client = Client(pool=pool)
    await client.enqueue_many("patient", [{}] * 600)
    job_id = await client.enqueue("hurried", {})
    for _ in range(3):
        await scene.at(61 * SECOND)
    assert (await read_job(pool, job_id))["error_code"] == "TTL_EXPIRED"
    assert len(await tasks_left(pool)) == 600


async def test_a_job_that_waits_for_its_turn_expires_like_any_other(pool: Pool) -> None:
    policies = [LanePolicy("fast", ttl_s=30), LanePolicy("slow", ttl_s=60)]
    scene = await make_scene(pool, in_lane("fast"), in_lane("slow"), policies=policies)
    client = Client(pool=pool)
    job_id = await client.enqueue("in_fast", {}, fair_key="a")
    (job,) = await query(pool, "SELECT created_at FROM rkyc.job")
    scene.start = job["created_at"]
    await client.enqueue_many("in_slow", [{}] * 3, fair_key="a")
    assert await scene.at(29 * SECOND) == set()
    # Ten milliseconds for the row, which was written behind its job's.
    assert await scene.at(30.01 * SECOND) == {"dlq.fast"}
    row = await read_job(pool, job_id)
    assert (row["status"], row["error_code"], row["error_class"]) == ("failed", "TTL_EXPIRED", "retryable")
    assert "step only was not started within 30 s in lane fast" in row["error_message"]
    assert 'jobs_total{pipeline="in_fast",status="expired"} 1.0' in scene.metrics.render().decode()
    assert len(await tasks_left(pool)) == 3
    assert await scene.at(61 * SECOND) == {"dlq.fast", "dlq.slow"}
    assert await tasks_left(pool) == []


# What a task may wait for in `waiting`, and under which key. More capacity ends the first ones.
OF_CAPACITY = [
    ("fair", "a"),
    ("no_worker", "in_fast@1"),
    ("version_blocked", "in_fast@1"),
    ("limit", "claude"),
    ("limit", "corp:rate/1"),
]
OF_OTHERS = [
    ("limit", "rate/requests/claude"),
    ("limit", "rate/starts/claude"),
    *(
        (kind, "k")
        for kind in WaitReason
        if kind not in {"queued", "scheduled", "retry_backoff"} and kind not in dict(OF_CAPACITY)
    ),
]


@pytest.mark.parametrize(("kind", "key"), [*OF_CAPACITY, *OF_OTHERS])
async def test_a_wait_counts_if_more_capacity_would_end_it(pool: Pool, kind: str, key: str) -> None:
    scene = await make_scene(pool, in_lane("fast"), policies=[LanePolicy("fast", ttl_s=30)])
    async with pool.connection() as conn:
        worker_id = await add_worker(conn)
        await add_job(conn, "in_fast")
        (held,) = await claim(conn, worker_id, lane="fast")
        # It ran for an hour before: that was no wait.
        await waits.hold_tasks(conn, [park(held, kind, wake_key=key)], scene.start + 3600 * SECOND)
    assert await scene.at(3629 * SECOND) == set()
    counts = (kind, key) in OF_CAPACITY
    assert await scene.at(3630 * SECOND) == ({"dlq.fast"} if counts else set())
    assert await scene.at(99_999 * SECOND) == ({"dlq.fast"} if counts else set())


async def test_a_turn_with_a_limit_of_its_own_expires_behind_others_that_wait_on(pool: Pool) -> None:
    urgent = pause.with_policy(timeouts=Timeouts(schedule_to_start=60)).named("urgent")
    scene = await make_scene(pool, Pipeline("patient", 1, pause), Pipeline("hurried", 1, urgent))
    client = Client(pool=pool)
    await client.enqueue_many("patient", [{}] * 1100, fair_key="a")
    job_id = await client.enqueue("hurried", {}, fair_key="b")
    # Where all wait since the same instant, pages go by their jobs.
    await query(pool, "UPDATE rkyc.waiting SET since = (SELECT min(w.since) FROM rkyc.waiting w)")
    for _ in range(4):
        await scene.at(61 * SECOND)
    assert (await read_job(pool, job_id))["error_code"] == "TTL_EXPIRED"
    assert len(await tasks_left(pool)) == 1100


async def test_a_wait_that_ended_meanwhile_is_not_expired(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await make_scene(pool, in_lane("fast"), policies=[LanePolicy("fast", ttl_s=30)])
    async with pool.connection() as conn:
        worker_id = await add_worker(conn)
        await add_job(conn, "in_fast")
        (held,) = await claim(conn, worker_id, lane="fast")
        await waits.hold_tasks(conn, [park(held, "limit", wake_key="claude")], scene.start)
        look = expiry.find_stale_waits

        async def look_and_lose(*args: Any, **values: Any) -> list[Record]:
            """Between the look and the end it gets a place, and soon waits again."""
            found = await look(*args, **values)
            await waits.wake_task(conn, held.job_id, 0)
            (again,) = await claim(conn, worker_id, lane="fast")
            await waits.hold_tasks(conn, [park(again, "limit", wake_key="claude")], scene.start + 20 * SECOND)
            return found

        monkeypatch.setattr(expiry, "find_stale_waits", look_and_lose)
        assert await scene.at(31 * SECOND) == set()
    assert len(await tasks_left(pool)) == 1


async def test_who_gets_no_place_and_who_finds_no_worker_in_time_expires(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    """A worker serves the lane, but not that version; its limit has one place, which is taken."""
    limited = pause.with_policy(lane="fast", limits=[Limit("claude", size=1)]).named("limited")
    served = Registry([Pipeline("limited", 1, limited)], [LanePolicy("fast", ttl_s=0.4)])
    client = Client(pool=pool)
    async with serve(dsn, registry=served, grace_s=0.0):
        await make_scene(pool, in_lane("fast"))
        first = await client.enqueue("limited", make_input(tmp_path, 1, wait=30))
        await wait_entries(tmp_path, "began", 1)
        late = [
            await client.enqueue("limited", make_input(tmp_path, 2)),
            await client.enqueue("in_fast", make_input(tmp_path, 3)),
        ]
        for job_id in late:
            assert (await wait_status(pool, job_id, timeout_s=5))["error_code"] == "TTL_EXPIRED"
        # What runs is beyond the limit by now, and goes on.
        assert (await read_job(pool, first))["status"] == "running"
        await client.cancel(first)
    assert len(entries(tmp_path)) == 1


async def test_a_fleet_that_comes_back_does_not_start_what_expired_meanwhile(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    served = Registry([in_lane("fast")], [LanePolicy("fast", ttl_s=30)])
    await make_scene(pool, *served, policies=list(served.policies.values()))
    client = Client(pool=pool)
    ids = [await client.enqueue("in_fast", make_input(tmp_path, 1), fair_key=key) for key in (None, "a")]
    await query(pool, "UPDATE rkyc.job SET created_at = created_at - interval '31 s'")
    await query(pool, "UPDATE rkyc.waiting SET since = since - interval '31 s'")
    async with serve(dsn, registry=served):
        for job_id in ids:
            row = await wait_status(pool, job_id)
            assert (row["status"], row["error_code"]) == ("failed", "TTL_EXPIRED")
    assert entries(tmp_path) == []


async def test_with_one_lanes_worker_gone_its_tasks_expire_and_the_others_go_on(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    """Branches in two lanes, served by two workers; one of them ends, and nobody serves its lane any more."""
    lanes = ("quick", "slow")
    defined = [
        Pipeline(f"of_{lane}", 1, chain(pause.with_policy(lane=lane).named("first"), pause.named("second")))
        for lane in lanes
    ]
    split = Pipeline("split", 1, group(*(pause.with_policy(lane=lane).named(f"in_{lane}") for lane in lanes)))
    served = Registry([*defined, split], [LanePolicy("slow", ttl_s=0.4), LanePolicy("quick", ttl_s=60)])
    client = Client(pool=pool)
    async with serve(dsn, registry=served, lanes=("default", "quick")) as survivor:
        async with serve(dsn, registry=served, lanes=("slow",)) as lost:
            for lane in lanes:
                await client.enqueue_many(
                    f"of_{lane}", [make_input(tmp_path, f"{lane}{n}") for n in range(5)]
                )
            assert await wait_all_ended(pool, 10) == {"completed": 10}
        workers = await query(
            pool,
            "SELECT DISTINCT j.pipeline, s.step, s.worker FROM rkyc.step_status s JOIN rkyc.job j ON j.uuid = s.job_id",
        )
        served_by = {(row["pipeline"], row["step"]): row["worker"] for row in workers}
        assert served_by["of_slow", "first"] == lost.name and served_by["of_quick", "first"] == survivor.name
        for lane in lanes:
            await client.enqueue_many(f"of_{lane}", [make_input(tmp_path, f"again-{lane}") for _ in range(5)])
        await client.enqueue("split", make_input(tmp_path, "split", waits={"in_quick": 30}))
        await wait_entries(tmp_path, "began", 1, step="in_quick")
        assert await wait_all_ended(pool, 21) == {"completed": 15, "failed": 6}
    rows = await query(pool, "SELECT queue, reason, count(*)::int AS n FROM rkyc.dead_letter GROUP BY 1, 2")
    assert [tuple(row) for row in rows] == [("dlq.slow", "ttl_expired", 6)]
    assert await tasks_left(pool) == []
    # What ran beside the expired branch was stopped with the job.
    assert ("split", "in_quick") not in count(entries(tmp_path), "ended")


async def test_where_nothing_has_a_limit_nothing_is_written(pool: Pool) -> None:
    scene = await make_scene(pool, Pipeline("patient", 1, pause))
    await Client(pool=pool).enqueue("patient", {})
    await scene.at(dt.timedelta(days=9999))
    assert len(await tasks_left(pool)) == 1
    assert await query(pool, "SELECT FROM rkyc.ready_mark") == []
