"""The items of maps: begun by one statement, read by their own branch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rkyc.flow.outcome import Spread
from rkyc.store.pool import Connection, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


async def spread_task(conn: Connection, row: Spread, *, seq: int, worker_id: int, now: datetime) -> bool:
    """Write the checkpoint, end the task, begin an item per element and set up their join; False when fenced."""
    claim, done = row.claim, row.done
    written = await fetch(
        conn,
        _SQL["spread_task"],
        job_id=claim.job_id,
        branch=claim.branch,
        fence=claim.fence,
        seq=seq,
        step=done.step,
        attempt=done.attempt,
        output=done.output,
        degraded=done.degraded,
        warnings=done.warnings,
        metadata=done.metadata,
        step_started_at=done.started_at,
        elements=row.elements,
        keys=row.keys,
        lane=row.lane,
        item_step=row.step,
        first_branch=row.first_branch,
        items=len(row.elements),
        at_once=row.at_once,
        join_step=row.join_step,
        join_branch=row.join_branch,
        worker_id=worker_id,
        now=now,
    )
    return bool(written)


async def read_outputs_outside(conn: Connection, job_id: int, names: Sequence[str]) -> dict[str, str]:
    """Return those of the named outputs that stand outside of maps, and whole lists of maps' results, as JSON text."""
    rows = await fetch(conn, _SQL["read_outputs_outside"], job_id=job_id, names=names)
    return {row["step"]: row["output"] for row in rows}
