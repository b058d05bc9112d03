"""JSON schemas as strict mode wants them."""

from __future__ import annotations

import json
from enum import StrEnum

import pydantic

from rkyc.providers.llm.schema import is_strict_possible, strict_schema


class Kind(StrEnum):
    A = "A"
    B = "B"


class Inner(pydantic.BaseModel):
    title: str = pydantic.Field(min_length=1, max_length=50)
    kind: Kind = pydantic.Field(default=Kind.A, description="which kind")


class Outer(pydantic.BaseModel):
    items: list[Inner] = pydantic.Field(default_factory=list, max_length=5)
    first: Inner | None = None
    default: str = "a field that is named as a keyword"


def test_every_property_is_required_and_no_other_allowed() -> None:
    schema = strict_schema(Outer.model_json_schema())
    assert schema["required"] == ["items", "first", "default"]
    assert schema["additionalProperties"] is False
    inner = schema["$defs"]["Inner"]
    assert inner["required"] == ["title", "kind"]
    assert inner["properties"]["kind"] == {"$ref": "#/$defs/Kind"}
    assert inner["properties"]["title"] == {"type": "string", "description": "{minLength: 1, maxLength: 50}"}
    assert is_strict_possible(Outer.model_json_schema())


def test_free_keys_and_open_values_can_not_be_strict() -> None:
    class Free(pydantic.BaseModel):
        counts: dict[str, int]

    class Open(pydantic.BaseModel):
        value: object

    assert not is_strict_possible(Free.model_json_schema())
    assert not is_strict_possible({"type": "object", "properties": {"a": {}}})
    assert not is_strict_possible(Open.model_json_schema())


def test_given_schema_is_left_alone() -> None:
    given = Outer.model_json_schema()
    before = json.dumps(given)
    strict_schema(given)
    assert json.dumps(given) == before
