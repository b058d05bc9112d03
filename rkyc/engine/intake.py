"""What every new job needs, however it comes about: an id and an input as the database takes it."""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import UUID

from rkyc.errors import InvalidInputError, OutputInvalidError, PayloadTooLargeError
from rkyc.flow import payload
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7

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
        text = payload.encode(value)
    except OutputInvalidError as error:
        raise InvalidInputError(f"the job's input can't be stored: {error}") from error
    if len(text) > INPUT_BYTES_MAX:
        raise PayloadTooLargeError(
            f"the input has {len(text)} bytes, at most {INPUT_BYTES_MAX} are taken: store it as a blob and pass its sha256"
        )
    return text
