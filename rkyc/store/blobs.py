"""Bytes by their content hash, in chunks, in the same Postgres as the jobs that name them.

A worker on another machine must be able to go on, so nothing refers to a local path. Chunks are
written each in its own small statement before the blob's row: a long writing transaction would
hold up the claim's cursor, and a blob without its row is not there.
"""

from __future__ import annotations

import hashlib
from typing import IO
from uuid import UUID

from rkyc.errors import StorageDownloadError
from rkyc.store.pool import Connection, Record, count_written, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)
CHUNK_BYTES = 1 << 20


async def write_blob(conn: Connection, data: bytes, media_type: str = "application/octet-stream") -> str:
    """Store bytes, unless they are there already, and return their sha256 in hex.

    Not inside a transaction of the caller's: each chunk commits by itself.
    """
    return await _write(conn, data, media_type, is_payload=False)


async def write_payload(conn: Connection, data: bytes) -> str:
    """Store a payload's bytes, which the collector takes once no job names them; as `write_blob` otherwise."""
    return await _write(conn, data, "application/octet-stream", is_payload=True)


async def _write(conn: Connection, data: bytes, media_type: str, *, is_payload: bool) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    touch = _SQL["touch_payload"] if is_payload else _SQL["touch_blob"]
    if await fetch_value(conn, touch, sha256=sha256) is not None:
        return sha256
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)] or [b""]
    for number, chunk in enumerate(chunks):
        await fetch(conn, _SQL["write_chunk"], sha256=sha256, number=number, data=chunk)
    await fetch(
        conn,
        _SQL["write_blob_row"],
        sha256=sha256,
        size=len(data),
        media_type=media_type,
        chunks=len(chunks),
        is_payload=is_payload,
    )
    return sha256


async def hold_for_job(conn: Connection, sha256: str, job_id: int) -> bool:
    """Say that a job names the blob, in the transaction that does so; False: it is not there any more."""
    return await fetch_value(conn, _SQL["hold_for_job"], sha256=sha256, job_id=job_id) is not None


async def hold_for_uuid(conn: Connection, sha256: str, uuid: UUID) -> bool:
    """The same by the job's public id."""
    job_id = await fetch_value(conn, _SQL["find_job_number"], uuid=uuid)
    return await hold_for_job(conn, sha256, job_id)


async def collect(conn: Connection, *, payload_age_s: float, chunk_age_s: float) -> int:
    """Remove payloads that no job names, and chunks that belong to no blob; return how many payloads.

    At most 100 payloads and 1,000 chunks a time. The ages say for how long nobody must have touched them.
    """
    await count_written(conn, _SQL["drop_dead_refs"])
    number: int = await fetch_value(conn, _SQL["collect_payloads"], age_s=payload_age_s)
    await count_written(conn, _SQL["collect_chunks"], age_s=chunk_age_s)
    return number


async def write_blob_file(
    conn: Connection, file: IO[bytes], *, sha256: str, size: int, media_type: str
) -> None:
    """Store a file of a known hash and size, from its place on, one chunk in memory at a time.

    The caller has hashed what it gives; like `write_blob` it is not for inside a transaction.
    """
    if await fetch_value(conn, _SQL["touch_blob"], sha256=sha256) is not None:
        return
    chunks = max(1, -(-size // CHUNK_BYTES))
    for number in range(chunks):
        await fetch(conn, _SQL["write_chunk"], sha256=sha256, number=number, data=file.read(CHUNK_BYTES))
    await fetch(
        conn,
        _SQL["write_blob_row"],
        sha256=sha256,
        size=size,
        media_type=media_type,
        chunks=chunks,
        is_payload=False,
    )


async def find_blob(conn: Connection, sha256: str) -> Record | None:
    """Return (size, media_type, chunks) of a stored blob."""
    return await fetch_row(conn, _SQL["find_blob"], sha256=sha256)


async def read_chunk(conn: Connection, sha256: str, number: int) -> bytes:
    """Return one chunk of a stored blob, counted from 0."""
    data: bytes | None = await fetch_value(conn, _SQL["read_chunk"], sha256=sha256, number=number)
    if data is None:
        raise StorageDownloadError(
            f"blob {sha256[:12]}… has lost chunk {number}: upload it again (POST /api/v1/blobs)",
            {"sha256": sha256},
        )
    return data


async def read_blob(conn: Connection, sha256: str) -> bytes:
    """Return the bytes.

    Raises:
        StorageDownloadError: no such blob, or what is stored does not have that hash; tried again by the policy.
    """
    rows = await fetch(conn, _SQL["read_chunks"], sha256=sha256)
    data = b"".join(row["data"] for row in rows)
    if not rows or hashlib.sha256(data).hexdigest() != sha256:
        state = "is not stored" if not rows else "does not match its hash"
        raise StorageDownloadError(
            f"blob {sha256[:12]}… {state}: upload it again (POST /api/v1/blobs)", {"sha256": sha256}
        )
    return data


async def find_missing_blobs(conn: Connection, sha256s: list[str]) -> list[str]:
    """Return those of the hashes that are not stored."""
    rows = await fetch(conn, _SQL["find_blobs"], sha256s=sha256s)
    stored = {row["sha256"] for row in rows}
    return [sha256 for sha256 in sha256s if sha256 not in stored]
