"""The whole program on Debian's Postgres for an ordinary role: an analysis, a restart, the engine's tests."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import anyio
import asyncpg
import pytest

from rkyc.store.embedded import ensure_running
from rkyc.store.server_process import wait_for_end
from tests.support.dossiers import HANBIT
from tests.support.engine import wait_for
from tests.support.expected import judge
from tests.support.hosts import open_hosts
from tests.support.kyc_scene import STEPS, is_asked, repeated, started
from tests.support.kyc_vendors import DIRECT, script_of
from tests.system.conftest import open_debian_server, open_ordinary_database

pytestmark = [pytest.mark.system, pytest.mark.anyio, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
# A model's answer comes while the database restarts.
ANSWER_S = 4.0


async def test_example_is_analysed_as_on_the_embedded_server(ordinary_dsn: str, tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {"RKYC_DSN": ordinary_dsn}) as (host,):
        done = await host.run("analyze", HANBIT, "--json", "-", "--out", tmp_path / "out")
    assert done.code == 0, done
    verdict = judge(json.loads(done.out), HANBIT)
    assert (verdict.missing, verdict.forbidden) == ((), ())
    assert len(verdict.others) <= verdict.others_max
    conn = await asyncpg.connect(ordinary_dsn)
    assert await conn.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 0
    await conn.close()


async def test_analysis_outlasts_an_immediate_restart(tmp_path: Path) -> None:
    script = script_of()
    script["rules"].insert(0, {"match": DIRECT, "latency_s": ANSWER_S, "answer": {"signals": []}})
    async with (
        open_debian_server(tmp_path) as server,
        open_ordinary_database(server.dsn) as dsn,
        started(dsn, tmp_path, script) as scene,
    ):
        await wait_for(lambda: is_asked(scene), timeout_s=60, what="a question to a model")
        # What pg_ctl restart -m immediate does: no shutdown, recovery at the start.
        os.kill(server.pid, signal.SIGQUIT)
        await wait_for_end(server.pid)
        await ensure_running(server.data_dir)
        await wait_for(scene.has_ended, timeout_s=60, what="the job's end")
        job, steps = await scene.status(), await scene.steps()
        assert job["status"] == "completed", dict(job)
        assert {name: row["status"] for name, row in steps.items()} == dict.fromkeys(STEPS, "completed")
        assert all(each.is_alive for each in scene.servers)
        assert repeated(scene.vendors.calls()) == []


async def test_engine_and_store_pass_their_tests_there(debian_dsn: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--numprocesses=2",
        "tests/engine",
        # Histories of the engine's decisions, which are the same on any server.
        "--ignore=tests/engine/test_protocol.py",
        # Threads, child processes and limits in time are Python's.
        "--ignore=tests/engine/test_blocking.py",
        "--ignore=tests/engine/test_bodies.py",
        "--ignore=tests/engine/test_pulse.py",
        "tests/store/queue",
        "tests/store/kyc",
    ]
    environ = {**os.environ, "RKYC_TEST_DSN": debian_dsn}
    done = await anyio.run_process(
        [*command, "-m", "not system and not prove"], cwd=ROOT, env=environ, check=False
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-6000:]
