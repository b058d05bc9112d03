"""Workers killed, stopped and drained in mid-run: real processes, counted by a ledger."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.crashes import (
    checkpoints_by_step,
    entries,
    make_input,
    submit,
    wait_entries,
)
from tests.support.engine import query, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.fleet import Fleet, open_fleet
from tests.support.ledger import count

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
# 3 s where the processors are free, as tests/prove shows; here they are shared with other tests.
TAKE_OVER_S = 6.0


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, dsn=dsn) as running:
        yield running


@pytest.fixture(autouse=True)
async def saved_table(pool: Pool) -> None:
    await query(pool, "CREATE TABLE public.saved (job text NOT NULL, step text NOT NULL)")


async def test_a_killed_workers_tasks_go_on_elsewhere_within_seconds(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    # Fewer slots than tasks: both hold some.
    first, second = await asyncio.gather(fleet.start(slots=10), fleet.start(slots=10))
    waits = {"call_and_pause": 3}
    await submit(pool, "calling", [make_input(tmp_path, name, waits=waits) for name in range(20)])
    await wait_entries(tmp_path, "began", 20, step="call_and_pause")
    held = {one.job for one in entries(tmp_path) if one.pid == first.pid and one.step == "call_and_pause"}
    assert held
    killed_at = time.monotonic()
    await first.kill()

    async def taken_over() -> bool:
        again = {one.job for one in entries(tmp_path) if one.pid == second.pid and one.what == "began"}
        return held <= again

    await wait_for(taken_over, timeout_s=20)
    took_s = time.monotonic() - killed_at
    assert await wait_all_ended(pool, 20, timeout_s=30) == {"completed": 20}
    assert took_s <= TAKE_OVER_S
    began = count(entries(tmp_path), "began")
    assert {began[name, "before"] for name in map(str, range(20))} == {1}
    assert set(count(entries(tmp_path), "asked").values()) == {1}
    assert {name: began[name, "call_and_pause"] for name in held} == dict.fromkeys(held, 2)
    assert set((await checkpoints_by_step(pool)).values()) == {1}


async def test_a_crash_is_counted_apart_from_errors(fleet: Fleet, pool: Pool, tmp_path: Path) -> None:
    members = await asyncio.gather(fleet.start(), fleet.start())
    (job_id,) = await submit(pool, "single", [make_input(tmp_path, 1, wait=2)])
    (began,) = await wait_entries(tmp_path, "began", 1)
    first, second = sorted(members, key=lambda member: member.pid != began.pid)
    await first.kill()
    await wait_entries(tmp_path, "began", 2)
    row = await wait_status(pool, job_id, "running")
    assert (row["crash_attempts"], row["error_attempts"]) == (1, 0)
    assert (await wait_status(pool, job_id, timeout_s=20))["status"] == "completed"
    assert [one.attempt for one in entries(tmp_path) if one.pid == second.pid] == [2, 2]


async def test_a_drained_worker_finishes_its_steps_and_loses_nothing(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    first, _ = await asyncio.gather(fleet.start(slots=30, prefetch=10), fleet.start(slots=30))
    await submit(pool, "chained", [make_input(tmp_path, name, wait=0.1) for name in range(80)])
    await wait_entries(tmp_path, "ended", 40)
    assert await first.drain() == 0
    left = [one for one in entries(tmp_path) if one.pid == first.pid]
    assert sum(one.what == "began" for one in left) == sum(one.what == "ended" for one in left) > 0
    assert await wait_all_ended(pool, 80, timeout_s=40) == {"completed": 80}
    ended = count(entries(tmp_path), "ended")
    assert len(ended) == 80 * 8
    assert set(ended.values()) == {1}
    assert {one.attempt for one in entries(tmp_path)} == {1}


async def test_what_does_not_finish_within_the_grace_is_given_back_uncharged(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    first = await fleet.start(grace=0.5)
    waits = {"call_and_pause": 4}
    await submit(pool, "calling", [make_input(tmp_path, name, waits=waits) for name in range(10)])
    await wait_entries(tmp_path, "asked", 10)
    drained = asyncio.create_task(first.drain())
    second = await fleet.start()
    assert await drained == 0
    assert await wait_all_ended(pool, 10, timeout_s=40) == {"completed": 10}
    again = [one for one in entries(tmp_path) if one.pid == second.pid]
    assert {one.step for one in again} == {"call_and_pause", "after"}
    assert {one.attempt for one in again} == {1}
    assert set(count(entries(tmp_path), "asked").values()) == {1}


async def test_a_frozen_process_can_not_write_when_it_comes_back(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    first = await fleet.start(FROZEN_AFTER_S=2, BEAT_S=0.5, POLL_S=0.5)
    await submit(pool, "chained", [make_input(tmp_path, name, wait=0.3) for name in range(20)])
    await wait_entries(tmp_path, "began", 20, step="s2")
    first.send(signal.SIGSTOP)
    second = await fleet.start(FROZEN_AFTER_S=2, BEAT_S=0.5, POLL_S=0.5)
    await wait_entries(tmp_path, "ended", 20, step="s4")
    first.send(signal.SIGCONT)
    assert await wait_all_ended(pool, 20, timeout_s=40) == {"completed": 20}
    completed = await checkpoints_by_step(pool)
    assert len(completed) == 20 * 8
    assert set(completed.values()) == {1}
    # It serves on: jobs for it alone are done.
    await second.kill()
    await submit(pool, "single", [make_input(tmp_path, "later")])
    assert await wait_all_ended(pool, 21, timeout_s=30) == {"completed": 21}
    assert first.is_alive
    assert [one.pid for one in entries(tmp_path) if one.job == "later"] == [first.pid, first.pid]


async def test_a_blocked_loop_loses_nothing_and_is_named(fleet: Fleet, pool: Pool, tmp_path: Path) -> None:
    options = {"FROZEN_AFTER_S": 30, "BEAT_S": 0.5, "POLL_S": 0.5}
    first, second = await asyncio.gather(fleet.start(**options), fleet.start(**options))
    jobs = [make_input(tmp_path, name) for name in range(10)]
    await submit(pool, "blocking", [make_input(tmp_path, "blocks", block=5), *jobs])
    assert await wait_all_ended(pool, 11, timeout_s=40) == {"completed": 11}
    assert set(count(entries(tmp_path), "began").values()) == {1}
    assert {one.attempt for one in entries(tmp_path)} == {1}
    (pid,) = {one.pid for one in entries(tmp_path) if one.job == "blocks" and one.step == "block"}
    blocked = first if first.pid == pid else second
    lines = blocked.log_lines("loop.blocked")
    assert lines
    assert any("block" in line["task"] and "block (" in line["stack"] for line in lines)
    assert not first.log_lines("task.reclaimed") + second.log_lines("task.reclaimed")


async def test_a_kill_during_a_save_leaves_neither_rows_nor_checkpoint(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    first = await fleet.start()
    (job_id,) = await submit(pool, "keeping", [make_input(tmp_path, 1, manner="pg_sleep")])
    sleeping = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    await wait_for(lambda: query(pool, sleeping))
    await first.kill()
    assert await query(pool, "SELECT FROM public.saved") == []
    assert await query(pool, "SELECT FROM rkyc.checkpoint WHERE step = 'keep'") == []
    await query(pool, "UPDATE rkyc.job SET input = input - 'manner'")
    await fleet.start()
    row = await wait_status(pool, job_id, timeout_s=40)
    assert row["status"] == "completed"
    assert len(await query(pool, "SELECT FROM public.saved")) == 1


async def test_saves_land_once_each_while_workers_are_killed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await fleet.keep_running(2, slots=20)
    await submit(pool, "keeping", [make_input(tmp_path, name, wait=0.05) for name in range(150)])
    for number in (20, 60, 100):
        await wait_for(lambda number=number: _has_saved(pool, number), timeout_s=40)
        await fleet.pick().kill()
    assert await wait_all_ended(pool, 150, timeout_s=60) == {"completed": 150}
    rows = await query(pool, "SELECT job, count(*) AS n FROM public.saved GROUP BY job")
    assert len(rows) == 150
    assert {row["n"] for row in rows} == {1}
    assert set((await checkpoints_by_step(pool)).values()) == {1}


async def _has_saved(pool: Pool, number: int) -> bool:
    (row,) = await query(pool, "SELECT count(*) AS n FROM public.saved")
    return bool(row["n"] >= number)


async def test_a_job_that_kills_its_process_is_found_and_nobody_else_is_blamed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await fleet.keep_running(2, POLL_S=0.3)
    inputs = [make_input(tmp_path, name, wait=0.4) for name in range(40)]
    inputs[7] = make_input(tmp_path, "killer", wait=0.2, dies=True)
    await submit(pool, "dying", inputs)
    counts = await wait_all_ended(pool, 40, timeout_s=90)
    assert counts == {"completed": 39, "failed": 1}
    (dead,) = await query(
        pool,
        """SELECT j.input ->> 'job' AS job, d.reason, d.error_code, h.step, h.crash_attempts
           FROM rkyc.dead_letter d JOIN rkyc.job j ON j.id = d.job_id JOIN rkyc.history h ON h.job_id = j.id""",
    )
    assert tuple(dead) == ("killer", "worker_lost", "POISON", "die", 5)
    assert set((await checkpoints_by_step(pool)).values()) == {1}
    # Two crashes among the others, three alone.
    assert (
        Counter(one.job for one in entries(tmp_path) if one.what == "began" and one.step == "die")["killer"]
        == 5
    )
    assert await tasks_left(pool) == []


async def test_forked_jobs_join_once_while_workers_are_killed(
    fleet: Fleet, pool: Pool, tmp_path: Path
) -> None:
    await fleet.keep_running(2, slots=25)
    number = 40
    await submit(pool, "nested", [make_input(tmp_path, name, wait=0.05) for name in range(number)])
    for joined in (5, 25):
        await wait_entries(tmp_path, "joined", joined, timeout_s=40)
        await fleet.pick().kill()
    assert await wait_all_ended(pool, number, timeout_s=60) == {"completed": number}
    completed = await checkpoints_by_step(pool)
    assert set(completed.values()) == {1}
    assert len(completed) == number * 9
    assert await tasks_left(pool) == []
