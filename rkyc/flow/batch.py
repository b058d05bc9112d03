"""Batches: tasks of many jobs that one call of a step works off together. Pure.

`@step(batch=Batch(size=50, within_s=5.0))` on `async def save_many(ctx, inputs: list[X]) -> list[Y]`: the tasks
that reach the step in one process are gathered, and the function is called once for all of them.
"""

from __future__ import annotations

import functools
import math
import operator
import types
import typing
from dataclasses import dataclass
from typing import Any

from rkyc.errors import DefinitionError

SIZE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Call when `size` tasks have gathered, or `within_s` seconds after the first of them.

    Raises:
        DefinitionError: a size or a time that can't be used.
    """

    size: int = 50
    within_s: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= SIZE_MAX or not 0 <= self.within_s < math.inf:
            raise DefinitionError(
                f"batch of {self.size} within {self.within_s} s can't be used: "
                f"expected a size from 1 to {SIZE_MAX} and seconds from 0"
            )


def item_hint(hint: Any) -> Any:
    """Return what a list of a function's signature holds: X of `list[X]`, Y of `list[Y | Exception]`; None: not said."""
    (item,) = typing.get_args(hint) or (None,)
    if typing.get_origin(item) not in (typing.Union, types.UnionType):
        return None if _is_error(item) else item
    values = [one for one in typing.get_args(item) if not _is_error(one)]
    return functools.reduce(operator.or_, values) if values else None


def _is_error(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseException)
