"""What every new job needs, however it comes about: an id and an input as the database takes it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from rkyc.engine.enqueuer import Enqueuer
from rkyc.engine.payloads import Wrapped, hold_input
from rkyc.errors import InvalidInputError, OutputInvalidError, PayloadTooLargeError
from rkyc.flow import payload
from rkyc.flow.envelope import refuse_envelopes
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.store.pool import Connection
from rkyc.store.queue.jobs import NewJobs

INPUT_BYTES_MAX = 16_000_000


def make_job_ids(count: int) -> list[UUID]:
    """Return so many new ids, of this moment."""
    now, random = time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES * count)
    return [make_uuid7(now, random[at : at + RANDOM_BYTES]) for at in range(0, len(random), RANDOM_BYTES)]


def encode_input(value: Any) -> str:
    """Return an input as JSON text.

    Raises:
        InvalidInputError: it can't be stored.
        PayloadTooLargeError: over 16 MB.
    """
    try:
        text = refuse_envelopes(payload.encode(value))
    except OutputInvalidError as error:
        raise InvalidInputError(f"the job's input can't be stored: {error}") from error
    if len(text) > INPUT_BYTES_MAX:
        raise PayloadTooLargeError(
            f"the input has {len(text)} bytes, at most {INPUT_BYTES_MAX} are taken: store it as a blob and pass its sha256"
        )
    return text


async def insert_jobs(
    enqueuer: Enqueuer,
    conn: Connection,
    new: NewJobs,
    ids: Sequence[UUID],
    inputs: Sequence[Wrapped],
    *,
    tells: bool,
) -> None:
    """Insert jobs, and hold the blobs of their inputs in the same transaction.

    Raises:
        UnknownPipelineError, UnknownLaneError, InvalidInputError
        StorageDownloadError: a blob was collected in this very moment; enqueue again.
    """
    held = [(one.blob, job_id) for one, job_id in zip(inputs, ids, strict=True) if one.blob is not None]
    async with conn.transaction() if held else contextlib.nullcontext():
        await enqueuer.insert(conn, new, ids, [one.text for one in inputs], tells=tells)
        for blob, job_id in held:
            await hold_input(conn, blob, job_id)
