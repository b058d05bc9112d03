"""Who counts as dead, and what becomes of the tasks of the dead."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import commits, tasks, workers
from tests.support.engine import announce, query, serve, wait_for
from tests.support.moves import NOW, add_job, add_worker, advance, claim, retry
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


async def hold(conn: Connection, jobs: int = 1) -> tuple[int, list[Claim]]:
    worker_id = await add_worker(conn)
    for _ in range(jobs):
        await add_job(conn, "chained")
    return worker_id, await claim(conn, worker_id, slots=jobs)


async def reclaim(conn: Connection, worker_id: int, frozen_after_s: float = 60.0) -> int:
    async with conn.transaction():
        rows = await workers.reclaim_tasks(conn, worker_ids=[worker_id], frozen_after_s=frozen_after_s)
    return sum(row["tasks"] for row in rows)


async def test_the_tasks_of_a_worker_without_presence_are_ready_again(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, (held,) = await hold(conn)
        assert await reclaim(conn, worker_id) == 1
        (again,) = await claim(conn, worker_id)
        assert (again.crash_attempts, again.error_attempts, again.step) == (1, 0, "s1")
        assert again.fence > held.fence


async def test_a_worker_whose_presence_stands_is_left_alone(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        presence = await pool.dedicated(application_name=f"rkyc worker {worker_id}")
        try:
            assert await reclaim(conn, worker_id) == 0
            assert await reclaim(conn, worker_id + 1) == 0
            # A frozen process has a presence and no beat.
            assert await reclaim(conn, worker_id, frozen_after_s=0.0) == 1
        finally:
            await presence.close()


async def test_the_presence_of_another_worker_is_not_taken_for_its_own(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        other = await pool.dedicated(application_name=f"rkyc worker {worker_id}0")
        try:
            assert await reclaim(conn, worker_id) == 1
        finally:
            await other.close()


async def test_a_reclaimed_task_goes_on_behind_its_last_checkpoint(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, (held,) = await hold(conn)
        await commits.advance_tasks(conn, [advance(held, "s2")], worker_id=worker_id, now=NOW)
        assert await reclaim(conn, worker_id) == 1
        (again,) = await claim(conn, worker_id)
        assert (again.step, again.crash_attempts) == ("s2", 1)


async def test_a_checkpoint_that_commits_during_the_reclaim_is_not_run_again(pool: Pool) -> None:
    """The reclaim took its snapshot, waits for a lock, and a last commit of the dying worker lands meanwhile."""
    await announce(pool, *registry)
    async with pool.connection() as conn, pool.connection() as blocker, pool.connection() as dying:
        worker_id, (held,) = await hold(conn)
        waiting = blocker.transaction()
        await waiting.start()
        await blocker.execute("SELECT FROM rkyc.worker WHERE id = $1 FOR UPDATE", worker_id)
        reclaiming = asyncio.create_task(reclaim(conn, worker_id))

        async def waits() -> bool:
            rows = await query(pool, "SELECT FROM pg_locks WHERE NOT granted")
            return bool(rows)

        await wait_for(waits)
        advancing = asyncio.create_task(
            commits.advance_tasks(dying, [advance(held, "s2")], worker_id=worker_id, now=NOW)
        )
        await asyncio.wait({advancing}, timeout=0.1)
        await waiting.rollback()
        assert await reclaiming == 1
        landed = await advancing
        (again,) = await claim(conn, worker_id)
        assert again.step == ("s2" if landed else "s1")


async def test_a_commit_under_way_is_waited_out_and_not_overtaken(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn, pool.connection() as dying:
        worker_id, (held,) = await hold(conn)
        committing = dying.transaction()
        await committing.start()
        assert await commits.advance_tasks(dying, [advance(held, "s2")], worker_id=worker_id, now=NOW)
        assert await reclaim(conn, worker_id) == 0
        await committing.commit()
        # It is marked as ended by then, and still found by its running row.
        rows = await workers.watch_workers(
            conn, worker_id=worker_id + 1, restart_grace_s=12.0, looks_deep=True
        )
        assert [row["id"] for row in rows] == [worker_id]
        assert await reclaim(conn, worker_id) == 1
        (again,) = await claim(conn, worker_id)
        assert again.step == "s2"


async def test_two_reclaims_at_once_take_each_task_once(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as first, pool.connection() as second:
        worker_id, _ = await hold(first, jobs=50)
        counts = await asyncio.gather(reclaim(first, worker_id), reclaim(second, worker_id))
        assert sum(counts) == 50
        again = await claim(first, worker_id, slots=100)
        assert [one.crash_attempts for one in again] == [1] * 50


async def test_after_two_crashes_a_task_is_a_suspect_and_after_three_alone_it_is_buried(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        await reclaim(conn, worker_id)
        worker_id = await add_worker(conn)
        await claim(conn, worker_id)
        await reclaim(conn, worker_id)
        assert await claim(conn, worker_id) == []
        for crashes in (2, 3, 4):
            worker_id = await add_worker(conn)
            suspect = await tasks.claim_suspect(
                conn, wake_keys=["chained@1"], lanes=["default"], worker_id=worker_id, now=NOW
            )
            assert suspect is not None
            assert (suspect.crash_attempts, suspect.alone_crashes) == (crashes, crashes - 2)
            await reclaim(conn, worker_id)
        assert (
            await tasks.claim_suspect(
                conn, wake_keys=["chained@1"], lanes=["default"], worker_id=worker_id, now=NOW
            )
            is None
        )
        (last,) = await claim(conn, await add_worker(conn))
        assert last.alone_crashes == 3


async def test_a_checkpoint_clears_the_record_of_crashes(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        await reclaim(conn, worker_id)
        worker_id = await add_worker(conn)
        (held,) = await claim(conn, worker_id)
        assert held.crash_attempts == 1
        await commits.advance_tasks(conn, [advance(held, "s2")], worker_id=worker_id, now=NOW)
        await reclaim(conn, worker_id)
        (again,) = await claim(conn, worker_id)
        assert again.crash_attempts == 1


async def test_a_retry_of_a_later_step_is_not_charged_with_the_crashes_of_the_one_before(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        await reclaim(conn, worker_id)
        worker_id = await add_worker(conn)
        await claim(conn, worker_id)
        await reclaim(conn, worker_id)
        worker_id = await add_worker(conn)
        suspect = await tasks.claim_suspect(
            conn, wake_keys=["chained@1"], lanes=["default"], worker_id=worker_id, now=NOW
        )
        assert suspect is not None
        # Its process dies right after the checkpoint, before it could let go of the next step.
        await commits.advance_tasks(conn, [advance(suspect, "s2")], worker_id=worker_id, now=NOW)
        await reclaim(conn, worker_id)
        worker_id = await add_worker(conn)
        (held,) = await claim(conn, worker_id)
        assert (held.step, held.crash_attempts, held.alone_crashes) == ("s2", 1, 1)
        await commits.advance_tasks(conn, [advance(held, "s3")], worker_id=worker_id, now=NOW)
        # As the executor goes on after a checkpoint.
        held.events, held.step, held.crash_attempts, held.alone_crashes = held.events + 1, "s3", 0, 0
        await commits.retry_tasks(conn, [retry(held)], worker_id=worker_id, now=NOW)
        row = await conn.fetchrow("SELECT step, crash_attempts, alone_crashes FROM rkyc.scheduled")
        assert tuple(row) == ("s3", 0, 0)


async def test_a_suspect_of_an_unknown_version_is_not_claimed(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        await hold(conn)
        await conn.execute("UPDATE rkyc.running SET crash_attempts = 1")
        await reclaim(conn, 1)
        assert (
            await tasks.claim_suspect(conn, wake_keys=["chained@2"], lanes=["default"], worker_id=1, now=NOW)
            is None
        )
        assert (
            await tasks.claim_suspect(conn, wake_keys=["chained@1"], lanes=["low"], worker_id=1, now=NOW)
            is None
        )


async def may_judge(conn: Connection, worker_id: int) -> bool:
    rows = await workers.watch_workers(
        conn, worker_id=worker_id + 1000, restart_grace_s=12.0, looks_deep=True
    )
    (judged,) = [row["may_judge"] for row in rows if row["id"] == worker_id]
    return bool(judged)


async def test_absence_proves_nothing_until_a_while_after_a_crash_of_the_server(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        await workers.mark_presence(conn, worker_id)
        # What the server does to an unlogged table when a backend crashes.
        await conn.execute("TRUNCATE rkyc.boot")
        assert not await may_judge(conn, worker_id)
        await conn.execute("INSERT INTO rkyc.boot (at) VALUES (clock_timestamp())")
        assert not await may_judge(conn, worker_id)
        await conn.execute("UPDATE rkyc.boot SET at = at - interval '13 s'")
        assert await may_judge(conn, worker_id)


async def test_a_presence_that_stood_after_the_crash_is_judged_at_once(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        await conn.execute("TRUNCATE rkyc.boot")
        await workers.mark_presence(conn, worker_id)
        assert await may_judge(conn, worker_id)


async def test_an_ordinary_role_sees_the_presences_of_others(pool: Pool, admin_dsn: str) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, _ = await hold(conn)
        presence = await pool.dedicated(application_name=f"rkyc worker {worker_id}")
        role = f"ordinary_{worker_id}_{id(conn)}"
        await conn.execute(f"CREATE ROLE {role} NOSUPERUSER")
        try:
            await conn.execute(
                f"GRANT USAGE ON SCHEMA rkyc TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA rkyc TO {role}"
            )
            await conn.execute(f"SET ROLE {role}")
            rows = await workers.watch_workers(
                conn, worker_id=worker_id + 1, restart_grace_s=12.0, looks_deep=True
            )
            assert [row["is_present"] for row in rows if row["id"] == worker_id] == [True]
        finally:
            await conn.execute("RESET ROLE")
            await conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
            await presence.close()


async def test_no_view_reads_a_table_that_a_standby_can_not(pool: Pool) -> None:
    rows = await query(
        pool,
        """SELECT DISTINCT v.relname FROM pg_class v JOIN pg_rewrite w ON w.ev_class = v.oid
           JOIN pg_depend d ON d.objid = w.oid JOIN pg_class t ON t.oid = d.refobjid
           WHERE v.relkind = 'v' AND t.relpersistence = 'u'""",
    )
    assert rows == []


async def test_a_worker_id_is_never_used_again(pool: Pool) -> None:
    async with pool.connection() as conn:
        first = await add_worker(conn)
        await conn.execute("DELETE FROM rkyc.worker")
        assert await add_worker(conn) > first
        with pytest.raises(asyncpg.PostgresError):
            await conn.execute("INSERT INTO rkyc.worker (id) VALUES (1)")


LONG_AGO = "clock_timestamp() - interval '40 days'"


async def prune(conn: Connection) -> set[int]:
    """Prune, and return which workers are left."""
    await workers.prune_workers(conn, kept_days=30)
    return {row["id"] for row in await conn.fetch("SELECT id FROM rkyc.worker")}


async def test_a_worker_that_ended_or_was_lost_long_ago_is_forgotten(pool: Pool) -> None:
    async with pool.connection() as conn:
        ended, lost, recent = [await add_worker(conn) for _ in range(3)]
        await workers.end_worker(conn, recent)
        await conn.execute(
            f"UPDATE rkyc.worker SET beat_at = {LONG_AGO} WHERE id = ANY ($1)", [ended, lost, recent]
        )
        await conn.execute(f"UPDATE rkyc.worker SET ended_at = {LONG_AGO} WHERE id = $1", ended)
        assert await prune(conn) == {recent}


async def test_a_worker_whose_presence_stands_or_that_holds_a_task_is_not_forgotten(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        present, (busy, _) = await add_worker(conn), await hold(conn)
        await conn.execute(f"UPDATE rkyc.worker SET beat_at = {LONG_AGO}")
        # As old as can be, so that it keeps nobody.
        await conn.execute("UPDATE rkyc.job SET created_at = clock_timestamp()")
        presence = await pool.dedicated(application_name=f"rkyc worker {present}")
        try:
            assert await prune(conn) == {present, busy}
        finally:
            await presence.close()


async def test_a_worker_whose_name_stands_in_a_view_is_kept_until_the_job_goes(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id, (held,) = await hold(conn)
        await commits.advance_tasks(conn, [advance(held, "s2")], worker_id=worker_id, now=NOW)
        await reclaim(conn, worker_id)
        await conn.execute(f"UPDATE rkyc.worker SET beat_at = {LONG_AGO}, ended_at = {LONG_AGO}")
        await conn.execute(f"UPDATE rkyc.job SET created_at = {LONG_AGO} - interval '1 minute'")
        assert await prune(conn) == {worker_id}
        assert [
            row["worker"] for row in await conn.fetch("SELECT worker FROM rkyc.step_status WHERE step = 's1'")
        ] == ["tester"]
        await conn.execute("DELETE FROM rkyc.job")
        assert await prune(conn) == set()


async def test_a_worker_that_slept_until_it_was_forgotten_is_watched_again(dsn: str, pool: Pool) -> None:
    async with serve(dsn, registry=registry) as worker:
        await query(pool, "DELETE FROM rkyc.worker")

        async def is_back() -> bool:
            return bool(
                await query(
                    pool,
                    "SELECT FROM rkyc.worker WHERE id = $1 AND presence_at IS NOT NULL",
                    worker.worker_id,
                )
            )

        await wait_for(is_back)
