"""A batch step that tells a ledger of each task that it took along: for processes that are killed."""

from __future__ import annotations

from typing import Any

from rkyc.flow.batch import Batch
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from tests.support.ledger import record


@step(batch=Batch(size=50, within_s=3.0))
async def save_many(ctx: Any, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for item, told in zip(ctx.items, inputs, strict=True):
        record(told["ledger"], "saved", ctx.step, str(told["job"]), item.attempt)
    return [{"with": len(inputs)} for _ in inputs]


registry = Registry([Pipeline("saving", 1, save_many)])
