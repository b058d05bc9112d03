"""What a job may spend on calls, and has spent as far as they told their cost. In USD."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from rkyc.store.pool import Connection, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


class Budget(NamedTuple):
    """In USD; `limit` is None where nothing bounds the job."""

    limit: Decimal | None
    spent: Decimal


async def read_budget(conn: Connection, job_id: int) -> Budget:
    """Return a job's budget with what was added since, and what its journal says it spent."""
    row = await fetch_row(conn, _SQL["read_budget"], job_id=job_id)
    assert row is not None
    return Budget(row["budget_usd"], row["spent_usd"])


async def add_budget(conn: Connection, job_id: int, usd: float) -> bool:
    """Add to a job's budget; False: it has none."""
    return await fetch_value(conn, _SQL["add_budget"], job_id=job_id, usd=usd) is not None
