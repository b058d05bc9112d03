"""Probes, metrics, workers, queues: also while the process drains and the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

import rkyc
from tests.support.engine import wait_for, wait_status
from tests.support.probes import registry
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    """The API with a worker."""
    async with open_web(dsn, registry) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/healthz", "/health", "/readyz", "/ready"])
async def test_probes_answer_under_both_names(web: Web, path: str) -> None:
    assert (await web.get(path))[0] == 200


async def test_process_that_drains_is_alive_but_not_ready(web: Web, tmp_path: Path) -> None:
    assert web.worker is not None
    job_id = await web.submit("single", {"ledger": str(tmp_path / "l"), "job": 1, "wait": 1})
    await wait_status(web.app.pool, UUID(job_id), "running")
    web.worker.stop()

    async def is_refused() -> bool:
        return (await web.get("/readyz"))[0] == 503

    await wait_for(is_refused)
    status, said = await web.get("/ready")
    assert (status, said["code"]) == (503, "NOT_READY") and "draining" in said["detail"]
    assert (await web.get("/healthz"))[0] == 200
    assert (await web.get(f"/api/v1/jobs/{job_id}"))[0] == 200


async def test_process_without_its_database_is_alive_but_not_ready(dsn: str) -> None:
    async with open_web(dsn, registry, works=False) as web:
        await web.app.pool.close()
        async with web.session.get("/readyz") as response:
            assert response.status == 503 and "Retry-After" in response.headers
        assert (await web.get("/healthz"))[0] == 200
        async with web.session.get("/metrics") as response:
            assert response.status == 200
            assert "queue_depth{" not in await response.text()


async def test_metrics_tell_what_waits_and_what_ran(web: Web, tmp_path: Path) -> None:
    job_id = await web.submit("single", {"ledger": str(tmp_path / "l"), "job": 1})
    await wait_status(web.app.pool, UUID(job_id), "completed")
    async with web.session.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        text = await response.text()
    assert 'queue_depth{lane="default"} 0.0' in text
    assert 'pipeline_step_duration_seconds_count{step="only"} 1.0' in text
    assert "sse_clients 0.0" in text


async def test_metrics_count_what_could_run(dsn: str) -> None:
    async with open_web(dsn, registry, works=False) as web:
        for lane in ("high", "low", "low"):
            await web.submit("single", {}, lane=lane)
        async with web.session.get("/metrics") as response:
            text = await response.text()
        _, queues = await web.get("/api/v1/queues")
    assert 'queue_depth{lane="high"} 1.0' in text and 'queue_depth{lane="low"} 2.0' in text
    assert {(one["lane"], one["ready"]) for one in queues["queues"]} == {("high", 1), ("low", 2)}


async def test_dead_letters_are_counted(web: Web, tmp_path: Path) -> None:
    for more in ({"permanent": True}, {"failures": 9}):
        job_id = await web.submit("failing", {"ledger": str(tmp_path / "l"), "job": 1, **more})
        await wait_status(web.app.pool, UUID(job_id), "failed")
    _, queues = await web.get("/api/v1/queues")
    assert [(one["queue"], one["dead"], one["archived"]) for one in queues["dead_letters"]] == [
        ("dlq.default", 1, 1),
        ("dlq.high", 0, 0),
        ("dlq.low", 0, 0),
    ]
    async with web.session.get("/metrics") as response:
        text = await response.text()
    assert 'dlq_depth{queue="dlq.default"} 1.0' in text and 'dlq_depth{queue="dlq.low"} 0.0' in text
    assert 'archive_depth{queue="archive.default"} 1.0' in text


async def test_workers_are_listed(web: Web) -> None:
    assert web.worker is not None
    _, shown = await web.get("/api/v1/workers")
    (one,) = shown["workers"]
    assert (one["worker"], one["alive"], one["slots"]) == (web.worker.name, True, 50)


async def test_index_lists_the_routes(web: Web) -> None:
    _, shown = await web.get("/")
    assert (shown["name"], shown["version"]) == ("rkyc", rkyc.__version__)
    assert {"POST /api/v1/jobs", "GET /api/v1/jobs/{job_id}/events", "GET /metrics"} <= set(shown["routes"])


async def test_probe_answers_while_many_requests_run(web: Web) -> None:
    answers = await asyncio.gather(*(web.get(path) for path in ["/readyz", "/api/v1/queues"] * 50))
    assert {status for status, _ in answers} == {200}
