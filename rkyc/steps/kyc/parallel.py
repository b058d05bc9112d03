"""Runs parts of a step side by side, and lets the first failure out as itself.

A task group wraps failures in a group; the engine judges a step's failure by its own class.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from rkyc.errors import RkycError

T = TypeVar("T")


async def run_side_by_side(parts: Sequence[Callable[[], Awaitable[T]]], *, limit: int) -> list[T]:
    """Run the parts, at most `limit` at a time, and return their results in order.

    When one fails the others are cancelled and its error is raised.
    """
    results: dict[int, T] = {}
    failures: list[RkycError] = []
    slots = anyio.CapacityLimiter(limit)

    async with anyio.create_task_group() as group:

        async def run(index: int, part: Callable[[], Awaitable[T]]) -> None:
            async with slots:
                try:
                    results[index] = await part()
                except RkycError as error:
                    failures.append(error)
                    group.cancel_scope.cancel()

        for index, part in enumerate(parts):
            group.start_soon(run, index, part)
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(parts))]
