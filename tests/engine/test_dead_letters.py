"""Dead letters: the whole life of a message that fails, on a clock of the test's own, and in a person's hands."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path

import pytest

from rkyc.engine.client import Client
from rkyc.engine.notices import Notices
from rkyc.engine.redrive import Redrive
from rkyc.errors import NotFoundError
from rkyc.flow.fingerprint import fingerprint_of
from rkyc.flow.graph import chain
from rkyc.flow.lane import LanePolicy
from rkyc.flow.outcome import Fail
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.store.pool import Pool, Record
from rkyc.store.queue import commits, dead_letters, jobs, pipelines
from rkyc.store.queue.dead_letters import Filter
from rkyc.telemetry.metrics import Metrics
from tests.support.clocks import FixedClock
from tests.support.crashes import entries, make_input
from tests.support.engine import query, serve, wait_all_ended, wait_for, wait_status
from tests.support.ledger import count
from tests.support.moves import NOW, add_job, add_worker, claim
from tests.support.probes import fail, pause, registry

pytestmark = pytest.mark.anyio

POLICY = LanePolicy("default", redrive_every_s=300.0)
MINUTE = dt.timedelta(minutes=1)
WEEK = dt.timedelta(days=7)


class Scene:
    """Jobs that fail by the store's own functions, and the upkeep of a worker, all at instants of the test's own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = FixedClock(NOW)
        self.metrics = Metrics()
        self.redrive = Redrive(
            pool=pool,
            clock=self.clock,
            notices=Notices(pool=pool),
            metrics=self.metrics,
            interval_s=15.0,
        )
        self.worker_id = 0

    async def begin(self, number: int, *policies: LanePolicy) -> list[int]:
        """Announce the probes, enqueue so many jobs, set the lanes' clocks at NOW."""
        async with self.pool.connection() as conn:
            await pipelines.register_pipelines(conn, registry)
            await pipelines.register_policies(conn, policies, NOW)
            self.worker_id = await add_worker(conn)
            return [await add_job(conn, "failing") for _ in range(number)]

    async def fail_all(self, *, error_class: str = "retryable", reason: str = "task_failed") -> int:
        """Claim whatever is ready and let it fail now."""
        async with self.pool.connection() as conn:
            claims = await claim(conn, self.worker_id, slots=1000)
            for held in claims:
                message = f"no answer in {held.job_id} s"
                fail = Fail(held, held.step, 1, reason, "BUSY", error_class, message, None, 1)
                async with conn.transaction():
                    await commits.fail_task(
                        conn,
                        fail,
                        seq=held.events + 1,
                        open_tasks="[]",
                        warnings=None,
                        worker_id=self.worker_id,
                        now=self.clock.at,
                    )
                    await dead_letters.bury_job(
                        conn,
                        job_id=held.job_id,
                        lane=held.lane,
                        step=held.step,
                        reason=reason,
                        error_code="BUSY",
                        error_class=error_class,
                        error_message=message,
                        fingerprint=fingerprint_of(held.step, "BUSY", message),
                        now=self.clock.at,
                    )
        return len(claims)

    async def at(self, since: dt.timedelta) -> int:
        """Do the upkeep at NOW + since; return how many tasks can be claimed then."""
        self.clock.at = NOW + since
        await self.redrive.run_once()
        (row,) = await query(self.pool, "SELECT count(*)::int AS n FROM rkyc.ready")
        return int(row["n"])

    async def letters(self) -> list[Record]:
        return await query(self.pool, "SELECT * FROM rkyc.dead_letter ORDER BY id")


async def test_a_failing_message_is_started_again_three_times_300_s_apart_then_archived_and_gone_after_7_days(
    pool: Pool,
) -> None:
    scene = Scene(pool)
    await scene.begin(1, POLICY)
    assert await scene.fail_all() == 1
    for number in (1, 2, 3):
        assert await scene.at(5 * number * MINUTE - dt.timedelta(seconds=1)) == 0
        assert await scene.at(5 * number * MINUTE) == 1
        (letter,) = await scene.letters()
        assert (letter["state"], letter["retry_count"]) == ("requeued", number)
        await scene.fail_all()
    (letter,) = await scene.letters()
    assert (letter["state"], letter["archive_queue"], letter["retry_count"]) == (
        "archived",
        "archive.default",
        3,
    )
    assert (letter["first_at"], letter["at"]) == (NOW, NOW + 15 * MINUTE)
    # Not picked again, and gone seven days after it failed last.
    assert await scene.at(20 * MINUTE) == 0
    assert await scene.at(15 * MINUTE + WEEK - dt.timedelta(hours=1)) == 0
    assert len(await scene.letters()) == 1
    assert b'dlq_expired_total{queue="dlq.default"}' not in scene.metrics.render()
    assert await scene.at(15 * MINUTE + WEEK) == 0
    assert await scene.letters() == []
    text = scene.metrics.render()
    assert b'dlq_expired_total{queue="dlq.default"} 1.0' in text
    assert b'dlq_reprocessed_total{queue="dlq.default"} 3.0' in text


async def test_at_most_ten_are_started_again_by_a_run(pool: Pool) -> None:
    scene = Scene(pool)
    await scene.begin(25, POLICY)
    assert await scene.fail_all() == 25
    started = [await scene.at(5 * number * MINUTE) for number in (1, 2, 3, 4)]
    assert started == [10, 20, 25, 25]
    letters = await scene.letters()
    assert [one["retry_count"] for one in letters] == [1] * 25


async def test_a_lane_keeps_its_clock_however_late_the_look_and_however_often_workers_start(
    pool: Pool,
) -> None:
    scene = Scene(pool)
    await scene.begin(1, POLICY)
    await scene.at(7 * MINUTE)
    (lane,) = await query(pool, "SELECT redrive_at FROM rkyc.lane WHERE name = 'default'")
    assert lane["redrive_at"] == NOW + 10 * MINUTE
    await scene.begin(0, POLICY)
    (lane,) = await query(pool, "SELECT redrive_at FROM rkyc.lane WHERE name = 'default'")
    assert lane["redrive_at"] == NOW + 10 * MINUTE
    await scene.at(61 * MINUTE)
    (lane,) = await query(pool, "SELECT redrive_at FROM rkyc.lane WHERE name = 'default'")
    assert lane["redrive_at"] == NOW + 65 * MINUTE


async def test_what_can_never_succeed_goes_to_the_archive_at_once(pool: Pool) -> None:
    scene = Scene(pool)
    await scene.begin(1, POLICY)
    await scene.fail_all(error_class="permanent")
    (letter,) = await scene.letters()
    assert (letter["state"], letter["archive_queue"]) == ("archived", "archive.default")
    assert await scene.at(5 * MINUTE) == 0


async def test_without_a_policy_dead_letters_stay_until_a_person_acts_or_their_time_is_over(
    pool: Pool,
) -> None:
    scene = Scene(pool)
    await scene.begin(1)
    await scene.fail_all()
    assert await scene.at(60 * MINUTE) == 0
    assert await scene.at(WEEK - dt.timedelta(seconds=1)) == 0 and len(await scene.letters()) == 1
    assert await scene.at(WEEK) == 0 and await scene.letters() == []


async def test_the_count_of_a_job_that_runs_again_is_kept_for_as_long_as_it_lives(pool: Pool) -> None:
    scene = Scene(pool)
    await scene.begin(1, POLICY)
    await scene.fail_all()
    await scene.at(5 * MINUTE)
    assert await scene.at(3 * WEEK) == 1
    (letter,) = await scene.letters()
    assert letter["retry_count"] == 1


async def test_processes_that_look_at_once_start_each_job_once(pool: Pool) -> None:
    scene = Scene(pool)
    await scene.begin(300, LanePolicy("default", redrive_every_s=300.0, redrive_at_most=1000))
    await scene.fail_all()
    scene.clock.at = NOW + 5 * MINUTE
    ids = [row["id"] for row in await scene.letters()]

    async def by_hand(part: list[int]) -> int:
        async with pool.transaction() as conn:
            return len((await dead_letters.requeue_dead_letters(conn, part)).ids)

    started = await asyncio.gather(
        *(scene.redrive.redrive(scene.clock.at) for _ in range(3)), by_hand(ids), by_hand(ids[::-1])
    )
    # What one held, another passed over: the next run finds it.
    scene.clock.at += 5 * MINUTE
    assert sum(started) + await scene.redrive.redrive(scene.clock.at) == 300
    rows = await query(pool, "SELECT job_id FROM rkyc.ready")
    assert len(rows) == len({row["job_id"] for row in rows}) == 300
    assert await query(pool, "SELECT FROM rkyc.history") == []


async def test_a_job_goes_on_at_the_step_that_failed(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("failing", make_input(tmp_path, 1, failures=9))
        assert (await wait_status(pool, job_id))["error_code"] == "RETRYABLE"
        (letter,) = await client.dead_letters.list()
        assert (letter["job_id"], letter["step"], letter["reason"]) == (job_id, "fail", "task_failed")
        assert await client.dead_letters.requeue(Filter(ids=(letter["id"],)), by="tester") == 1
        row = await wait_status(pool, job_id)
    assert row["status"] == "failed"
    assert count(entries(tmp_path), "began") == {("1", "before"): 1, ("1", "fail"): 6}
    shown = await client.dead_letters.get(job_id)
    # By hand it is none of the three tries.
    assert (shown["state"], shown["retry_count"]) == ("dead", 0)


async def test_a_real_run_with_short_intervals(dsn: str, pool: Pool, tmp_path: Path) -> None:
    policy = LanePolicy("default", redrive_every_s=0.3, redrive_at_most=2, redrive_times=2)
    served = Registry(registry, [policy])
    client = Client(pool=pool)
    async with serve(dsn, registry=served), serve(dsn, registry=served):
        ids = [await client.enqueue("failing", make_input(tmp_path, n, failures=9)) for n in range(3)]

        async def archived() -> bool:
            return await client.dead_letters.count(Filter(states=("archived",))) == 3

        await wait_for(archived, what="the archive of all three")
        assert [(await wait_status(pool, one))["status"] for one in ids] == ["failed"] * 3
    letters = await client.dead_letters.list(state="archived")
    assert {one["retry_count"] for one in letters} == {2}
    # Three tries of three attempts each; what was done before is not done again.
    assert set(count(entries(tmp_path), "began").values()) == {1, 9}


async def test_failures_of_one_kind_are_one_group_and_are_started_again_together(pool: Pool) -> None:
    scene = Scene(pool)
    await scene.begin(6)
    await scene.fail_all()
    async with pool.connection() as conn:
        await add_job(conn, "failing")
        await scene.fail_all(reason="ttl_expired", error_class="permanent")
    client = Client(pool=pool)
    (group,) = await client.dead_letters.groups()
    assert (group["count"], group["error_code"], group["queue"]) == (6, "BUSY", "dlq.default")
    wanted = Filter(states=("dead",), fingerprint=group["fingerprint"])
    assert await client.dead_letters.count(wanted) == 6
    assert await client.dead_letters.requeue(wanted, by="tester") == 6
    assert await client.dead_letters.count(wanted) == 0
    assert await client.dead_letters.count(Filter(reason="ttl_expired")) == 1
    (entry,) = await query(pool, "SELECT who, action, object, details FROM rkyc.audit_trail")
    assert tuple(entry)[:3] == ("tester", "dlq.requeue", "6 dead letters")
    assert json.loads(entry["details"])["asked"]["fingerprint"] == group["fingerprint"]


async def test_discarded_ones_are_told_apart_and_stay_failed(pool: Pool) -> None:
    scene = Scene(pool)
    await scene.begin(2, POLICY)
    await scene.fail_all()
    client = Client(pool=pool)
    first, second = await client.dead_letters.list()
    assert await client.dead_letters.discard(Filter(ids=(first["id"],)), by="tester") == 1
    assert await client.dead_letters.discard(Filter(ids=(first["id"],)), by="tester") == 0
    assert await client.dead_letters.requeue(Filter(ids=(first["id"],)), by="tester") == 0
    assert await scene.at(5 * MINUTE) == 1
    assert (await client.get(first["job_id"]))["status"] == "failed"
    assert (await client.get(second["job_id"]))["status"] == "pending"
    with pytest.raises(NotFoundError, match="no dead letter 77"):
        await client.dead_letters.get(77)


async def test_an_archived_one_is_started_again_by_a_person_and_archived_again(pool: Pool) -> None:
    scene = Scene(pool)
    await scene.begin(1, LanePolicy("default", redrive_every_s=300.0, redrive_times=0))
    await scene.fail_all()
    (letter,) = await scene.letters()
    assert letter["state"] == "dead"
    assert await scene.at(5 * MINUTE) == 0
    client = Client(pool=pool)
    assert await client.dead_letters.requeue(Filter(), by="tester") == 1
    await scene.fail_all()
    (letter,) = await scene.letters()
    assert (letter["state"], letter["archive_queue"]) == ("archived", "archive.default")


async def test_a_retry_by_a_person_takes_the_dead_letter_along(pool: Pool) -> None:
    scene = Scene(pool)
    (number,) = await scene.begin(1, POLICY)
    await scene.fail_all()
    async with pool.connection() as conn:
        assert await jobs.retry_job(conn, job_id=number) == ["default"]
        assert await jobs.retry_job(conn, job_id=number) == []
    (letter,) = await scene.letters()
    assert letter["state"] == "requeued"
    assert await scene.at(5 * MINUTE) == 1


async def test_a_lane_leaves_what_has_passed_its_deadline_to_its_tries(pool: Pool) -> None:
    scene = Scene(pool)
    late, _ = await scene.begin(2, POLICY)
    await scene.fail_all()
    await query(pool, "UPDATE rkyc.job SET deadline_at = now() WHERE id = $1", late)
    assert await scene.at(5 * MINUTE) == 1
    assert [(row["state"], row["retry_count"]) for row in await scene.letters()] == [
        ("dead", 1),
        ("requeued", 1),
    ]


async def test_every_lane_has_its_queue_and_failures_go_to_that_of_their_step(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    lanes = ["scan.vision", "scan.rule"]
    defined = [
        Pipeline(f"in_{lane}", 1, chain(pause.named("before"), fail.with_policy(lane=lane))) for lane in lanes
    ]
    async with serve(dsn, *defined):
        client = Client(pool=pool)
        for lane in lanes:
            await client.enqueue(f"in_{lane}", make_input(tmp_path, lane, failures=9))
        await wait_all_ended(pool, 2)
    rows = await query(pool, "SELECT queue, dead, archive_queue FROM rkyc.dlq_depth ORDER BY queue")
    assert [tuple(row) for row in rows] == [
        ("dlq.default", 0, "archive.default"),
        ("dlq.high", 0, "archive.high"),
        ("dlq.low", 0, "archive.low"),
        ("dlq.scan.rule", 1, "archive.scan.rule"),
        ("dlq.scan.vision", 1, "archive.scan.vision"),
    ]
