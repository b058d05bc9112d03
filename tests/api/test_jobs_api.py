"""Jobs over HTTP: submit, look, list, cancel, start again; and every way to ask wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import BaseModel

from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from tests.support import probes, sagas
from tests.support.engine import query, wait_for, wait_status
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio

JOB_FIELDS = {
    "job_id", "pipeline", "version", "status", "wait_reason", "wait_detail", "pipeline_step", "progress_pct", "partial",
    "warnings",
    "error", "steps", "result", "usage", "created_at", "started_at", "finished_at", "metadata",
}  # fmt: skip
UNKNOWN = "019a0000-0000-7000-8000-000000000000"


class Order(BaseModel):
    amount: int


@step
async def take(ctx: Any, input: Order) -> dict[str, Any]:
    ctx.warn("ROUNDED", "the amount was rounded", subject="amount")
    return {"taken": input.amount}


@step
async def echo(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    return job


REGISTRY = probes.registry.merge(
    Registry([Pipeline("ordering", 1, chain(take)), Pipeline("echoing", 1, chain(echo))])
)


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    """The API with a worker."""
    async with open_web(dsn, REGISTRY) as opened:
        yield opened


@pytest.fixture
async def idle(dsn: str) -> AsyncIterator[Web]:
    """The API without a worker: jobs stay pending."""
    async with open_web(dsn, REGISTRY, works=False) as opened:
        yield opened


def body(**more: Any) -> dict[str, Any]:
    return {"pipeline": "ordering", "input": {"amount": 3}, **more}


async def test_submitted_job_is_accepted_with_its_place_and_links(idle: Web) -> None:
    async with idle.session.post("/api/v1/jobs", json=body()) as response:
        said = await response.json()
        assert response.status == 202
        assert response.headers["Location"] == f"/api/v1/jobs/{said['job_id']}" == said["links"]["self"]
    assert said["status"] == "pending"
    assert said["links"]["events"] == f"/api/v1/jobs/{said['job_id']}/events"
    assert UUID(said["job_id"]).version == 7


async def test_job_shows_exactly_the_promised_fields(web: Web) -> None:
    job_id = await web.submit("ordering", {"amount": 3}, metadata={"who": "me"})
    await wait_status(web.app.pool, UUID(job_id), "completed")
    status, job = await web.get(f"/api/v1/jobs/{job_id}")
    assert status == 200 and job.keys() == JOB_FIELDS
    assert (job["job_id"], job["pipeline"], job["version"], job["status"]) == (
        job_id,
        "ordering",
        1,
        "completed",
    )
    assert (job["progress_pct"], job["partial"], job["error"]) == (100, True, None)
    assert job["result"] == {"taken": 3}
    assert job["metadata"] == {"who": "me"}
    assert job["usage"] == {"calls": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": 0}
    assert job["warnings"] == [
        {"code": "ROUNDED", "message": "the amount was rounded", "step": "take", "subject": "amount"}
    ]
    (only,) = job["steps"]
    assert (only["step"], only["status"], only["attempts"], only["degraded"]) == (
        "take",
        "completed",
        1,
        True,
    )
    for name in ("created_at", "started_at", "finished_at"):
        assert datetime.fromisoformat(job[name]).tzinfo is not None


async def test_pending_job_says_why_it_waits(idle: Web) -> None:
    due = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    now_id, later_id = (
        await idle.submit("ordering", {"amount": 1}),
        await idle.submit("ordering", {"amount": 1}, run_at=due),
    )
    shown = [(await idle.get(f"/api/v1/jobs/{job_id}"))[1] for job_id in (now_id, later_id)]
    assert [job["wait_reason"] for job in shown] == ["queued", "scheduled"]
    assert [job["status"] for job in shown] == ["pending", "pending"]
    assert shown[0]["result"] is None and shown[0]["started_at"] is None


async def test_failed_job_shows_its_error(web: Web, tmp_path: Path) -> None:
    job_id = await web.submit("failing", {"ledger": str(tmp_path / "l"), "job": 1, "permanent": True})
    await wait_status(web.app.pool, UUID(job_id), "failed")
    _, job = await web.get(f"/api/v1/jobs/{job_id}")
    assert (job["error"]["code"], job["error"]["message"]) == ("PERMANENT", "meant to fail")
    assert (job["error"]["step"], job["error"]["class"]) == ("fail", "permanent")
    assert [one["status"] for one in job["steps"]] == ["completed", "failed", "cancelled"]


async def test_values_come_back_exactly(web: Web) -> None:
    text = '{"big": 123456789012345678901234567890, "long": 0.1234567890123456789, "text": "한국\\u2028🙂", "deep": [[[]]]}'
    status, said = await web.post("/api/v1/jobs", b'{"pipeline": "echoing", "input": ' + text.encode() + b"}")
    assert status == 202
    await wait_status(web.app.pool, UUID(said["job_id"]), "completed")
    async with web.session.get(f"/api/v1/jobs/{said['job_id']}") as response:
        shown = await response.text()
    assert "123456789012345678901234567890" in shown
    assert "한국\u2028🙂" in shown


@pytest.mark.parametrize("key", ["k", "ключ", "x" * 255])
async def test_same_key_and_input_give_the_same_job(idle: Web, key: str) -> None:
    first = await idle.post("/api/v1/jobs", body(idempotency_key=key))
    again = await idle.post("/api/v1/jobs", body(idempotency_key=key))
    assert (first[0], again[0]) == (202, 200)
    assert first[1]["job_id"] == again[1]["job_id"]
    assert len(await query(idle.app.pool, "SELECT FROM rkyc.job")) == 1


async def test_same_key_and_other_input_conflict(idle: Web) -> None:
    await idle.post("/api/v1/jobs", body(idempotency_key="k"))
    status, said = await idle.post("/api/v1/jobs", body(input={"amount": 4}, idempotency_key="k"))
    assert (status, said["code"]) == (409, "CONFLICT")
    assert "new key" in said["detail"]


async def test_key_used_by_many_at_once_makes_one_job(idle: Web) -> None:
    answers = await asyncio.gather(*(idle.post("/api/v1/jobs", body(idempotency_key="k")) for _ in range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    assert len({said["job_id"] for _, said in answers}) == 1


@pytest.mark.parametrize(
    ("sent", "status", "code", "word"),
    [
        (b"", 400, "JSON_MALFORMED", "empty"),
        (b"{", 400, "JSON_MALFORMED", "not JSON"),
        (b'{"pipeline": "ordering", "input": NaN}', 400, "JSON_MALFORMED", "not JSON"),
        (b'\xff{"pipeline": "ordering"}', 400, "JSON_MALFORMED", "not JSON"),
        (b'{"pipeline": "echoing", "input": ' + b"[" * 50_000 + b"1234567890123456789]", 400, "JSON_MALFORMED", "not JSON"),
        (b'{"pipeline": "echoing", "input": {"n": 1234567890123456789, "s": "\\ud800"}}', 422, "INPUT_INVALID", "surrogate"),
        (b'{"pipeline": "echoing", "input": {"n": 1e400}}', 422, "INPUT_INVALID", "too large"),
        (b'{"pipeline": "echoing", "input": {"s": "\\u0000"}}', 422, "INPUT_INVALID", "NUL"),
        (b"[]", 422, "INPUT_INVALID", "does not fit"),
        (b'"text"', 422, "INPUT_INVALID", "does not fit"),
        ({"pipeline": "ordering"}, 422, "INPUT_INVALID", "input"),
        ({"input": {}}, 422, "INPUT_INVALID", "pipeline"),
        (body(colour="red"), 422, "INPUT_INVALID", "colour"),
        (body(lane="nowhere"), 422, "LANE_UNKNOWN", "high, default, low"),
        (body(lane="a\x00b"), 422, "INPUT_INVALID", "lane"),
        (body(pipeline="nothing"), 422, "PIPELINE_UNKNOWN", "ordering"),
        (body(pipeline=7), 422, "INPUT_INVALID", "pipeline"),
        (body(input={"amount": "three"}), 422, "VALIDATION_ERROR", "amount"),
        (body(input=None), 422, "VALIDATION_ERROR", "ordering"),
        (body(idempotency_key=""), 422, "INPUT_INVALID", "idempotency_key"),
        (body(idempotency_key="a\x00b"), 422, "INPUT_INVALID", "idempotency_key"),
        (body(idempotency_key="x" * 256), 422, "INPUT_INVALID", "idempotency_key"),
        (body(deadline_s=-1), 422, "INPUT_INVALID", "deadline_s"),
        (body(deadline_s=1e300), 422, "INPUT_INVALID", "deadline_s"),
        (body(run_at="tomorrow"), 422, "INPUT_INVALID", "run_at"),
        (body(run_at="2030-01-31T09:00:00"), 422, "INPUT_INVALID", "timezone"),
        (body(budget_usd=1e9), 422, "INPUT_INVALID", "budget_usd"),
        (body(webhook_url="file:///etc/passwd"), 422, "INPUT_INVALID", "webhook_url"),
        (body(metadata=[1]), 422, "INPUT_INVALID", "metadata"),
        (body(metadata={"s": "\x00"}), 422, "INPUT_INVALID", "NUL"),
    ],
)  # fmt: skip
async def test_wrong_request_is_refused_with_what_is_wrong(
    idle: Web, sent: Any, status: int, code: str, word: str
) -> None:
    got, said = await idle.post("/api/v1/jobs", sent)
    assert (got, said["status"], said["code"]) == (status, status, code)
    assert word in said["detail"]
    assert await query(idle.app.pool, "SELECT FROM rkyc.job") == []


async def test_refusal_names_every_field(idle: Web) -> None:
    _, said = await idle.post("/api/v1/jobs", body(lane="", deadline_s=0))
    assert {one["field"] for one in said["errors"]} == {"lane", "deadline_s"}


async def test_body_over_the_limit_is_refused(dsn: str) -> None:
    async with open_web(dsn, REGISTRY, works=False, environ={"RKYC_BODY_BYTES_MAX": "5000"}) as web:
        status, said = await web.post("/api/v1/jobs", body(metadata={"x": "y" * 6000}))
        assert (status, said["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert "blobs" in said["detail"]
        assert (await web.post("/api/v1/jobs", body(metadata={"x": "y" * 4000})))[0] == 202


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/jobs/nonsense", 400, "ID_MALFORMED"),
        ("POST", "/api/v1/jobs/nonsense/cancel", 400, "ID_MALFORMED"),
        ("POST", "/api/v1/jobs/1/retry", 400, "ID_MALFORMED"),
        ("GET", "/api/v1/jobs/nonsense/report", 400, "ID_MALFORMED"),
        ("GET", f"/api/v1/jobs/{UNKNOWN}", 404, "NOT_FOUND"),
        ("POST", f"/api/v1/jobs/{UNKNOWN}/cancel", 404, "NOT_FOUND"),
        ("DELETE", f"/api/v1/jobs/{UNKNOWN}", 404, "NOT_FOUND"),
        ("POST", f"/api/v1/jobs/{UNKNOWN}/retry", 404, "NOT_FOUND"),
        ("GET", f"/api/v1/jobs/{UNKNOWN}/report", 404, "NOT_FOUND"),
        ("GET", "/api/v1/nothing", 404, "ROUTE_UNKNOWN"),
        ("PUT", "/api/v1/jobs", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/jobs?limit=0", 422, "INPUT_INVALID"),
        ("GET", "/api/v1/jobs?status=late", 422, "INPUT_INVALID"),
        ("GET", "/api/v1/jobs?colour=red", 422, "INPUT_INVALID"),
    ],
)
async def test_wrong_address_is_a_problem(idle: Web, method: str, path: str, status: int, code: str) -> None:
    got, said = await idle.ask(method, path)
    assert (got, said["code"]) == (status, code)
    assert said.keys() >= {"type", "title", "status", "detail", "code"}


async def test_method_that_is_not_allowed_names_those_that_are(idle: Web) -> None:
    async with idle.session.put("/api/v1/jobs") as response:
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_jobs_are_listed_newest_first_by_pages_and_filters(idle: Web) -> None:
    jobs = [await idle.submit("ordering", {"amount": n}, metadata={"corp_id": f"c{n % 2}"}) for n in range(5)]
    await idle.submit("echoing", {})
    await idle.post(f"/api/v1/jobs/{jobs[0]}/cancel")
    path, seen = "/api/v1/jobs?pipeline=ordering&limit=2", []
    while path:
        _, page = await idle.get(path)
        seen += [job["job_id"] for job in page["jobs"]]
        path = page["next"]
    assert seen == jobs[::-1]
    assert [job["job_id"] for job in (await idle.get("/api/v1/jobs?status=cancelled"))[1]["jobs"]] == jobs[:1]
    assert [job["job_id"] for job in (await idle.get("/api/v1/jobs?corp=c1"))[1]["jobs"]] == [
        jobs[3],
        jobs[1],
    ]
    by_metadata = (await idle.get("/api/v1/jobs?meta.corp_id=c0&limit=2"))[1]
    assert [job["job_id"] for job in by_metadata["jobs"]] == [jobs[4], jobs[2]]
    assert [job["job_id"] for job in (await idle.get(by_metadata["next"]))[1]["jobs"]] == [jobs[0]]
    later = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await idle.get(f"/api/v1/jobs?since={later}"))[1]["jobs"] == []


@pytest.mark.parametrize(("method", "suffix"), [("POST", "/cancel"), ("DELETE", "")])
async def test_cancel_changes_the_status_at_once_and_again_is_no_error(
    web: Web, tmp_path: Path, method: str, suffix: str
) -> None:
    job_id = await web.submit("single", {"ledger": str(tmp_path / "l"), "job": 1, "wait": 30})
    await wait_status(web.app.pool, UUID(job_id), "running")
    for _ in range(2):
        status, said = await web.ask(method, f"/api/v1/jobs/{job_id}{suffix}")
        assert (status, said["status"]) == (200, "cancelled")
        assert (await web.get(f"/api/v1/jobs/{job_id}"))[1]["status"] == "cancelled"


@pytest.mark.parametrize(
    ("method", "suffix", "second"), [("POST", "/cancel", "cancelled"), ("DELETE", "", "running")]
)
async def test_cancel_says_what_is_undone_first_and_only_a_post_stops_that(
    dsn: str, tmp_path: Path, method: str, suffix: str, second: str
) -> None:
    async with open_web(dsn, sagas.registry, grace_s=0.0) as web:
        given = {"ledger": str(tmp_path / "l"), "job": 1, "stay": "signal", "wait": 60}
        job_id = await web.submit("trip", given)
        await wait_for(lambda: query(web.app.pool, "SELECT FROM rkyc.waiting"))
        status, said = await web.ask(method, f"/api/v1/jobs/{job_id}{suffix}")
        assert (status, said["undoing"]) == (200, ["hotel", "flight"])
        assert said["status"] in ("pending", "running")
        await wait_status(web.app.pool, UUID(job_id), "running")
        status, said = await web.ask(method, f"/api/v1/jobs/{job_id}{suffix}")
        assert (status, said["status"]) == (200, second)
        assert ("undoing" in said) is (second == "running")


async def test_job_that_has_ended_can_not_be_cancelled(web: Web) -> None:
    job_id = await web.submit("echoing", {})
    await wait_status(web.app.pool, UUID(job_id), "completed")
    status, said = await web.post(f"/api/v1/jobs/{job_id}/cancel")
    assert (status, said["code"]) == (409, "CONFLICT")


async def test_failed_job_is_started_again_and_a_running_one_is_not(web: Web, tmp_path: Path) -> None:
    failed = await web.submit("failing", {"ledger": str(tmp_path / "l"), "job": 1, "permanent": True})
    await wait_status(web.app.pool, UUID(failed), "failed")
    status, said = await web.post(f"/api/v1/jobs/{failed}/retry", {})
    assert (status, said["status"]) == (202, "pending")
    running = await web.submit("single", {"ledger": str(tmp_path / "l"), "job": 2, "wait": 30})
    await wait_status(web.app.pool, UUID(running), "running")
    status, said = await web.post(f"/api/v1/jobs/{running}/retry")
    assert (status, said["code"]) == (409, "CONFLICT")
    assert (await web.post(f"/api/v1/jobs/{failed}/retry", {"step": "x"}))[0] == 422
    await web.post(f"/api/v1/jobs/{running}/cancel")


async def test_report_is_rendered_in_the_asked_format_when_the_job_has_ended(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[UUID, str]] = []

    async def render(job_id: UUID, wanted: str) -> bytes | str:
        asked.append((job_id, wanted))
        return "<p>한국</p>" if wanted == "html" else orjson.dumps({"n": 1})

    monkeypatch.setattr("rkyc.web._find_domains", lambda app: ({}, {"single": render}))
    async with open_web(dsn, REGISTRY) as web:
        await _look_at_report(web, tmp_path)
    assert {wanted for _, wanted in asked} == {"html", "json"}


async def _look_at_report(web: Web, tmp_path: Path) -> None:
    job_id = await web.submit("single", {"ledger": str(tmp_path / "l"), "job": 1, "wait": 0.3})
    status, said = await web.get(f"/api/v1/jobs/{job_id}/report")
    assert (status, said["code"]) == (409, "CONFLICT")
    await wait_status(web.app.pool, UUID(job_id), "completed")
    async with web.session.get(f"/api/v1/jobs/{job_id}/report") as response:
        assert response.content_type == "text/html" and await response.text() == "<p>한국</p>"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert await web.get(f"/api/v1/jobs/{job_id}/report?format=json") == (200, {"n": 1})
    assert (await web.get(f"/api/v1/jobs/{job_id}/report?format=pdf"))[0] == 422


async def test_pipeline_without_a_report_says_so(idle: Web) -> None:
    job_id = await idle.submit("echoing", {})
    status, said = await idle.get(f"/api/v1/jobs/{job_id}/report")
    assert (status, said["code"]) == (404, "REPORT_UNKNOWN")


async def test_database_that_is_gone_is_503_with_a_wait(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_web(dsn, REGISTRY, works=False) as web:
        await web.app.pool.close()
        async with web.session.get(f"/api/v1/jobs/{UNKNOWN}") as response:
            said = await response.json(content_type=None)
            assert (response.status, said["code"]) == (503, "DB_CONNECTION_ERROR")
            assert int(response.headers["Retry-After"]) >= 1


async def test_a_job_that_stands_still_is_explained(idle: Web) -> None:
    job_id = await idle.submit("ordering", {"amount": 3})
    status, told = await idle.get(f"/api/v1/jobs/{job_id}/why")
    assert (status, told["reason"], told["job_id"]) == (200, "lane_unserved", job_id)
    assert (told["why"], told["facts"]["lane"]) == ("lane default is served by no live worker", "default")
    assert (await idle.get(f"/api/v1/jobs/{UNKNOWN}/why"))[0] == 404
