"""Pauses, forks, reruns, differences and runs over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.store.pool import Pool
from tests.support import probes
from tests.support.engine import wait_status
from tests.support.web import Web, open_web, read_events

pytestmark = pytest.mark.anyio
JOBS = "/api/v1/jobs"


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    async with open_web(dsn, probes.registry) as opened:
        yield opened


@pytest.fixture
async def ended(web: Web, pool: Pool, tmp_path: Path) -> str:
    """A job of eight steps that has ended."""
    job_id = await web.submit("chained", {"ledger": str(tmp_path / "ledger"), "job": "1"})
    await wait_status(pool, UUID(job_id))
    return job_id


async def test_a_job_is_forked_and_compared(web: Web, pool: Pool, ended: str) -> None:
    status, forked = await web.post(
        f"{JOBS}/{ended}/fork", {"from_step": "s8", "outputs": {"s7": {"step": "mine"}}}
    )
    assert (status, forked["forked_from"]) == (202, ended)
    await wait_status(pool, UUID(forked["job_id"]))
    _, diff = await web.get(f"{JOBS}/{ended}/diff?to={forked['job_id']}")
    assert [one["path"] for one in diff["steps"]["s7"]] == ["/job", "/step"]
    _, runs = await web.get(f"{JOBS}/{forked['job_id']}/runs")
    assert [run["job_id"] for run in runs["runs"]] == [ended, forked["job_id"]]


async def test_a_rerun_says_what_there_is_to_run(web: Web, pool: Pool, ended: str) -> None:
    status, nothing = await web.post(f"{JOBS}/{ended}/rerun")
    assert (status, nothing["job_id"], nothing["again"]) == (200, None, [])
    status, rerun = await web.post(
        f"{JOBS}/{ended}/rerun", {"input": {"ledger": "x", "job": 2}, "dry_run": True}
    )
    assert (status, len(rerun["again"])) == (200, 8)
    status, rerun = await web.post(f"{JOBS}/{ended}/rerun", {"input": None, "dry_run": True})
    assert (status, len(rerun["again"])) == (200, 8), "null is an input"


async def test_a_retry_from_a_step_is_told_to_whoever_reads_the_events(
    web: Web, pool: Pool, ended: str
) -> None:
    status, _ = await web.post(f"{JOBS}/{ended}/retry", {"from_step": "s7"})
    assert status == 202
    await wait_status(pool, UUID(ended), "completed")
    events = await read_events(web.session, ended)
    kinds = [(event.data["type"], event.data["step"]) for event in events]
    assert kinds.count(("step.completed", "s7")) == 2
    assert kinds.count(("step.completed", "s6")) == 1
    assert [kind for kind, _ in kinds if kind.startswith("job.")] == [
        "job.created",
        "job.started",
        "job.completed",
        "job.retried",
        "job.completed",
    ]
    retried = next(event for event in events if event.data["type"] == "job.retried")
    assert retried.data["progress_pct"] == 75


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("fork", {"from_step": "nowhere"}, 422),
        ("fork", {}, 422),
        ("fork", {"from_step": "s2", "version": 9}, 404),
        ("rerun", {"version": 9}, 404),
        ("rerun", {"odd": 1}, 422),
        ("retry", {"from_step": "nowhere"}, 422),
    ],
)
async def test_what_can_not_be_done_is_refused(
    web: Web, ended: str, path: str, body: dict[str, Any], expected: int
) -> None:
    status, problem = await web.post(f"{JOBS}/{ended}/{path}", body)
    assert status == expected, problem


async def test_jobs_lanes_pipelines_and_tenants_are_paused_and_resumed(
    web: Web, pool: Pool, tmp_path: Path
) -> None:
    for kind, name in (("lanes", "default"), ("pipelines", "single"), ("tenants", "acme")):
        for action, changed in (("pause", True), ("pause", False), ("resume", True), ("resume", False)):
            status, said = await web.post(f"/api/v1/{kind}/{name}/{action}")
            assert (status, said["changed"]) == (200, changed), (kind, action)
    await web.post("/api/v1/pipelines/single/pause", {"reason": "audit"})
    _, listed = await web.get("/api/v1/pauses")
    assert [(one["kind"], one["name"], one["reason"]) for one in listed["pauses"]] == [
        ("pipeline", "single", "audit")
    ]
    job_id = await web.submit("single", {"ledger": str(tmp_path / "ledger"), "job": "1"})
    status, said = await web.post(f"{JOBS}/{job_id}/pause")
    assert (status, said["wait_reason"]) == (200, "paused")
    await web.post("/api/v1/pipelines/single/resume")
    assert (await web.get(f"{JOBS}/{job_id}"))[1]["wait_reason"] == "paused"
    assert (await web.post(f"{JOBS}/{job_id}/resume"))[0] == 200
    await wait_status(pool, UUID(job_id), "completed")
    assert (await web.post(f"{JOBS}/{job_id}/pause"))[0] == 409
    assert (await web.post(f"{JOBS}/{job_id}/resume"))[0] == 409
    assert (await web.post("/api/v1/lanes/nowhere/pause"))[0] == 404
