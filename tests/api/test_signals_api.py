"""Signals over HTTP: sent by a caller, or by a webhook that is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.messages import derive_hook_key
from tests.support.engine import query, wait_for
from tests.support.waiters import registry
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio
UNKNOWN = "019a0000-0000-7000-8000-000000000000"
MASTER = "m" * 32


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    async with open_web(dsn, registry, environ={"RKYC_HOOK_SECRET": MASTER}) as opened:
        yield opened


async def start(web: Web, tmp_path: Path, **more: Any) -> str:
    """Submit a job that waits for signals `approve`."""
    return await web.submit("approved", {"ledger": str(tmp_path / "ledger"), "job": "1", **more})


async def end(web: Web, job_id: str) -> Any:
    async def look() -> Any:
        _, said = await web.get(f"/api/v1/jobs/{job_id}")
        return said if said["status"] in ("completed", "failed") else None

    return await wait_for(look, what="the job's end")


def sign(
    job_id: str, body: bytes, *, delivery: str = "d1", at: float | None = None, name: str = "approve"
) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    key = derive_hook_key(MASTER, job_id, name)  # type: ignore[arg-type]
    digest = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": delivery,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


async def deliver(
    web: Web, job_id: str, body: bytes, headers: dict[str, str], name: str = "approve"
) -> tuple[int, Any]:
    return await web.ask("POST", f"/api/v1/hooks/{job_id}/{name}", data=body, headers=headers)


async def test_a_job_shows_what_it_waits_for_and_takes_the_signal(web: Web, tmp_path: Path) -> None:
    job_id = await start(web, tmp_path)

    async def waits() -> Any:
        _, said = await web.get(f"/api/v1/jobs/{job_id}")
        return said if said["wait_reason"] == "signal" else None

    assert (await wait_for(waits))["wait_detail"] == "waiting for signal approve"
    status, said = await web.post(
        f"/api/v1/jobs/{job_id}/signal", {"name": "approve", "payload": {"by": "kim"}}
    )
    assert (status, said) == (202, {"job_id": job_id, "name": "approve", "repeated": False})
    assert (await end(web, job_id))["result"]["said"] == [{"by": "kim"}]


async def test_a_delivery_id_counts_once(web: Web, tmp_path: Path) -> None:
    job_id = await start(web, tmp_path, signals=2)
    path = f"/api/v1/jobs/{job_id}/signal"
    first = {"name": "approve", "payload": 1, "delivery_id": "a"}
    assert (await web.post(path, first))[1]["repeated"] is False
    assert (await web.post(path, first))[1]["repeated"] is True
    await web.post(path, {"name": "approve", "payload": 2})
    assert (await end(web, job_id))["result"]["said"] == [1, 2]
    assert (await web.post(path, {"name": "approve"}))[0] == 409


async def test_who_sent_a_signal_is_noted_unless_it_was_a_webhook(web: Web, tmp_path: Path) -> None:
    job_id = await start(web, tmp_path, signals=2)
    await web.post(f"/api/v1/jobs/{job_id}/signal", {"name": "approve", "payload": {"by": "kim"}})
    assert (await deliver(web, job_id, b"2", sign(job_id, b"2")))[0] == 202
    _, trail = await web.get("/api/v1/audit", params={"object": job_id})
    assert [(one["who"], one["action"], one["details"]) for one in trail["entries"]] == [
        ("api:127.0.0.1", "job.signal", {"name": "approve"})
    ]


@pytest.mark.parametrize(
    ("body", "status"), [({}, 422), ({"name": ""}, 422), ({"name": "a", "load": 1}, 422), (b"{", 400)]
)
async def test_what_can_not_be_sent_is_refused(web: Web, tmp_path: Path, body: Any, status: int) -> None:
    job_id = await start(web, tmp_path)
    assert (await web.post(f"/api/v1/jobs/{job_id}/signal", body))[0] == status
    assert (await web.post(f"/api/v1/jobs/{UNKNOWN}/signal", {"name": "a"}))[0] == 404


async def test_a_signed_webhook_is_a_signal_once(web: Web, tmp_path: Path) -> None:
    job_id = await start(web, tmp_path, signals=2)
    body = json.dumps({"ok": True}).encode()
    assert await deliver(web, job_id, body, sign(job_id, body)) == (
        202,
        {"job_id": job_id, "name": "approve", "repeated": False},
    )
    # Sent again, as senders do when the answer was lost: signed anew under the same id.
    status, said = await deliver(web, job_id, body, sign(job_id, body, at=time.time() - 5))
    assert (status, said["repeated"]) == (202, True)
    other = sign(job_id, b"2", delivery="d2")
    other["webhook-signature"] = "v1,b2xk " + other["webhook-signature"]
    assert (await deliver(web, job_id, b"2", other))[0] == 202
    assert (await end(web, job_id))["result"]["said"] == [{"ok": True}, 2]


async def test_a_webhook_that_is_not_signed_for_this_hook_and_now_is_refused(
    web: Web, tmp_path: Path
) -> None:
    job_id = await start(web, tmp_path)
    body = b'{"ok": true}'
    good = sign(job_id, body)
    wrong: list[tuple[bytes, dict[str, str]]] = [
        (body, {}),
        (b'{"ok": false}', good),
        (body, {**good, "webhook-id": "d9"}),
        (body, {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)}),
        (body, {**good, "webhook-timestamp": "soon"}),
        (body, {**good, "webhook-timestamp": "9" * 400}),
        (body, {**good, "webhook-signature": "v1,AAAA"}),
        (body, {**good, "webhook-signature": good["webhook-signature"].removeprefix("v1,")}),
        (body, sign(job_id, body, at=time.time() - 301)),
        (body, sign(job_id, body, at=time.time() + 310)),
        (body, sign(job_id, body, name="reject")),
        (body, sign(UNKNOWN, body)),
    ]
    for sent, headers in wrong:
        status, said = await deliver(web, job_id, sent, headers)
        assert (status, said["code"]) == (401, "SIGNATURE_INVALID")
    assert await query(web.app.pool, "SELECT FROM rkyc.signal") == []
    assert (await deliver(web, UNKNOWN, body, sign(UNKNOWN, body)))[0] == 404
    assert (await deliver(web, job_id, b"{", sign(job_id, b"{")))[0] == 400


async def test_without_a_secret_no_webhook_is_taken(dsn: str) -> None:
    async with open_web(dsn, registry, works=False) as web:
        assert (await deliver(web, UNKNOWN, b"1", sign(UNKNOWN, b"1")))[1]["code"] == "HOOKS_OFF"
