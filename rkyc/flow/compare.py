"""Differences of two JSON values, by path: what an edited run gave otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Whoever compares two large results wants to see that they differ, not a million lines.
DIFFERENCES_MAX = 1000
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place; `what` is added, removed or changed. A value that is not there is None."""

    path: str
    what: str
    before: Any
    after: Any


def compare_json(before: Any, after: Any) -> list[Difference]:
    """Return the places in which two values differ, as JSON pointers ('' is the whole), at most 1,000."""
    found = []
    for difference in _walk("", before, after):
        found.append(difference)
        if len(found) == DIFFERENCES_MAX:
            break
    return found


def _walk(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if before is _MISSING:
        yield Difference(path, "added", None, after)
    elif after is _MISSING:
        yield Difference(path, "removed", before, None)
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            place = str(key).replace("~", "~0").replace("/", "~1")
            yield from _walk(f"{path}/{place}", before.get(key, _MISSING), after.get(key, _MISSING))
    elif isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            yield from _walk(
                f"{path}/{number}",
                before[number] if number < len(before) else _MISSING,
                after[number] if number < len(after) else _MISSING,
            )
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield Difference(path, "changed", before, after)
