"""Differences of two JSON values by path."""

from __future__ import annotations

from typing import Any

import pytest

from rkyc.flow.compare import DIFFERENCES_MAX, Difference, compare_json


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Difference("/a", "changed", 1, 2)]),
        ({"a": 1}, {"b": 1}, [Difference("/a", "removed", 1, None), Difference("/b", "added", None, 1)]),
        ([1, {"x": [2]}], [1, {"x": [2, 3]}], [Difference("/1/x/1", "added", None, 3)]),
        ({"a/b~": None}, {"a/b~": 0}, [Difference("/a~1b~0", "changed", None, 0)]),
        (1, "1", [Difference("", "changed", 1, "1")]),
        (True, 1, [Difference("", "changed", True, 1)]),
        ({"a": {}}, {"a": []}, [Difference("/a", "changed", {}, [])]),
    ],
)
def test_each_difference_is_told_by_its_place(before: Any, after: Any, found: list[Difference]) -> None:
    assert compare_json(before, after) == found


def test_no_more_than_a_thousand_are_told() -> None:
    assert len(compare_json(list(range(5000)), list(range(1, 5001)))) == DIFFERENCES_MAX
