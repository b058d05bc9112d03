"""Pages of jobs, newest first: one statement for each way in, so that a page costs a page.

A status is no column: it is which tables hold a job's rows. So each status is read from those tables,
by an index that has their order, and never by looking at all jobs. The order is that of the inner ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rkyc.errors import InvalidInputError
from rkyc.flow import payload
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.store.pool import Connection, Record, fetch, fetch_row
from rkyc.store.statements import Statement, load

_SQL = load(__file__)
# Ids are made by the clocks of clients, `created_at` by the database's: they may differ by so much.
_CLOCKS_APART = timedelta(hours=1)
_NUMBER_MAX = 2**63 - 1
_WAYS_BY_STATUS = {
    "pending": "list_pending_jobs",
    "running": "list_running_jobs",
    "completed": "list_completed_jobs",
    "failed": "list_unsuccessful_jobs",
    "cancelled": "list_unsuccessful_jobs",
}


async def list_jobs(
    conn: Connection,
    *,
    pipeline: str | None = None,
    status: str | None = None,
    corp: str | None = None,
    metadata: Mapping[str, str] | None = None,
    since: datetime | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[Record]:
    """Return rows of `job_status`, newest first; `before` is the last id of the page before.

    `metadata` pairs must all hold, each as a text or as the JSON value that it reads as.
    """
    values: dict[str, Any] = {
        "pipeline": pipeline,
        "status": status,
        "corp": corp,
        "since": since,
        "limit": limit,
        "texts": [payload.encode({key: text}) for key, text in (metadata or {}).items()],
        "values": [payload.encode({key: _read_value(text)}) for key, text in (metadata or {}).items()],
    }
    values |= {"below": _NUMBER_MAX, "from_number": 0}
    if before is not None or since is not None:
        bounds = await fetch_row(conn, _SQL["find_bounds"], before=before, from_id=_first_id(since))
        assert bounds is not None
        # No job is older than that one, or none as young as asked for.
        if (before is not None and bounds["below"] is None) or (since and bounds["from_number"] is None):
            return []
        values |= {name: value for name, value in bounds.items() if value is not None}
    statement = _SQL["list_jobs_of_metadata"] if metadata else _choose(pipeline, status, corp)
    if metadata and corp is not None:
        raise InvalidInputError(
            "jobs are listed by company or by metadata, not by both: ask for corp_id=… as metadata"
        )
    return await fetch(conn, statement, **{name: values[name] for name in statement.params})


def _read_value(text: str) -> Any:
    try:
        return payload.decode(text)
    except InvalidInputError:
        return text


def _choose(pipeline: str | None, status: str | None, corp: str | None) -> Statement:
    """Return the way in that leaves least to filter."""
    if corp is not None:
        return _SQL["list_jobs_of_corp"]
    if status in _WAYS_BY_STATUS and (pipeline is None or status != "completed"):
        return _SQL[_WAYS_BY_STATUS[status]]
    return _SQL["list_all_jobs" if pipeline is None else "list_jobs_of_pipeline"]


def _first_id(since: datetime | None) -> UUID | None:
    """Return a lower bound of the ids made since then."""
    if since is None:
        return None
    return make_uuid7(max(0, int((since - _CLOCKS_APART).timestamp() * 1000)), b"\0" * RANDOM_BYTES)
