"""Uploads and downloads of bytes by their content hash.

An upload goes through a file that is deleted with it, so that its size costs no memory: the hash, which
is the name in the store, is known only at its end. Downloads never run in a browser: what was uploaded
may be a page with scripts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile

from aiohttp import hdrs, web

from rkyc.api.problems import Problem
from rkyc.api.services import SERVICES, ApiOptions
from rkyc.api.wire import respond
from rkyc.errors import (
    DatabaseConnectionError,
    NotFoundError,
    PayloadTooLargeError,
    StorageDownloadError,
    StoreError,
)
from rkyc.store import blobs as store

BLOBS = "/api/v1/blobs"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}")
_ANY_MEDIA_TYPE = "application/octet-stream"
# What an upload may hold in memory before its file begins. Bytes.
_SPOOL_BYTES = 1 << 20
_READ_BYTES = 1 << 18


def routes(options: ApiOptions) -> list[web.RouteDef]:
    """Return the routes of blobs; so many uploads run at once in a process, the others wait."""
    return [
        web.post(BLOBS, _Upload(options).receive),
        web.get(BLOBS + "/{sha256}", send_blob),
    ]


class _Upload:
    def __init__(self, options: ApiOptions) -> None:
        self._bytes_max = options.upload_bytes_max
        self._places = asyncio.Semaphore(options.uploads_max)

    async def receive(self, request: web.Request) -> web.Response:
        """Store the raw body: 201 with its hash and size; the same bytes again are no error."""
        if (request.content_length or 0) > self._bytes_max:
            raise self._too_large()
        media_type = request.content_type
        if not _MEDIA_TYPE.fullmatch(media_type):
            media_type = _ANY_MEDIA_TYPE
        digest, size = hashlib.sha256(), 0
        async with self._places:
            with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as file:
                async for part in request.content.iter_chunked(_READ_BYTES):
                    size += len(part)
                    if size > self._bytes_max:
                        raise self._too_large()
                    digest.update(part)
                    file.write(part)
                file.seek(0)
                sha256 = digest.hexdigest()
                async with request.app[SERVICES].pool.connection() as conn:
                    await store.write_blob_file(conn, file, sha256=sha256, size=size, media_type=media_type)
        return respond(
            {"sha256": sha256, "size": size}, status=201, headers={"Location": f"{BLOBS}/{sha256}"}
        )

    def _too_large(self) -> PayloadTooLargeError:
        return PayloadTooLargeError(
            f"the upload is larger than {self._bytes_max} bytes, the most that is taken: split it, or raise RKYC_UPLOAD_BYTES_MAX"
        )


async def send_blob(request: web.Request) -> web.StreamResponse:
    """Send a blob's bytes, chunk by chunk."""
    sha256 = request.match_info["sha256"]
    if not _SHA256.fullmatch(sha256):
        raise Problem(400, "ID_MALFORMED", f"{sha256[:80]!r} is no sha256: expected 64 digits 0-9a-f")
    pool = request.app[SERVICES].pool
    async with pool.connection() as conn:
        blob = await store.find_blob(conn, sha256)
    if blob is None:
        raise NotFoundError(f"no blob {sha256}: POST {BLOBS} stores one")
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: blob["media_type"],
            hdrs.CONTENT_DISPOSITION: "attachment",
            hdrs.ETAG: f'"{sha256}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        }
    )
    response.content_length = blob["size"]
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        for number in range(blob["chunks"]):
            async with pool.connection() as conn:
                data = await store.read_chunk(conn, sha256, number)
            await response.write(data)
    except (DatabaseConnectionError, StoreError, StorageDownloadError):
        # The head is out: only a cut connection can tell the client that this is not all.
        if request.transport is not None:
            request.transport.abort()
    return response
