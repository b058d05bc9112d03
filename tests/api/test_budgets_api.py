"""Budgets over HTTP and by the command line: a job that paused for money is resumed with more of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.store.pool import Pool
from tests.support import probes
from tests.support.engine import query, wait_for, wait_status
from tests.support.hosts import open_hosts
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio
JOBS = "/api/v1/jobs"
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    async with open_web(dsn, probes.registry) as opened:
        yield opened


@pytest.fixture
async def paused(web: Web, pool: Pool, tmp_path: Path) -> str:
    """A job that may spend nothing, before its first call."""
    body: dict[str, Any] = {
        "pipeline": "calling",
        "input": {"ledger": str(tmp_path / "ledger"), "job": "1"},
        "budget_usd": 0,
        "fair_key": "acme",
        "tenant": "bank",
        "weight": 2,
    }
    status, job = await web.post(JOBS, body)
    assert status == 202

    async def is_paused() -> bool:
        row = await wait_status(pool, UUID(job["job_id"]), "pending", "running")
        return bool(row["wait_reason"] == "budget")

    await wait_for(is_paused, what="a pause for the budget")
    return str(job["job_id"])


async def test_a_job_is_resumed_with_more_budget(web: Web, pool: Pool, paused: str) -> None:
    status, why = await web.get(f"{JOBS}/{paused}")
    assert (status, why["wait_reason"]) == (200, "budget")
    (row,) = await query(pool, "SELECT traits ->> 'tenant' AS tenant FROM rkyc.job")
    assert row["tenant"] == "bank"
    assert (await web.post(f"{JOBS}/{paused}/resume", {"budget_usd": -1}))[0] == 422
    assert (await web.post(f"{JOBS}/{paused}/resume", {"budget_usd": 1}))[0] == 200
    assert (await wait_status(pool, UUID(paused)))["status"] == "completed"
    assert (await web.post(f"{JOBS}/{paused}/resume", {"budget_usd": 1}))[0] == 409
    _, trail = await web.get("/api/v1/audit", params={"object": paused})
    assert [(one["who"], one["action"], one["details"]) for one in trail["entries"]] == [
        ("api:127.0.0.1", "job.add_budget", {"added_usd": 1})
    ]


async def test_the_command_line_resumes_with_more_budget(
    dsn: str, pool: Pool, paused: str, tmp_path: Path
) -> None:
    async with open_hosts(tmp_path, {"RKYC_DSN": dsn, "PYTHONPATH": str(ROOT)}) as (host,):
        done = await host.run("jobs", "resume", paused, "--budget", "+1.5")
        assert (done.code, done.out.strip()) == (0, f"{paused} resumed")
        (noted,) = (await host.run("audit", paused, "--json")).json
        assert (noted["action"], noted["details"]) == ("job.add_budget", {"added_usd": 1.5})
    assert (await wait_status(pool, UUID(paused)))["status"] == "completed"
