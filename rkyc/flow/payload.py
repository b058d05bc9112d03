"""JSON in and out, exactly.

orjson is the fast path, but it turns integers above 64 bits into floats and refuses to write them,
and it writes NaN as null. What it can't carry exactly goes through the standard library; what
Postgres can't hold is refused here, where one job fails, and not in a group commit.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import re
from typing import Any
from uuid import UUID

import orjson
import pydantic

from rkyc.errors import InvalidInputError, OutputInvalidError

# Above this a payload goes to a blob; `rkyc.enqueue` refuses twice as much.
INLINE_BYTES_MAX = 1_000_000

# Every digit as 0 and no plus sign: an integer that may exceed 64 bits and an exponent of three digits are then found by
# two searches for bytes, ten times as fast as a regular expression. Digits after a point are no matter: orjson rounds right.
_SHAPE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_INTEGER = b"0" * 19
_LARGE_EXPONENT = b"0e000"
# What Postgres can't hold: NUL, and the halves of pairs that bytes on a command line become which are no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Return whether Postgres can hold a text as it is."""
    return _UNSTORABLE.search(text) is None


def decode(text: str | bytes | None) -> Any:
    """Parse JSON that Postgres gave.

    Raises:
        InvalidInputError: a number too large for any float (1e400), an integer of thousands of digits,
            or nested too deeply.
    """
    if text is None:
        return None
    try:
        shape = (text.encode() if isinstance(text, str) else text).translate(_SHAPE, b"+")
        # For short bytes `in` takes twice as long as `find`.
        if shape.find(_LONG_INTEGER) >= 0 or shape.find(_LARGE_EXPONENT) >= 0:
            return json.loads(text, parse_float=_exact_float)
        return orjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the JSON can't be read: {str(error)[:200]}") from error


def _exact_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise InvalidInputError(
            f"the number {digits[:40]} is too large: expected at most 1.8e308; send it as a string"
        )
    return value


def encode(value: Any) -> str:
    """Write JSON for Postgres; dataclasses and pydantic models become objects.

    Raises:
        OutputInvalidError: not JSON, NaN or infinite, a NUL character or half a surrogate pair.
    """
    try:
        text = orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        text = _encode_slowly(value)
    if "\\u0000" in text and _holds_nul(text):
        raise OutputInvalidError(
            "the value holds a NUL character (\\u0000), which Postgres can't store: remove it"
        )
    if "null" in text:
        _refuse_nan(value)  # orjson writes it as null
    return text


def _encode_slowly(value: Any) -> str:
    try:
        text = json.dumps(
            value,
            default=_plain,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        text.encode()  # half a surrogate pair is no text
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputInvalidError(f"the value is not JSON: {str(error)[:200]}") from error
    return text


def _refuse_nan(value: Any) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise OutputInvalidError(
                f"the value holds the number {item}, which JSON can't: use None or a string"
            )
        if isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            stack.extend(item)
        elif isinstance(item, pydantic.BaseModel):
            stack.append(item.model_dump())
        elif dataclasses.is_dataclass(item) and not isinstance(item, type):
            stack.extend(getattr(item, field.name) for field in dataclasses.fields(item))


def _plain(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    # orjson writes these by itself; the standard library asks.
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dt.date | dt.time | UUID):
        return orjson.loads(orjson.dumps(value))
    raise TypeError(
        f"{type(value).__name__} can't be written as JSON: return dict, list, str, a dataclass or a pydantic model"
    )


def _holds_nul(text: str) -> bool:
    """A backslash before u0000 may itself be escaped; look at the values, which is rare and slow."""
    stack = [json.loads(text)]
    while stack:
        item = stack.pop()
        if isinstance(item, str) and "\0" in item:
            return True
        if isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return False
