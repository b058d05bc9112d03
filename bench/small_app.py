"""A user's own registry with one small pipeline: what the engine alone costs, without the built-in ones."""

from __future__ import annotations

from typing import Any

from rkyc import Pipeline, Registry, step


@step
async def echo(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return input


registry = Registry([Pipeline("echo", version=1, steps=echo)])
# Of `rkyc serve`: this and nothing else.
ALONE = ("--app", "bench.small_app:registry", "--only-app", "--no-api")
