"""Blobs over HTTP: round trips, limits, and that a download never runs in a browser."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from rkyc.flow.pipeline import Registry
from tests.support.engine import query
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio

LIMIT = 3_000_000


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    """The API alone, with a small limit for uploads and a smaller one for other bodies."""
    environ = {"RKYC_UPLOAD_BYTES_MAX": str(LIMIT), "RKYC_BODY_BYTES_MAX": "2000"}
    async with open_web(dsn, Registry(), works=False, environ=environ) as opened:
        yield opened


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, LIMIT])
async def test_bytes_come_back_as_they_were(web: Web, size: int) -> None:
    data = os.urandom(size)
    sha256 = hashlib.sha256(data).hexdigest()
    async with web.session.post("/api/v1/blobs", data=io.BytesIO(data)) as response:
        assert response.status == 201
        assert await response.json() == {"sha256": sha256, "size": size}
        assert response.headers["Location"] == f"/api/v1/blobs/{sha256}"
    async with web.session.get(f"/api/v1/blobs/{sha256}") as response:
        assert response.headers["Content-Length"] == str(size)
        assert await response.read() == data


async def test_same_bytes_again_are_stored_once(web: Web) -> None:
    answers = [await web.post("/api/v1/blobs", b"the same") for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(await query(web.app.pool, "SELECT FROM rkyc.blob")) == 1


async def test_same_bytes_at_once_are_no_error(web: Web) -> None:
    data = os.urandom(2_500_000)
    answers = await asyncio.gather(
        *(web.ask("POST", "/api/v1/blobs", data=io.BytesIO(data)) for _ in range(8))
    )
    assert {status for status, _ in answers} == {201}
    assert len(await query(web.app.pool, "SELECT FROM rkyc.blob_chunk")) == 3


@pytest.mark.parametrize("is_announced", [True, False], ids=["with its length", "in chunks"])
async def test_upload_over_the_limit_is_refused_and_nothing_is_stored(web: Web, is_announced: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 100_000 + 1):
            yield b"x" * 100_000

    data = io.BytesIO(b"x" * (LIMIT + 1)) if is_announced else parts()
    status, said = await web.ask("POST", "/api/v1/blobs", data=data)
    assert (status, said["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert str(LIMIT) in said["detail"] and "RKYC_UPLOAD_BYTES_MAX" in said["detail"]
    assert await query(web.app.pool, "SELECT FROM rkyc.blob_chunk") == []


async def test_download_does_not_run_in_a_browser(web: Web) -> None:
    headers = {"Content-Type": "text/html; charset=utf-8"}
    _, said = await web.post("/api/v1/blobs", b"<script>alert(1)</script>", headers=headers)
    async with web.session.get(f"/api/v1/blobs/{said['sha256']}") as response:
        assert response.content_type == "text/html"
        assert response.headers["Content-Disposition"] == "attachment"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"] == "sandbox"
    async with web.session.head(f"/api/v1/blobs/{said['sha256']}") as response:
        assert (response.status, response.headers["Content-Length"]) == (200, "25")


async def test_media_type_that_is_none_becomes_plain_bytes(web: Web) -> None:
    _, said = await web.post("/api/v1/blobs", b"x", headers={"Content-Type": "a" * 500 + "/x"})
    async with web.session.get(f"/api/v1/blobs/{said['sha256']}") as response:
        assert response.content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "status"), [("0" * 64, 404), ("xyz", 400), ("A" * 64, 400), ("0" * 63, 400), ("..%2f..", 400)]
)
async def test_unknown_and_malformed_hashes_are_told_apart(web: Web, name: str, status: int) -> None:
    assert (await web.get(f"/api/v1/blobs/{name}"))[0] == status


async def test_blob_that_lost_a_chunk_is_cut_off_not_short(web: Web) -> None:
    _, said = await web.ask("POST", "/api/v1/blobs", data=io.BytesIO(os.urandom(2_500_000)))
    await query(web.app.pool, "DELETE FROM rkyc.blob_chunk WHERE number = 1")
    async with web.session.get(f"/api/v1/blobs/{said['sha256']}") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
