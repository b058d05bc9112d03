"""Guards of plans: no hot statement reads a growing table from end to end, however its plan was made.

Each statement is run, and taken back, on a new database and on one with a million finished jobs, a million
checkpoints and 100,000 scheduled tasks: with true statistics and with those of an empty database. Three ways of
planning, as the store's connections have them: dedicated connections keep plans that go along indexes
(`QUEUE_SETTINGS`); lent ones keep plans of any kind; behind a pooler each run is planned anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable

import pytest

from bench.filled import fill
from rkyc.store.pool import QUEUE_SETTINGS, Connection
from rkyc.store.statements import Statement
from tests.support.plan_scene import ROWS, set_scene
from tests.support.plans import STATEMENTS, connect, explain, filled_database, prepare

# The first of them fills a template.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

MILLION = 1_000_000
# Enough that a scan is seen, in pages as well.
SOME = 30_000
DEDICATED = QUEUE_SETTINGS
LENT = {"plan_cache_mode": "force_generic_plan"}
POOLED = {"plan_cache_mode": "force_custom_plan"}
# Where plans are not kept, a table of so few pages is read as a whole, and rightly so. With what the runs that were
# taken back have left behind.
SMALL_PAGES = 64

# Pages for people, with tests of their own, and sums over all that waits.
FOR_PEOPLE = {name for name in STATEMENTS if name.startswith("list_")} - {"list_held_tasks", "list_lanes"} | {
    "measure_lanes",
    "read_dead_letter",
    "read_horizon_holder",
    "read_why",
}
# What a person does to a job, a lane or a pipeline: each has tests of its own.
FOR_PEOPLE |= {
    "read_outputs_of",
    "drop_joins",
    "find_next_run",
    "lock_place",
    "hold_place",
    "move_children",
    "move_job",
    "move_journal",
    "is_served",
    "end_pause",
    "list_names",
    "read_undo",
    "forget_pauses",
    "resume_job",
}
# Of the test kit, on databases of a test.
FOR_PEOPLE |= {"read_standstill", "say_offset", "shift_new_jobs"}
HOT = [statement for name, statement in STATEMENTS.items() if name not in FOR_PEOPLE]
# What somebody asks about one job: never sent on a dedicated connection.
READS = {"read_end", "read_job", "read_plan", "read_step_output", "read_steps"}
# Sent only where scans are switched off; planned for a small table, they would sort or scan it.
CLAIMS = {
    "arrive_tasks",
    "claim_tasks",
    "claim_parked_tasks",
    "claim_suspect",
    "find_oldest_lane",
    "pass_turn",
    "promote_due_tasks",
    "promote_due_waits",
    "wake_tasks",
    "lock_turns",
    "find_turn_lanes",
    "claim_turns",
    "prune_turns",
    # On the connection of the retention.
    "delete_jobs",
    "lock_ended_jobs",
    # On the connection of the limits.
    "declare_limits",
    "take_slots",
    "create_slots",
    "free_slots",
    "free_orphan_slots",
    "offer_slots",
    "find_waited_scopes",
    "dismiss_waiters",
    "prune_slots",
}
OF_DEDICATED = [statement for statement in HOT if statement.name not in READS]
OF_LENT = [statement for statement in HOT if statement.name not in CLAIMS]
# `running` holds what runs now: at most the slots of all workers. An index by worker would cost every claim;
# these are asked once per beat, per watch, per death.
MAY_SCAN = {
    "beat": {"running", "pause"},
    "drop_streams": {"stream"},
    "find_running_of_others": {"running"},
    "forget_pauses": {"pause"},
    "give_turn_back": {"schedule"},
    "find_stale_tasks": {"ready_mark"},
    "list_held_tasks": {"running"},
    "list_schedules": {"schedule"},
    "lock_tasks_of_workers": {"running"},
    "prune_buckets": {"limit_bucket"},
    "prune_grants": {"limit_grant"},
    "prune_slots": {"limit_slot"},
    "prune_turns": {"fair_turn"},
    "prune_workers": {"running"},
    "watch_workers": {"running"},
}
# As many rows as bring autovacuum, in the tables that are empty again afterwards.
_USE_AND_EMPTY = """
INSERT INTO rkyc.ready (lane, job_id, step) SELECT 'default', n, 's' FROM generate_series(1, 2000) n;
INSERT INTO rkyc.running SELECT n, 0, n, 1, 'default', 's', 0, 0, 0, 0, false, now(), now(), now() FROM generate_series(1, 2000) n;
INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step) SELECT now(), 'sleep', 'default', n, 's' FROM generate_series(1, 2000) n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)
  SELECT 'no_worker', 'a@1', 'default', n, 's', now() FROM generate_series(1, 2000) n;
DELETE FROM rkyc.ready; DELETE FROM rkyc.running; DELETE FROM rkyc.scheduled; DELETE FROM rkyc.waiting;
"""
# Of each row that a claim takes, its job and its checkpoint are found by indexes that a million rows make
# two levels deeper.
LEVELS_DEEPER = 2


async def find_problems(
    conn: Connection, statements: Iterable[Statement], small_pages: int = SMALL_PAGES
) -> list[str]:
    """Return what is wrong with the plans of all these statements."""
    problems = []
    for statement in statements:
        may_scan = MAY_SCAN.get(statement.name, set())
        try:
            plan = await explain(conn, statement)
        except TimeoutError as error:
            problems.append(str(error))
            continue
        problems += plan.find_problems(may_scan=may_scan, small_pages=small_pages)
    return problems


@pytest.fixture(scope="module")
async def stale_dsn(admin_dsn: str, template: str) -> AsyncIterator[str]:
    """A full database whose statistics say that it is empty."""
    async with filled_database(admin_dsn, template, rows=MILLION) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def analyzed_dsn(admin_dsn: str, template: str) -> AsyncIterator[str]:
    """A full database whose statistics are true."""
    async with filled_database(admin_dsn, template, rows=MILLION) as dsn:
        async with connect(dsn, {}) as conn:
            await conn.execute("ANALYZE", timeout=100)
        yield dsn


async def check_each_way(dsn: str) -> None:
    """Look at all statements as dedicated, as lent and as pooled connections plan them."""
    async with (
        connect(dsn, DEDICATED) as dedicated,
        connect(dsn, LENT) as lent,
        connect(dsn, POOLED) as pooled,
    ):
        assert not (problems := await find_problems(dedicated, OF_DEDICATED, 0)), "\n".join(problems)
        assert not (problems := await find_problems(lent, OF_LENT)), "\n".join(problems)
        assert not (problems := await find_problems(pooled, HOT)), "\n".join(problems)


async def test_no_statement_scans_a_new_database(dsn: str) -> None:
    async with connect(dsn, {}) as conn:
        await set_scene(conn)
    await check_each_way(dsn)


async def test_no_statement_scans_a_full_database(analyzed_dsn: str) -> None:
    await check_each_way(analyzed_dsn)


async def test_no_statement_scans_a_full_database_that_was_analyzed_while_empty(stale_dsn: str) -> None:
    await check_each_way(stale_dsn)


async def test_plans_of_dedicated_connections_made_on_vacuumed_empty_tables_hold_when_they_are_full(
    dsn: str,
) -> None:
    async with connect(dsn, {}) as other, connect(dsn, DEDICATED) as conn:
        await other.execute("VACUUM ANALYZE")
        for statement in OF_DEDICATED:
            await prepare(conn, statement)
        await fill(other, finished=SOME, scheduled=SOME)
        await set_scene(other)
        assert not (problems := await find_problems(conn, OF_DEDICATED, 0)), "\n".join(problems)


async def test_plans_of_lent_connections_made_after_a_lull_hold_when_the_tables_are_full(dsn: str) -> None:
    """They are not proof against a VACUUM of tables that were never used; autovacuum leaves those alone."""
    async with connect(dsn, {}) as other, connect(dsn, LENT) as conn:
        await other.execute(_USE_AND_EMPTY)
        await other.execute("VACUUM ANALYZE rkyc.ready, rkyc.running, rkyc.scheduled, rkyc.waiting")
        for statement in OF_LENT:
            await prepare(conn, statement)
        await fill(other, finished=SOME, scheduled=SOME)
        await set_scene(other)
        assert not (problems := await find_problems(conn, OF_LENT)), "\n".join(problems)


async def test_autovacuum_looks_at_no_table_while_it_is_small(dsn: str) -> None:
    """What lent connections rest on: statistics of a nearly empty table would make scans look cheap."""
    async with connect(dsn, {}) as conn:
        early = await conn.fetch(
            "SELECT c.relname, o.option_value FROM pg_class c LEFT JOIN LATERAL pg_options_to_table(c.reloptions) o"
            " ON o.option_name = 'autovacuum_analyze_threshold'"
            " WHERE c.relname = ANY ($1) AND coalesce(o.option_value::int, 0) < 2000",
            ["job", "ready", "running", "scheduled", "waiting", "checkpoint", "event", "history", "journal"],
        )
    assert not (problems := early), "\n".join(problems)


async def test_a_claim_touches_the_same_pages_whatever_was_finished_before(
    dsn: str, admin_dsn: str, template: str
) -> None:
    async def count(place: str) -> Counter[str]:
        async with connect(place, DEDICATED) as conn:
            seen = [(await explain(conn, STATEMENTS["claim_tasks"])).pages_by_table() for _ in range(4)]
            # The first of a session looks for the page to write to, and any may have to go on to the next one.
            return Counter({table: min(pages[table] for pages in seen) for table in seen[0]})

    async with connect(dsn, {}) as conn:
        await set_scene(conn)
    async with filled_database(admin_dsn, template, rows=MILLION) as full_dsn:
        new, full = await count(dsn), await count(full_dsn)
    assert (full["ready"], full["running"]) == (new["ready"], new["running"])
    for table in ("job", "checkpoint"):
        assert full[table] <= new[table] + ROWS * LEVELS_DEEPER


async def test_a_look_for_stale_waits_passes_by_those_that_may_wait_on(dsn: str) -> None:
    """Of many that wait, in this lane and in others, only those beyond the least limit are read, a page of them."""
    async with connect(dsn, LENT) as conn:
        await set_scene(conn)
        await conn.execute(
            "INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)"
            " SELECT k.kind, 'k' || n % 100, CASE WHEN n % 2 = 0 THEN 'default' ELSE 'low' END, n, 's',"
            "   CASE WHEN n % 4 = 0 THEN now() + interval '2 days' ELSE now() END"
            " FROM unnest('{fair,limit,signal}'::text[]) WITH ORDINALITY AS k(kind, number)"
            f" CROSS JOIN generate_series(k.number * {SOME}, k.number * {SOME} + {SOME} - 1) n"
        )
        await conn.execute("ANALYZE rkyc.waiting")
        plan = await explain(conn, STATEMENTS["find_stale_waits"])
        assert plan.find_problems() == []
        assert plan.pages_by_table()["waiting"] < 50


async def test_the_guard_names_a_statement_whose_index_is_gone(dsn: str) -> None:
    async with connect(dsn, LENT) as conn:
        await fill(conn, finished=SOME, scheduled=SOME)
        await set_scene(conn)
        assert not (problems := (await explain(conn, STATEMENTS["has_tasks"])).find_problems()), "\n".join(
            problems
        )
        async with conn.transaction():
            await conn.execute("ALTER TABLE rkyc.scheduled DROP CONSTRAINT scheduled_pkey")
            assert (
                "has_tasks scans scheduled" in (await explain(conn, STATEMENTS["has_tasks"])).find_problems()
            )


async def test_the_guard_names_a_join_that_was_planned_on_empty_tables(dsn: str) -> None:
    join = Statement(
        "join_outputs",
        "SELECT c.output FROM unnest(:job_ids::bigint[]) AS d(job_id) JOIN rkyc.checkpoint c ON c.job_id = d.job_id",
    )
    async with connect(dsn, {}) as other, connect(dsn, LENT) as conn:
        await other.execute("VACUUM ANALYZE")
        await prepare(conn, join)
        await fill(other, finished=SOME, scheduled=1)
        await set_scene(other)
        assert (await explain(conn, join)).find_problems()[0] == "join_outputs scans checkpoint"
