"""How many pages a statement touched, out of the JSON of EXPLAIN (ANALYZE, BUFFERS)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Node: TypeAlias = "dict[str, Any]"


def count_pages(plan: Node) -> int:
    """Return the shared buffers that a plan touched, hit or read.

    A part of a WITH that nobody reads runs after the rest, so the root does not count it; a reader of a part
    counts it a second time. So each part is counted by itself, without those who read others.
    """
    parts = [plan, *(node for node in walk(plan) if _is_part(node))]
    readers = (node for part in parts for node in _walk_part(part) if node["Node Type"] == "CTE Scan")
    return sum(map(_pages_of, parts)) - sum(map(_pages_of, readers))


def walk(node: Node) -> Iterator[Node]:
    """Yield a node of a plan and all below it."""
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


def _walk_part(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        if not _is_part(child):
            yield from _walk_part(child)


def _is_part(node: Node) -> bool:
    return str(node.get("Subplan Name", "")).startswith("CTE ")


def own_pages_of(node: Node) -> int:
    """Return the shared buffers that a node touched itself, without what is below it."""
    return _pages_of(node) - sum(_pages_of(child) for child in node.get("Plans", ()) if not _is_part(child))


def _pages_of(node: Node) -> int:
    return int(node["Shared Hit Blocks"]) + int(node["Shared Read Blocks"])
