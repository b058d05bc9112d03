"""Pointers find, quote and compare values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from rkyc.steps.kyc.pointers import MISSING, join_pointer, list_changes, quote_value, read_number, resolve

DOC = {"a/b": {"c~d": 1}, "list": [{"x": "y"}], "flag": False, "none": None, "text": "12.5"}


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/a~1b/c~0d", 1),
        ("/list/0/x", "y"),
        ("", DOC),
        ("/none", None),
        ("/list/1", MISSING),
        ("/list/-1", MISSING),
        ("/list/00", MISSING),
        ("/list/x", MISSING),
        ("/text/0", MISSING),
        ("no-slash", MISSING),
    ],
)
def test_resolve(pointer: str, expected: Any) -> None:
    found = resolve(DOC, pointer)
    assert found is expected or found == expected


def test_join_is_the_inverse_of_resolve() -> None:
    assert resolve(DOC, join_pointer("a/b", "c~d")) == 1


def test_numbers_are_never_flags_nor_words() -> None:
    assert read_number(DOC, "/text") == Decimal("12.5")
    assert [read_number(doc, "/x") for doc in ({"x": True}, {"x": "ten"}, {"x": "NaN"}, {"x": None}, {})] == [
        None
    ] * 5


def test_quotes_are_the_text_of_the_value() -> None:
    assert [quote_value(value) for value in (57000000000, Decimal("5.40"), True, "가", None, [], {})] == [
        *("57000000000", "5.40", "true", "가"),
        *(None, None, None),
    ]


def test_changes_are_told_by_their_leaves() -> None:
    before = {"same": 1, "moved": 1, "gone": {"x": 1, "y": 2}, "list": [1, 2]}
    after = {"same": 1, "moved": 2, "new": [3], "list": [1], "empty": {}}
    assert list_changes(before, after) == ["/empty", "/gone/x", "/gone/y", "/list/1", "/moved", "/new/0"]
    assert list_changes(before, before) == []
