"""Batch steps at their definition."""

from __future__ import annotations

from typing import Any

import pytest

from rkyc.errors import DefinitionError
from rkyc.flow.batch import Batch, item_hint
from rkyc.flow.step import step


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (list[int], int),
        (list[int | ValueError], int),
        (list[int | str | Exception], int | str),
        (list[Exception], None),
        (list, None),
        (None, None),
    ],
)
def test_the_type_of_an_item_is_read_from_the_list(hint: Any, expected: Any) -> None:
    assert item_hint(hint) == expected


def test_a_batch_step_takes_and_gives_single_items_in_its_graph() -> None:
    @step(batch=Batch(size=2))
    async def save(ctx: Any, inputs: list[dict[str, Any]]) -> list[int]:
        return [1 for _ in inputs]

    assert [want.name for want in save.wanted] == ["input"]
    assert save.output.hint is int


async def _one(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {}


def _plain(ctx: Any, inputs: list[int]) -> list[int]:
    return inputs


async def _many(ctx: Any, inputs: list[int]) -> list[int]:
    return inputs


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (_one, {}, "inputs: list"),
        (_plain, {}, "expected `async def"),
        (_many, {"limits": ["llm"]}, "it takes no limits"),
    ],
)
def test_what_can_not_be_a_batch_step_is_refused(
    function: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        step(batch=Batch(), **options)(function)


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"size": 10_001}, {"within_s": -1}, {"within_s": float("inf")}]
)
def test_a_size_or_time_that_can_not_be_used_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="can't be used"):
        Batch(**options)
