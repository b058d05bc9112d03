"""JSON pointers (RFC 6901) into a snapshot document: finding, quoting and comparing its values.

The quote of a value is its text as JSON would show it: `57000000000`, `5.4`, `true`, `2024-01-15`.
Numbers are int, Decimal, or a decimal string for what JSON readers would round; never float.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

# Marks "there is nothing here", which None, a JSON value, can't.
MISSING: Any = object()


def join_pointer(*parts: str | int) -> str:
    """Build a pointer: `join_pointer("loan", 0, "balance_krw")` is `/loan/0/balance_krw`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def resolve(doc: Any, pointer: str) -> Any:
    """Return the value at a pointer, or `MISSING`."""
    if not pointer.startswith("/"):
        return doc if pointer == "" else MISSING
    value = doc
    for raw in pointer[1:].split("/"):
        key = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(key, MISSING)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            is_index = key.isascii() and key.isdigit() and (key == "0" or key[0] != "0")
            value = value[int(key)] if is_index and int(key) < len(value) else MISSING
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


def quote_value(value: Any) -> str | None:
    """Return the text of a scalar, or None for what has none (null, an object, a list)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int | str):
        return str(value)
    return None


def read_number(doc: Any, pointer: str) -> Decimal | None:
    """Return the number at a pointer; None when there is none (a flag is none either)."""
    value = resolve(doc, pointer)
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def list_changes(before: Any, after: Any) -> list[str]:
    """Return the pointers of what was added, removed or changed, deepest first found, sorted.

    Lists are compared place by place. A whole part that comes or goes is told by its leaves.
    """
    return sorted(_changes(before, after, ""))


def _changes(before: Any, after: Any, at: str) -> Iterator[str]:
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        keys = {*_keys(before), *_keys(after)}
        for key in keys:
            yield from _changes(_child(before, key), _child(after, key), at + join_pointer(key))
        if not keys and type(before) is not type(after):
            yield at
    elif isinstance(before, list) or isinstance(after, list):
        length = max(len(part) if isinstance(part, list) else 0 for part in (before, after))
        for index in range(length):
            yield from _changes(_child(before, index), _child(after, index), f"{at}/{index}")
        if not length and type(before) is not type(after):
            yield at
    elif before is MISSING or after is MISSING or quote_value(before) != quote_value(after):
        yield at


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, Mapping) else []


def _child(value: Any, key: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return MISSING
