"""Why a job does not run: one line, what would make it run, and the facts behind it.

The reasons are rows of `rkyc.reason`, the function is `rkyc.why(job)`: people ask it from SQL too.
"""

from __future__ import annotations

from uuid import UUID

from rkyc.errors import NotFoundError
from rkyc.store.pool import Connection, Record, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


async def read_why(conn: Connection, uuid: UUID) -> Record:
    """Return (reason, why, remedy, facts as JSON text) of a job.

    Raises:
        NotFoundError
    """
    row = await fetch_row(conn, _SQL["read_why"], uuid=uuid)
    if row is None:
        raise NotFoundError(f"no job {uuid}: `rkyc jobs list` shows those that are kept")
    return row
