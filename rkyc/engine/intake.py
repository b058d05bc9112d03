"""What every new job needs, however it comes about: an id and an input as the database takes it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from rkyc.engine.enqueuer import Enqueuer
from rkyc.engine.payloads import Wrapped, hold_blobs
from rkyc.errors import DefinitionError, InvalidInputError, OutputInvalidError, PayloadTooLargeError
from rkyc.flow import payload
from rkyc.flow.envelope import refuse_envelopes
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.flow.unique import Unique
from rkyc.store.pool import Connection
from rkyc.store.queue.jobs import NewJobs

INPUT_BYTES_MAX = 16_000_000
FAIR_KEY_CHARS_MAX = 200
WEIGHT_MIN, WEIGHT_MAX = 0.01, 100.0


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


def encode_metadata(value: dict[str, Any] | None) -> str | None:
    """Return a new job's metadata as JSON text; None: it has none.

    Raises:
        InvalidInputError: it is no object, or can't be stored.
    """
    if value is not None and not isinstance(value, dict):
        raise InvalidInputError(f"metadata is of type {type(value).__name__}: expected a dict, or None")
    try:
        return payload.encode(value) if value else None
    except OutputInvalidError as error:
        raise InvalidInputError(f"the job's metadata can't be stored: {error}") from error


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
    held = [(job_id, one.blob) for one, job_id in zip(inputs, ids, strict=True) if one.blob is not None]
    async with conn.transaction() if held else contextlib.nullcontext():
        await enqueuer.insert(conn, new, ids, [one.text for one in inputs], tells=tells)
        await hold_blobs(conn, held)


def encode_traits(
    *, fair_key: str | None, weight: float, budget_usd: float | None = None, unique: Unique | None = None
) -> str | None:
    """Return the rare properties of a new job as JSON text; None: it has none.

    Raises:
        DefinitionError: a key or a weight that can't be used.
    """
    traits: dict[str, Any] = {} if budget_usd is None else {"budget": True}
    if unique is not None and unique.for_s is None:
        traits["unique"] = {"key": unique.key, "held_while": unique.held_while}
    if fair_key is not None:
        if not 1 <= len(fair_key) <= FAIR_KEY_CHARS_MAX or "\0" in fair_key:
            raise DefinitionError(
                f"fair_key has {len(fair_key)} characters: expected 1 to {FAIR_KEY_CHARS_MAX}, without NUL"
            )
        if not WEIGHT_MIN <= weight <= WEIGHT_MAX:
            raise DefinitionError(f"weight {weight} can't be used: expected {WEIGHT_MIN} to {WEIGHT_MAX}")
        traits |= {"fair_key": fair_key, "weight": weight}
    return payload.encode(traits) if traits else None
