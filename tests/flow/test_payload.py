"""JSON in and out: exact, or refused by name."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import uuid
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.errors import InvalidInputError, OutputInvalidError
from rkyc.flow import payload

# Text that Postgres can hold: no NUL, no half of a surrogate pair.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    at: dt.datetime | None = None
    amount: float = 0.0


@dataclasses.dataclass
class Row:
    name: str
    value: Any


@given(JSON)
def test_what_is_written_is_read_back_the_same(value: Any) -> None:
    assert payload.decode(payload.encode(value)) == value


@given(st.integers(min_value=-(10**60), max_value=10**60))
def test_integers_of_any_size_survive(number: int) -> None:
    assert payload.decode(payload.encode({"n": number})) == {"n": number}


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        [1, -math.inf],
        {"a": {"b": math.nan}},
        (math.nan,),
        {"a": (1, math.inf)},
        Row("x", math.nan),
        Model(amount=math.nan),
        {"model": Model(amount=math.inf), "other": None},
    ],
)
def test_a_number_that_is_none_is_refused_wherever_it_hides(value: Any) -> None:
    with pytest.raises(OutputInvalidError):
        payload.encode(value)


@pytest.mark.parametrize("value", ["a\0b", {"a\0": 1}, [{"x": ["\0"]}], Row("\0", 1)])
def test_a_nul_character_is_refused(value: Any) -> None:
    with pytest.raises(OutputInvalidError, match="NUL"):
        payload.encode(value)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert payload.decode(payload.encode({"path": "C:\\u0000"})) == {"path": "C:\\u0000"}


@pytest.mark.parametrize(
    "value", ["\ud800", {"\udfff": 1}, ["ok", "half \ud83d"], {"big": 10**30, "t": "\ud800"}]
)
def test_half_a_surrogate_pair_is_refused(value: Any) -> None:
    with pytest.raises(OutputInvalidError):
        payload.encode(value)


@pytest.mark.parametrize("value", [object(), {"a": object()}, {1, "a"}, lambda: 1, b"bytes", {("a", "b"): 1}])
def test_what_is_not_json_is_refused_by_its_type(value: Any) -> None:
    with pytest.raises(OutputInvalidError):
        payload.encode(value)


def test_endless_nesting_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(OutputInvalidError):
        payload.encode(loop)


def test_nesting_too_deep_to_read_back_is_refused_or_survives() -> None:
    for depth in (100, 300, 900, 5000, 100_000):
        value: Any = 1
        for _ in range(depth):
            value = [value]
        try:
            text = payload.encode(value)
        except OutputInvalidError:
            continue
        assert payload.decode(text) == value


@pytest.mark.parametrize(
    "value",
    [
        {"at": dt.datetime(2024, 5, 1, tzinfo=dt.UTC), "none": None},
        {"day": dt.date(2024, 5, 1), "none": None},
        {"id": uuid.UUID(int=5), "none": None},
        {"colour": Colour.RED, "none": None},
        {"row": Row("a", None), "model": Model()},
        {"set": {1, 2}, "none": None},
    ],
)
def test_a_none_beside_it_does_not_change_what_can_be_written(value: dict[str, Any]) -> None:
    without = {name: item for name, item in value.items() if item is not None}
    assert json.loads(payload.encode(value)).items() >= json.loads(payload.encode(without)).items()


@pytest.mark.parametrize(
    "other", [dt.datetime(2024, 5, 1, tzinfo=dt.UTC), uuid.UUID(int=5), Colour.RED, Model()]
)
def test_a_huge_integer_beside_it_does_not_change_how_a_value_is_written(other: Any) -> None:
    alone = json.loads(payload.encode({"other": other}))
    assert json.loads(payload.encode({"other": other, "n": 10**30})) == {**alone, "n": 10**30}


@pytest.mark.parametrize("text", ["1e400", '{"a": -1e999}', "[1E+400]", "1" + "0" * 400 + ".5"])
def test_a_number_beyond_any_float_is_refused_and_not_read_as_infinite(text: str) -> None:
    with pytest.raises(InvalidInputError, match="too large"):
        payload.decode(text)


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, "[" * 100_000 + "]" * 100_000, "9" * 5000])
def test_what_python_can_not_read_is_an_invalid_input(text: str) -> None:
    with pytest.raises(InvalidInputError):
        payload.decode(text)


def test_thirty_digits_are_read_exactly() -> None:
    assert payload.decode('{"n": 123456789012345678901234567890}') == {"n": 123456789012345678901234567890}


def test_nothing_is_decoded_as_nothing() -> None:
    assert payload.decode(None) is None
