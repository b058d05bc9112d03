"""What searches returned about companies: the texts, whom they are about, and which a run used.

An event is immutable and known by its url and text, so adding it is repeatable and may happen before the
step's checkpoint; whom it is about and which run used it are rows of the step's save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from rkyc.store.pool import Connection, Record, execute_many, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class EventRow:
    """`event_signature` is equal for the copies of one story."""

    url: str
    title: str
    text: str
    event_signature: str
    source_type: str
    grade: str
    fetched_at: datetime
    event_class: str = "OTHER"
    published_at: datetime | None = None
    source: str | None = None
    lang: str | None = None


@dataclass(frozen=True, slots=True)
class TargetRow:
    """Whom an event is about, how surely (0-1), and why."""

    event_id: int
    corp_id: int
    score: float
    basis: str
    role: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnalysisEventRow:
    """An event in a run: `cluster_no` groups one story's copies, `copies` counts them."""

    job_id: UUID
    event_id: int
    cluster_no: int
    copies: int = 1
    source_file: str | None = None


async def add_events(conn: Connection, rows: Sequence[EventRow]) -> list[int]:
    """Insert what is new and return one id per row, in order. Repeatable, also beside other runs."""
    # Sorted, so that two runs that add the same events take their locks in one order.
    order = sorted(range(len(rows)), key=lambda index: (_sha256(rows[index].url), _sha256(rows[index].text)))
    ids = [0] * len(rows)
    for index in order:
        row = rows[index]
        ids[index] = await fetch_value(
            conn,
            _SQL["add_event"],
            url=row.url,
            url_sha256=_sha256(row.url),
            text_sha256=_sha256(row.text),
            event_signature=row.event_signature,
            title=row.title,
            text=row.text,
            published_at=row.published_at,
            source=row.source,
            source_type=row.source_type,
            grade=row.grade,
            event_class=row.event_class,
            lang=row.lang,
            fetched_at=row.fetched_at,
        )
    return ids


async def add_targets(conn: Connection, rows: Sequence[TargetRow]) -> None:
    """Say whom events are about; a later run's judgement replaces an earlier one."""
    await execute_many(
        conn,
        _SQL["add_target"],
        [
            {
                "event_id": row.event_id,
                "corp_id": row.corp_id,
                "score": row.score,
                "basis": row.basis,
                "role": row.role,
                "reasons": orjson.dumps(row.reasons).decode(),
            }
            for row in sorted(rows, key=lambda row: (row.event_id, row.corp_id))
        ],
    )


async def add_analysis_events(conn: Connection, rows: Sequence[AnalysisEventRow]) -> None:
    """Note which events a run used. Repeatable."""
    await execute_many(
        conn,
        _SQL["add_analysis_event"],
        [
            {
                "job_id": row.job_id,
                "event_id": row.event_id,
                "cluster_no": row.cluster_no,
                "copies": row.copies,
                "source_file": row.source_file,
            }
            for row in rows
        ],
    )


async def read_events(conn: Connection, job_id: UUID) -> list[Record]:
    """Return the events of a run with text, grade, cluster and what they have to do with its company."""
    return await fetch(conn, _SQL["read_events"], job_id=job_id)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
