"""The insight memory: what people decided about earlier risk signals of a company and its industry."""

from __future__ import annotations

from datetime import datetime

from rkyc.store.pool import Connection, Record, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


async def add_case(conn: Connection, risk_signal_id: int, *, decided_at: datetime) -> int | None:
    """Remember a decided risk signal and return the case's id; None while it is undecided. Repeatable."""
    case_id = await fetch_value(conn, _SQL["add_case"], risk_signal_id=risk_signal_id, decided_at=decided_at)
    return None if case_id is None else int(case_id)


async def list_cases(
    conn: Connection, *, corp_id: int, industry_code: str | None, model: str, limit: int = 500
) -> list[Record]:
    """Return cases to compare with, own ones first, each with its vector of `model` or None."""
    return await fetch(
        conn, _SQL["list_cases"], corp_id=corp_id, industry_code=industry_code, model=model, limit=limit
    )
