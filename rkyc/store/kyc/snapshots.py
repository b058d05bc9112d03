"""The versions of what is known of a company in figures, and which one a run saw.

Snapshots are append-only (a trigger refuses anything else); a version is added only when the content
changed. Documents are kept as jsonb for people who query; `read_*` give exact numbers back (Decimal or
int, never float).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from rkyc.store.pool import Connection, Record, execute_many, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One figure with its place: `source_ref` is `file name:line` or `file name#element`."""

    fiscal_year: int
    period: str
    concept: str
    value: Decimal
    currency: str | None
    source_ref: str


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    id: int
    corp_id: int
    version: int
    doc: dict[str, Any]
    sha256: str
    source: str
    job_id: UUID
    taken_at: datetime
    statements: tuple[StatementRow, ...] = ()


async def read_latest(conn: Connection, corp_id: int) -> SnapshotRow | None:
    """Return the newest version, without its statement rows."""
    return _snapshot(corp_id, await fetch_row(conn, _SQL["read_latest"], corp_id=corp_id))


async def read_version(conn: Connection, corp_id: int, version: int) -> SnapshotRow | None:
    """Return one version, without its statement rows."""
    return _snapshot(corp_id, await fetch_row(conn, _SQL["read_version"], corp_id=corp_id, version=version))


async def reserve_id(conn: Connection) -> int:
    """Take an id for a snapshot that a later transaction inserts."""
    return int(await fetch_value(conn, _SQL["reserve_id"]))


async def add_snapshot(conn: Connection, row: SnapshotRow) -> None:
    """Insert a version with its figures. The caller holds the company's lock."""
    values = {
        name: getattr(row, name)
        for name in ("id", "corp_id", "version", "sha256", "source", "job_id", "taken_at")
    }
    statement = _SQL["add_snapshot"]
    await conn.execute(statement.text, *statement.args(doc=json.dumps(row.doc, ensure_ascii=False), **values))
    await execute_many(
        conn,
        _SQL["add_statements"],
        [
            {
                "snapshot_id": row.id,
                "fiscal_year": figure.fiscal_year,
                "period": figure.period,
                "concept": figure.concept,
                "value": figure.value,
                "currency": figure.currency,
                "source_ref": figure.source_ref,
            }
            for figure in row.statements
        ],
    )


async def read_statements(conn: Connection, snapshot_id: int) -> Sequence[Record]:
    """Return the figures of a snapshot, oldest first."""
    return await fetch(conn, _SQL["read_statements"], snapshot_id=snapshot_id)


async def add_analysis(
    conn: Connection, *, job_id: UUID, corp_id: int, snapshot_id: int, lang: str, as_of: date
) -> None:
    """Note which company and which snapshot a run looks at. Repeatable."""
    statement = _SQL["add_analysis"]
    args = statement.args(job_id=job_id, corp_id=corp_id, snapshot_id=snapshot_id, lang=lang, as_of=as_of)
    await conn.execute(statement.text, *args)


async def read_analysis(conn: Connection, job_id: UUID) -> Record | None:
    """Return company, snapshot version, language and day of a run, or None."""
    return await fetch_row(conn, _SQL["read_analysis"], job_id=job_id)


def _snapshot(corp_id: int, record: Record | None) -> SnapshotRow | None:
    if record is None:
        return None
    return SnapshotRow(
        id=record["id"],
        corp_id=corp_id,
        version=record["version"],
        doc=json.loads(record["doc"], parse_float=Decimal),
        sha256=record["sha256"],
        source=record["source"],
        job_id=record["job_id"],
        taken_at=record["taken_at"],
    )
