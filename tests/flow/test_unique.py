"""The terms of a unique key."""

from __future__ import annotations

from typing import Any

import pytest

from rkyc.errors import DefinitionError
from rkyc.flow.unique import Unique


def test_a_key_is_held_until_the_job_ends_unless_said_otherwise() -> None:
    assert Unique("k").held_while == "unfinished"
    assert Unique("k", while_="pending").held_while == "pending"
    assert Unique("k", for_s=60).held_while == "period"


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"key": ""}, "0 characters"),
        ({"key": "k" * 256}, "256 characters"),
        ({"key": "a\0b"}, "without NUL"),
        ({"key": "\ud800"}, "without NUL and halves"),
        ({"key": "k", "while_": "pending", "for_s": 5}, "give one of them"),
        ({"key": "k", "while_": "done"}, "while_ 'done'"),
        ({"key": "k", "on_conflict": "raise"}, "on_conflict 'raise'"),
        ({"key": "k", "for_s": 0}, "for_s 0"),
        ({"key": "k", "for_s": float("nan")}, "for_s nan"),
        ({"key": "k", "for_s": 1e30}, r"for_s 1e\+30"),
    ],
)
def test_terms_that_can_not_be_held_are_refused(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Unique(**terms)
