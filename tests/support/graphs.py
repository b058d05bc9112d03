"""Steps of which tests of compositions are made."""

from __future__ import annotations

from typing import Any

import pydantic

from rkyc.flow.step import Step, step


@step
async def do(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return input


@step
async def choose(ctx: Any, input: Any) -> Any:
    return input


def names(*parts: str) -> list[Step]:
    return [do.named(part) for part in parts]


class Left(pydantic.BaseModel):
    value: int = 0


class Right(pydantic.BaseModel):
    value: int = 0


@step
async def give_left(ctx: Any, input: dict[str, Any]) -> Left:
    return Left()


@step
async def take_right(ctx: Any, input: Right) -> dict[str, Any]:
    return {}


@step
async def take_earlier(ctx: Any, give_left: Left, job: dict[str, Any]) -> dict[str, Any]:
    return {}
