"""The insight of a run: stance, headline, and sections in which every sentence cites risk signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from rkyc.store.pool import Connection, Record, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def reserve_id(conn: Connection) -> int:
    """Take an id for an insight that a later transaction inserts."""
    return int(await fetch_value(conn, _SQL["reserve_id"]))


async def add_insight(
    conn: Connection,
    *,
    insight_id: int,
    job_id: UUID,
    corp_id: int,
    stance: str,
    headline: str,
    sections: Sequence[dict[str, Any]],
    cited_signal_ids: Sequence[int],
    quality_score: float,
    coverage: float,
    provider: str,
    published: bool,
    needs_review: bool,
) -> None:
    """Keep the insight of a run; a run has one. Repeatable."""
    statement = _SQL["add_insight"]
    args = statement.args(
        id=insight_id,
        job_id=job_id,
        corp_id=corp_id,
        stance=stance,
        headline=headline,
        sections=orjson.dumps(list(sections)).decode(),
        cited_signal_ids=list(cited_signal_ids),
        quality_score=quality_score,
        coverage=coverage,
        provider=provider,
        published=published,
        needs_review=needs_review,
    )
    await conn.execute(statement.text, *args)


async def read_insight(conn: Connection, job_id: UUID) -> Record | None:
    """Return the insight of a run, `sections` as JSON text, or None."""
    return await fetch_row(conn, _SQL["read_insight"], job_id=job_id)
