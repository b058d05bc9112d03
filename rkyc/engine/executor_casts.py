"""Calls up-casters: code of users, whatever it raises."""

from __future__ import annotations

from typing import Any

from rkyc.errors import ConflictError
from rkyc.flow.pipeline import Pipeline


def upcast(target: Pipeline, version: int, value: Any, outputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return input and outputs as the target version has them.

    Raises:
        ConflictError: no up-casters lead there, or one of them raised.
    """
    path = target.find_upcasts(version)
    if path is None:
        raise ConflictError(
            f"no up-caster leads from {target.name}@{version} to version {target.version}: declare "
            f"upcast={{({version}, {target.version}): fn}}"
        )
    for fn in path:
        try:
            cast = fn(value, outputs)
            if not (isinstance(cast, tuple) and len(cast) == 2 and isinstance(cast[1], dict)):
                raise TypeError(f"it returned {cast!r:.80}: expected (input, outputs by step)")
            value, outputs = cast
        except Exception as error:
            raise ConflictError(
                f"an up-caster from {target.name}@{version} to version {target.version} raised "
                f"{type(error).__name__}: {error}"
            ) from error
    return value, outputs
