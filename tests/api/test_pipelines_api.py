"""The routes of pipelines: started under their names, told in the words of chains and tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.flow.pipeline import Registry
from tests.support.engine import announce, wait_status
from tests.support.probes import registry
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio

UNKNOWN = "019a0000-0000-7000-8000-000000000000"


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    """The API with a worker."""
    async with open_web(dsn, registry) as opened:
        yield opened


def job(folder: Path, **more: Any) -> dict[str, Any]:
    return {"ledger": str(folder / "ledger"), "job": "j", **more}


async def test_registered_pipeline_is_started_under_its_name(web: Web, tmp_path: Path) -> None:
    status, said = await web.post("/api/v1/pipelines/single?lane=high", job(tmp_path))
    assert (status, said["pipeline"], said["status"]) == (202, "single", "pending")
    assert said["chain_id"] == said["job_id"]
    row = await wait_status(web.app.pool, UUID(said["job_id"]), "completed")
    assert row["lane"] == "high"


async def test_repeated_key_of_the_header_gives_the_same_job(web: Web, tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [await web.post("/api/v1/pipelines/single", job(tmp_path), headers=headers) for _ in range(2)]
    assert [status for status, _ in answers] == [202, 200]
    assert answers[0][1]["job_id"] == answers[1][1]["job_id"]


async def test_unknown_pipeline_is_404_and_a_bad_body_is_not(web: Web) -> None:
    status, said = await web.post("/api/v1/pipelines/nothing", {})
    assert (status, said["code"]) == (404, "NOT_FOUND")
    assert "single" in said["detail"]
    assert (await web.post("/api/v1/pipelines/single", b"{"))[0] == 400
    assert (await web.post("/api/v1/pipelines/single", [1]))[0] == 422
    assert (await web.post("/api/v1/pipelines/single?colour=red", {}))[0] == 422


async def test_pipeline_that_only_another_process_serves_is_taken(dsn: str) -> None:
    async with open_web(dsn, Registry(), works=False) as web:
        await announce(web.app.pool, registry.latest("single"))
        assert (await web.post("/api/v1/pipelines/single", {"n": 1}))[0] == 202


async def test_tasks_are_listed_in_order_with_their_states(web: Web, tmp_path: Path) -> None:
    _, said = await web.post("/api/v1/pipelines/failing", job(tmp_path, permanent=True))
    await wait_status(web.app.pool, UUID(said["job_id"]), "failed")
    status, shown = await web.get(f"/api/v1/pipelines/failing/{said['job_id']}/tasks")
    assert status == 200
    assert [(task["task_name"], task["status"]) for task in shown["tasks"]] == [
        ("before", "SUCCESS"),
        ("fail", "FAILURE"),
        ("after", "REVOKED"),
    ]
    assert shown["tasks"][1]["error"] == "PERMANENT"


async def test_all_tasks_are_there_as_soon_as_the_job_is(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False) as web:
        _, said = await web.post("/api/v1/pipelines/chained", job(tmp_path))
        _, shown = await web.get(f"/api/v1/pipelines/chained/{said['job_id']}/tasks")
    assert [task["status"] for task in shown["tasks"]] == ["PENDING"] * 8


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/api/v1/pipelines/single/{UNKNOWN}/tasks", 404),
        ("GET", "/api/v1/pipelines/single/nonsense/tasks", 400),
        ("DELETE", f"/api/v1/pipelines/single/{UNKNOWN}/cancel", 404),
        ("DELETE", "/api/v1/pipelines/single/nonsense/cancel", 400),
    ],
)
async def test_unknown_and_malformed_ids_are_told_apart(
    web: Web, method: str, path: str, status: int
) -> None:
    assert (await web.ask(method, path))[0] == status


async def test_execution_is_found_under_its_own_pipeline_alone(web: Web, tmp_path: Path) -> None:
    _, said = await web.post("/api/v1/pipelines/single", job(tmp_path))
    assert (await web.get(f"/api/v1/pipelines/chained/{said['job_id']}/tasks"))[0] == 404


async def test_cancel_is_idempotent_and_a_finished_one_is_a_conflict(web: Web, tmp_path: Path) -> None:
    _, said = await web.post("/api/v1/pipelines/single", job(tmp_path, wait=30))
    path = f"/api/v1/pipelines/single/{said['job_id']}/cancel"
    for _ in range(2):
        status, answer = await web.ask("DELETE", path)
        assert (status, answer["status"], answer["chain_id"]) == (200, "cancelled", said["job_id"])
    _, done = await web.post("/api/v1/pipelines/single", job(tmp_path))
    await wait_status(web.app.pool, UUID(done["job_id"]), "completed")
    assert (await web.ask("DELETE", f"/api/v1/pipelines/single/{done['job_id']}/cancel"))[0] == 409


async def test_history_is_newest_first_and_filtered(web: Web, tmp_path: Path) -> None:
    ids = []
    for pipeline, more in (("single", {}), ("failing", {"permanent": True}), ("chained", {})):
        _, said = await web.post(f"/api/v1/pipelines/{pipeline}", job(tmp_path, **more))
        await wait_status(web.app.pool, UUID(said["job_id"]))
        ids.append(said["job_id"])

    async def history(query: str = "") -> list[str]:
        status, said = await web.get(f"/api/v1/pipelines/history{query}")
        assert status == 200, said
        return [one["chain_id"] for one in said["executions"]]

    assert await history() == ids[::-1]
    assert await history("?hours=1&limit=2&status=&task_name=") == ids[:0:-1]
    assert await history("?status=FAILURE") == await history("?status=failed") == [ids[1]]
    assert await history("?status=SUCCESS") == [ids[2], ids[0]]
    assert await history("?task_name=s3") == [ids[2]]
    assert await history("?task_name=nothing") == []
    assert await history("?hours=0.0000001") == []
    assert (await web.get("/api/v1/pipelines/history?limit=many"))[0] == 422
    assert (await web.get("/api/v1/pipelines/history?hours=-1"))[0] == 422


async def test_history_tells_the_counts_of_an_execution(web: Web, tmp_path: Path) -> None:
    _, said = await web.post("/api/v1/pipelines/chained", job(tmp_path))
    await wait_status(web.app.pool, UUID(said["job_id"]), "completed")
    _, shown = await web.get("/api/v1/pipelines/history")
    (one,) = shown["executions"]
    assert (one["chain_name"], one["status"]) == ("chained", "SUCCESS")
    assert (one["total_tasks"], one["completed_tasks"], one["failed_tasks"]) == (8, 8, 0)
