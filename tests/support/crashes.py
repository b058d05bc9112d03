"""What crash tests share: inputs, what the ledger must say, waiting for the fleet's work."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

from rkyc.engine.client import Client
from rkyc.store.pool import Pool
from tests.support.engine import query, wait_for
from tests.support.ledger import Entry, read_ledger


def make_input(folder: Path, name: Any, **more: Any) -> dict[str, Any]:
    """The input of a probe job that tells the ledger of this folder."""
    return {"ledger": str(folder / "ledger"), "job": str(name), **more}


def entries(folder: Path) -> list[Entry]:
    return read_ledger(folder / "ledger")


async def wait_entries(
    folder: Path, what: str, number: int, *, step: str | None = None, timeout_s: float = 30.0
) -> list[Entry]:
    """Wait until so many events of a kind stand in the ledger."""

    async def look() -> list[Entry] | None:
        found = [one for one in entries(folder) if one.what == what and step in (None, one.step)]
        return found if len(found) >= number else None

    found: list[Entry] = await wait_for(look, timeout_s=timeout_s, what=f"{number} x {what} {step or ''}")
    return found


async def submit(pool: Pool, pipeline: str, inputs: list[dict[str, Any]]) -> list[UUID]:
    return await Client(pool=pool).enqueue_many(pipeline, inputs)


async def checkpoints_by_step(pool: Pool) -> Counter[tuple[int, str]]:
    """Count how often each step of each job was completed: every one must be one."""
    rows = await query(
        pool,
        """SELECT job_id, step FROM rkyc.checkpoint
           UNION ALL SELECT job_id, step FROM rkyc.history WHERE state = 'completed'""",
    )
    return Counter((row["job_id"], row["step"]) for row in rows)
