"""What `rkyc sql` shows of a running analysis: each step's moves, and never a sixth status."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from tests.support.dossiers import HANBIT
from tests.support.hosts import Host, open_hosts
from tests.support.kyc_vendors import script_of
from tests.support.vendors import open_vendors

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

Ask: TypeAlias = Callable[[str], Awaitable[list[Any]]]

STEPS = ("snapshot", "doc_ingest", "external", "context", "signal", "validation", "index", "insight")
RANKS = {"pending": 0, "running": 1, "completed": 2}
# Steps that ask a vendor are seen running because of its latency, the others because a table that they
# are the first to need is locked until they were seen.
LATENCY_S = 0.5
LOCKED = {
    "snapshot": "corp",
    "doc_ingest": "document",
    "context": "case_memory",
    "validation": "risk_signal",
}


async def test_views_show_each_step_move_and_progress_that_never_falls(dsn: str, tmp_path: Path) -> None:
    script = script_of() | {"latency_s": LATENCY_S}
    async with (
        open_vendors(tmp_path, script) as vendors,
        open_hosts(tmp_path, {"RKYC_DSN": dsn, **vendors.variables}) as (host,),
        locks(dsn) as held,
        open_shell(host) as ask,
    ):
        job_id = (await host.run("submit", "kyc", "--dossier", HANBIT)).out.strip()
        first = await ask(f"select status, progress_pct from rkyc.job_status where job_id = '{job_id}'")
        assert first == [{"status": "pending", "progress_pct": 0}]
        seen: dict[str, list[str]] = {name: ["pending"] for name in STEPS}
        jobs: list[Any] = []
        analyses: list[Any] = []
        await host.serve("--no-api")
        while not jobs or jobs[-1]["status"] in ("pending", "running"):
            jobs += await ask(f"select * from rkyc.job_status where job_id = '{job_id}'")
            look = await ask(f"select * from rkyc.step_status where job_id = '{job_id}'")
            analyses += await ask("select * from rkyc.analysis_jobs")
            assert [row["step"] for row in look] == list(STEPS)
            assert [row["status"] for row in look].count("running") <= 1
            for row in look:
                if seen[row["step"]][-1] != row["status"]:
                    seen[row["step"]].append(row["status"])
                if row["status"] == "running" and row["step"] in held:
                    await held.pop(row["step"]).close()
        seen["insight"].append(
            (await ask(f"select * from rkyc.step_status where job_id = '{job_id}'"))[-1]["status"]
        )
    assert {name: list(dict.fromkeys(statuses)) for name, statuses in seen.items()} == {
        name: ["pending", "running", "completed"] for name in STEPS
    }
    assert (jobs[0]["pipeline"], jobs[-1]["status"], jobs[-1]["progress_pct"]) == ("kyc", "completed", 100)
    assert all(before["progress_pct"] <= after["progress_pct"] for before, after in pairwise(jobs))
    assert all(row["progress_pct"] < 100 for row in jobs if row["status"] != "completed")
    assert {row["pipeline_step"] for row in analyses} == set(STEPS)
    corps = [row["corp_id"] for row in analyses]
    assert corps[-1] is not None and set(corps) <= {None, corps[-1]}
    assert {row["id"] for row in analyses} == {job_id}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'paused'::rkyc.job_state",
        "INSERT INTO rkyc.history (job_id, state, seq, finished_at) VALUES (1, 'paused', 1, now())",
        "INSERT INTO rkyc.history (job_id, state, seq, finished_at) VALUES (1, 'running', 1, now())",
    ],
)
async def test_database_refuses_a_status_that_is_none(statement: str, dsn: str, tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {"RKYC_DSN": dsn}) as (host,):
        done = await host.run("sql", "--write", statement)
    assert done.code == 2
    assert "violates check constraint" in done.err
    conn = await asyncpg.connect(dsn)
    assert await conn.fetchval("SELECT count(*) FROM rkyc.history") == 0
    await conn.close()


@contextlib.asynccontextmanager
async def locks(dsn: str) -> AsyncIterator[dict[str, asyncpg.Connection[asyncpg.Record]]]:
    """Hold the tables of `LOCKED`, each by a connection whose end releases it."""
    held = {step: await asyncpg.connect(dsn) for step in LOCKED}
    for step, conn in held.items():
        await conn.execute(f"BEGIN; LOCK TABLE rkyc.{LOCKED[step]} IN ACCESS EXCLUSIVE MODE")
    try:
        yield held
    finally:
        for conn in held.values():
            await conn.close()


@contextlib.asynccontextmanager
async def open_shell(host: Host) -> AsyncIterator[Ask]:
    """Run `rkyc sql --json` as a loop; what is yielded puts one statement to it and returns the rows."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "rkyc", "sql", "--json"],
        cwd=host.cwd,
        env=host.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    typed, told = process.stdin, process.stdout

    async def ask(statement: str) -> list[Any]:
        typed.write(f"{statement};\n".encode())
        text = ""
        while True:
            line = await told.readline()
            assert line, text
            text += line.decode()
            # The value ends at the margin.
            if line in (b"]\n", b"[]\n"):
                rows: list[Any] = json.loads(text)
                return rows

    try:
        yield ask
    finally:
        typed.close()
        await process.wait()
