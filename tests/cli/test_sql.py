"""`sql`, `migrate` and `graph`."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import asyncpg
import pytest

from tests.support.hosts import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def test_rows_come_as_json_with_their_own_types(host: Host) -> None:
    statement = """select 1 as n, 'a'::text as t, null as x, '{"k": [1]}'::jsonb as j, 2.5::numeric as d"""
    done = await host.run("sql", "--json", statement)
    assert done.json == [{"n": 1, "t": "a", "x": None, "j": {"k": [1]}, "d": 2.5}]


async def test_text_of_a_table_cannot_steer_the_terminal(host: Host) -> None:
    done = await host.run("sql", r"select E'a\x1b[2Jb\nc' as t")
    assert "\x1b[2J" not in done.out and "a [2Jb c" in done.out


async def test_statement_that_writes_needs_leave(host: Host, dsn: str) -> None:
    statement = "insert into rkyc.lane values ('night', 9)"
    done = await host.run("sql", statement)
    assert done.code == 2 and "--write" in done.err
    assert (await host.run("sql", "--write", statement)).code == 0
    conn = await asyncpg.connect(dsn)
    try:
        assert await conn.fetchval("SELECT rank FROM rkyc.lane WHERE name = 'night'") == 9
    finally:
        await conn.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("selec 1", "syntax error"),
        ("select 1; select 2", "multiple commands"),
        ("select 'paused'::rkyc.job_state", "job_state"),
        ("begin; commit; delete from rkyc.job", "multiple commands"),
    ],
)
async def test_refused_statement_is_told(statement: str, told: str, host: Host) -> None:
    done = await host.run("sql", statement)
    assert done.code == 2 and told in done.err and "Traceback" not in done.err


async def test_sixth_status_is_refused_by_the_database_itself(host: Host) -> None:
    statement = "insert into rkyc.history (job_id, state, seq, finished_at) values (1, 'paused', 1, now())"
    done = await host.run("sql", "--write", statement)
    assert done.code == 2 and "check constraint" in done.err


async def test_loop_goes_on_after_a_refused_statement(host: Host) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rkyc", "sql", "--json"),
        env=host.environ,
        cwd=host.cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate(b"select 1\n as a;\nnonsense;\nselect 2 as b")
    assert process.returncode == 0
    assert out.decode().split() == ["[", "{", '"a":', "1", "}", "]", "[", "{", '"b":', "2", "}", "]"]
    assert "nonsense" in err.decode()


async def test_views_can_be_asked(host: Host) -> None:
    for view in ("job_status", "step_status", "analysis_jobs", "worker_status", "queue_depth"):
        assert (await host.run("sql", "--json", f"select * from rkyc.{view}")).json == []
    # Empty queues are shown too: a lane's name is all there is to say of them.
    shown = (await host.run("sql", "--json", "select queue, dead, archived from rkyc.dlq_depth")).json
    assert {row["queue"]: (row["dead"], row["archived"]) for row in shown} == {
        f"dlq.{lane}": (0, 0) for lane in ("high", "default", "low")
    }


async def test_script_of_migrations_makes_the_schema(host: Host, empty_dsn: str) -> None:
    script = (await host.run("migrate", "--sql")).out.removeprefix("\\set ON_ERROR_STOP on\n")
    conn = await asyncpg.connect(empty_dsn)
    try:
        await conn.execute(script)
    finally:
        await conn.close()
    done = await host.run("migrate", "--json", "--dsn", empty_dsn)
    assert done.json["version"] == script.count("INSERT INTO rkyc.schema_version (number")


async def test_graph_lists_the_eight_steps_in_order_with_their_tasks(host: Host) -> None:
    done = await host.run("graph", "kyc")
    rows = [line.split() for line in done.out.splitlines()[2:]]
    assert [row[1] for row in rows] == (
        ["snapshot", "doc_ingest", "external", "context", "signal", "validation", "index", "insight"]
    )
    assert rows[0] == ["1", "snapshot", "collect_snapshot"]
    executors = await host.run("graph", "kyc", "--executors")
    assert "collect_snapshot" in executors.out and "rkyc.steps.kyc.snapshot.run" in executors.out


async def test_graph_draws_branches_and_their_join(host: Host) -> None:
    done = await host.run("graph", "nested", "--app", "tests.support.probes:registry")
    assert done.code == 0
    assert "├─" in done.out and "└─" in done.out and "waits for 3" in done.out
    names = {"start", "a1", "a2", "a3", "a4", "b1", "b2", "c1", "last"}
    assert names <= set(done.out.split())
    unknown = await host.run("graph", "nothing")
    assert unknown.code == 2 and "expected one of kyc" in unknown.err
