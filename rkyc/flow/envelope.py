"""What stands in the place of a payload that is stored elsewhere, or sealed.

A JSON object with the one key `$rkyc`: it names the blob that holds the bytes, or holds them itself, and says
how they are packed and under which key they are sealed. Steps and callers never see one: the engine opens it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from rkyc.errors import OutputInvalidError

KEY = "$rkyc"
_MARK = f'"{KEY}"'
_FIELDS = ("size", "packing", "key", "tenant", "blob", "data")


class Codec(Protocol):
    """Seals payloads before they reach the database, per tenant; `tenant` is "" for jobs without one."""

    async def seal(self, data: bytes, tenant: str) -> tuple[str, bytes]:
        """Return (key id, sealed bytes).

        Raises:
            EncryptionError: no key to seal with.
        """
        ...

    async def open(self, data: bytes, tenant: str, key: str) -> bytes:
        """Return what was sealed.

        Raises:
            EncryptionError: the key is not known, or was deleted; or the bytes are not what was sealed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """`size` counts the bytes of the JSON text. `packing`: zlib, or None. One of `blob` (a sha256) and `data` (base64) is set."""

    size: int
    packing: str | None = None
    key: str | None = None
    tenant: str | None = None
    blob: str | None = None
    data: str | None = None

    def to_text(self) -> str:
        """Return the JSON text that is stored."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        return json.dumps({KEY: {name: value for name, value in fields.items() if value is not None}})


def may_hold(text: str) -> bool:
    """Return whether JSON text may hold an envelope: a quick look that finds all, and rarely too much."""
    # One character is found ten times as fast as six.
    return "$" in text and _MARK in text


def read_envelope(value: Any) -> Envelope | None:
    """Return the envelope that a JSON value is, or None."""
    if not (isinstance(value, dict) and len(value) == 1 and isinstance(value.get(KEY), dict)):
        return None
    fields = value[KEY]
    if not isinstance(fields.get("size"), int) or not fields.keys() <= set(_FIELDS):
        return None
    return Envelope(**fields)


def refuse_envelopes(text: str) -> str:
    """Return JSON text that comes from outside, if it names no blob of others in this way.

    Raises:
        OutputInvalidError
    """
    if not may_hold(text):
        return text
    stack = [json.loads(text)]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if KEY in item:
                raise OutputInvalidError(
                    f"the value has a key {KEY!r}, which is the engine's own: call it otherwise"
                )
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return text
