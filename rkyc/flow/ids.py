"""Public identifiers: UUIDv7, which sort by the time of their making.

Source: RFC 9562 section 5.7 (2024). Pure: the caller brings the clock and the chance.
"""

from __future__ import annotations

from uuid import UUID

from rkyc.errors import InvalidInputError

RANDOM_BYTES = 10


def make_uuid7(unix_ms: int, random: bytes) -> UUID:
    """Build an id from milliseconds since 1970 and 10 random bytes."""
    value = (unix_ms & (1 << 48) - 1) << 80 | int.from_bytes(random, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def parse_job_id(text: str) -> UUID:
    """Read a job id as a person or a client writes it.

    Raises:
        InvalidInputError: not a UUID.
    """
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidInputError(
            f"{text[:60]!r} is no job id: expected a UUID, as `rkyc jobs list` shows it"
        ) from error
