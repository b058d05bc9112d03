"""Dead letters over HTTP: pages, groups, one, requeue and discard with a preview, and who did it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.engine import wait_all_ended, wait_status
from tests.support.probes import registry
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio
DLQ = "/api/v1/dlq"


@pytest.fixture
async def web(dsn: str, tmp_path: Path) -> AsyncIterator[Web]:
    """The API with a worker and three dead letters, one of them archived."""
    async with open_web(dsn, registry) as opened:
        for number in range(3):
            values = {"ledger": str(tmp_path / "l"), "job": number}
            values |= {"permanent": True} if number == 2 else {"failures": 9}
            await opened.submit("failing", values)
        await wait_all_ended(opened.app.pool, 3)
        yield opened


async def test_pages_of_dead_letters_and_one_of_them(web: Web) -> None:
    _, page = await web.get(DLQ, params={"limit": 1})
    _, rest = await web.get(page["next"])
    first, second = page["dead_letters"][0], rest["dead_letters"][0]
    assert first["last_at"] > second["last_at"] and first["queue"] == "dlq.default"
    for name in (str(first["id"]), first["job_id"]):
        status, one = await web.get(f"{DLQ}/{name}")
        assert (status, one["id"], one["input"]["failures"]) == (200, first["id"], 9)
        assert one["open_tasks"][0]["step"] == "fail"
    _, archive = await web.get(DLQ, params={"state": "archived"})
    assert [one["archive_queue"] for one in archive["dead_letters"]] == ["archive.default"]


async def test_a_group_is_counted_first_and_started_again_then(web: Web) -> None:
    _, groups = await web.get(DLQ + "/groups")
    (group,) = groups["groups"]
    asked = {"fingerprint": group["fingerprint"]}
    assert await web.post(DLQ + "/requeue", {**asked, "preview": True}) == (
        200,
        {"count": 2, "preview": True},
    )
    assert await web.post(DLQ + "/requeue", asked) == (200, {"count": 2, "preview": False})
    _, trail = await web.get("/api/v1/audit", params={"action": "dlq.requeue"})
    (entry,) = trail["entries"]
    assert entry["who"] == "api:127.0.0.1" and len(entry["details"]["ids"]) == 2
    await wait_all_ended(web.app.pool, 3)


async def test_a_discarded_one_is_gone_from_the_list(web: Web) -> None:
    _, page = await web.get(DLQ)
    ids = [one["id"] for one in page["dead_letters"]]
    assert (await web.post(DLQ + "/discard", {"ids": ids[:1]}))[1] == {"count": 1, "preview": False}
    _, page = await web.get(DLQ)
    assert [one["id"] for one in page["dead_letters"]] == ids[1:]


async def test_what_a_person_does_to_a_job_is_in_the_audit_trail(web: Web) -> None:
    _, page = await web.get(DLQ)
    job_id = page["dead_letters"][0]["job_id"]
    await web.post(f"/api/v1/jobs/{job_id}/retry")
    await wait_status(web.app.pool, UUID(job_id), "failed")
    waiting = await web.submit("single", {}, run_at="2100-01-01T00:00:00Z")
    await web.post(f"/api/v1/jobs/{waiting}/cancel", {"reason": "not needed"})
    _, trail = await web.get("/api/v1/audit", params={"object": job_id})
    assert [(one["who"], one["action"], one["kind"]) for one in trail["entries"]] == [
        ("api:127.0.0.1", "job.retry", "job")
    ]
    _, trail = await web.get("/api/v1/audit", params={"object": waiting})
    assert trail["entries"][0]["details"] == {"reason": "not needed"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/requeue", {}, 422),
        ("/requeue", {"state": "dead"}, 422),
        ("/requeue", {"ids": []}, 422),
        ("/discard", {"reason": "tired"}, 422),
        ("/nonsense", None, 400),
        ("/77", None, 404),
    ],
)
async def test_what_is_unclear_is_refused(web: Web, path: str, body: object, status: int) -> None:
    answer = await (web.get(DLQ + path) if body is None else web.post(DLQ + path, body))
    assert answer[0] == status
