"""What the steps of a job gave, for whoever looks at one of them."""

from __future__ import annotations

from rkyc.store.pool import Connection, Record, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def list_output_steps(conn: Connection, job_id: int) -> list[Record]:
    """Return (step, items) of each step that has an output that counts, the newest last; items is 0 outside of maps."""
    return await fetch(conn, _SQL["list_output_steps"], job_id=job_id)


async def list_step_items(
    conn: Connection, job_id: int, step: str, *, key: str | None, number: int | None, limit: int
) -> list[Record]:
    """Return (branch, key) of items that have done a step, in their order: all, or those of a key or a number."""
    return await fetch(
        conn, _SQL["list_step_items"], job_id=job_id, step=step, key=key, number=number, limit=limit
    )


async def read_step_output(conn: Connection, job_id: int, step: str, branch: int | None) -> str | None:
    """Return the newest output of a step as JSON text, as it is stored; None: it has none any more."""
    output: str | None = await fetch_value(
        conn, _SQL["read_step_output"], job_id=job_id, step=step, branch=branch
    )
    return output
