"""The database goes away in the middle of an analysis and comes back: nothing is lost, nothing asked twice."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from rkyc.store.embedded import EmbeddedServer, ensure_running
from rkyc.store.server_process import wait_for_end
from tests.support.database import private_server
from tests.support.engine import wait_for
from tests.support.kyc_scene import STEPS, is_asked, repeated, started
from tests.support.kyc_vendors import DIRECT, script_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

# A model's answer comes while the database is away.
ANSWER_S = 3.0


@pytest.mark.parametrize(
    "away_s", [6.0, pytest.param(20.0, marks=pytest.mark.system)], ids=lambda away_s: f"{away_s:g}s"
)
async def test_analysis_outlasts_a_database_that_is_away(away_s: float, tmp_path: Path) -> None:
    script = script_of()
    script["rules"].insert(0, {"match": DIRECT, "latency_s": ANSWER_S, "answer": {"signals": []}})
    async with private_server(tmp_path) as postgres, started(postgres.dsn, tmp_path, script) as scene:
        await wait_for(lambda: is_asked(scene), timeout_s=60, what="a question to a model")
        asked = len(scene.vendors.calls())
        await _stop(postgres)
        # Stands for the outage itself, not for something to wait for.
        await asyncio.sleep(away_s)
        await ensure_running(postgres.data_dir)
        await wait_for(scene.has_ended, timeout_s=60, what="the job's end")
        job, steps = await scene.status(), await scene.steps()
        assert job["status"] == "completed", dict(job)
        assert {name: row["status"] for name, row in steps.items()} == dict.fromkeys(STEPS, "completed")
        assert all(server.is_alive for server in scene.servers)
        assert repeated(scene.vendors.calls()) == []
        assert len(scene.vendors.calls()) > asked
        assert job["crash_attempts"] == 0


async def _stop(postgres: EmbeddedServer) -> None:
    """Stop it at once, cleanly, as an operator would."""
    os.kill(postgres.pid, signal.SIGINT)
    await wait_for_end(postgres.pid)
