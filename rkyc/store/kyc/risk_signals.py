"""The risk signals of a company with their evidence, what each run reported, and what people decided.

A risk signal is one row per company and signature, however often it is seen; `analysis_signal` keeps what
a run reported as it was then. The database refuses a risk signal without verified evidence and a move
that its life cycle does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from rkyc.errors import ConflictError, InvalidInputError, NotFoundError
from rkyc.store.pool import Connection, Record, execute_many, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)

# A company with more risk signals than this is compared with its newest ones only.
_KNOWN_MAX = 5000


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """A risk signal as one run reports it.

    `draft` is the draft as JSON-ready dict; for a GONE one what the earlier run reported.
    """

    risk_signal_id: int
    position: int
    change: str
    below_cut: bool
    draft: Mapping[str, Any]
    content_sha256: str = ""


async def list_known(conn: Connection, corp_id: int) -> list[Record]:
    """Return the company's risk signals, newest first: signature, status, refs, best_grade, severity, …"""
    return await fetch(conn, _SQL["list_known"], corp_id=corp_id, limit=_KNOWN_MAX)


async def list_last_reported(conn: Connection, corp_id: int, job_id: UUID) -> list[Record]:
    """Return what the last run before this one reported: risk_signal_id, signature, status, reported."""
    return await fetch(conn, _SQL["list_last_reported"], corp_id=corp_id, job_id=job_id)


async def reserve_ids(conn: Connection, count: int) -> list[int]:
    """Take ids for risk signals that a later transaction inserts."""
    return [row["id"] for row in await fetch(conn, _SQL["reserve_ids"], count=count)]


async def upsert_risk_signal(
    conn: Connection, row: ReportedRow, *, corp_id: int, snapshot_version: int, job_id: UUID
) -> int:
    """Insert or refresh a risk signal with its evidence; return the id under which it is kept.

    That is another than `row.risk_signal_id` when another run has inserted the signature meanwhile.
    """
    draft = row.draft
    kept_as_is = (
        "signature", "signal_type", "event_type", "category", "title", "summary", "direction", "strength",
        "confidence", "severity", "probability", "rule_id", "period", "source", "prompt_id", "needs_review",
    )  # fmt: skip
    risk_signal_id = await fetch_value(
        conn,
        _SQL["upsert_risk_signal"],
        id=row.risk_signal_id,
        corp_id=corp_id,
        content_sha256=row.content_sha256,
        derived=orjson.dumps(draft["derived"]).decode(),
        review_reasons=orjson.dumps(draft["review_reasons"]).decode(),
        snapshot_version=snapshot_version,
        job_id=job_id,
        **{name: draft[name] for name in kept_as_is},
    )
    await _replace_evidence(conn, risk_signal_id, draft["evidence"])
    return int(risk_signal_id)


async def replace_report(
    conn: Connection, job_id: UUID, rows: Sequence[ReportedRow], dropped: Sequence[Mapping[str, str]]
) -> None:
    """Keep what a run reported and what it dropped, in place of an earlier report of the same run."""
    for name in ("delete_report", "delete_dropped"):
        await conn.execute(_SQL[name].text, job_id)
    await execute_many(
        conn,
        _SQL["add_reported"],
        [
            {
                "job_id": job_id,
                "risk_signal_id": row.risk_signal_id,
                "position": row.position,
                "change": row.change,
                "below_cut": row.below_cut,
                "reported": orjson.dumps(dict(row.draft)).decode(),
            }
            for row in rows
        ],
    )
    await execute_many(
        conn,
        _SQL["add_dropped"],
        [
            {
                "job_id": job_id,
                "position": position,
                **{key: item[key] for key in ("title", "reason", "detail")},
            }
            for position, item in enumerate(dropped)
        ],
    )
    await conn.execute(_SQL["mark_indexed"].text, job_id)


async def move_risk_signal(
    conn: Connection,
    risk_signal_id: int,
    to_status: str,
    *,
    actor: str,
    reason_code: str | None = None,
    comment: str | None = None,
) -> str:
    """Move a risk signal along its life cycle, note who did it, and return the status it had.

    Raises:
        InvalidInputError: a dismissal without a reason, or a reason without a dismissal.
        NotFoundError: no such risk signal.
        ConflictError: its status does not allow the move.
    """
    if (to_status == "DISMISSED") != (reason_code is not None):
        raise InvalidInputError(
            f"risk signal {risk_signal_id}: a dismissal, and nothing else, needs a reason code"
        )
    moved = await fetch_value(
        conn,
        _SQL["move_risk_signal"],
        risk_signal_id=risk_signal_id,
        to_status=to_status,
        actor=actor,
        reason_code=reason_code,
        comment=comment,
    )
    if moved is not None:
        return str(moved)
    status = await fetch_value(conn, _SQL["read_status"], risk_signal_id=risk_signal_id)
    if status is None:
        raise NotFoundError(f"risk signal {risk_signal_id} does not exist")
    raise ConflictError(f"risk signal {risk_signal_id} is {status} and can not become {to_status}")


async def _replace_evidence(
    conn: Connection, risk_signal_id: int, evidence: Sequence[Mapping[str, Any]]
) -> None:
    await conn.execute(_SQL["delete_evidence"].text, risk_signal_id)
    same = ("evidence_type", "ref_type", "ref", "quote", "char_start", "char_end", "similarity", "source_grade",
            "source_file")  # fmt: skip
    await execute_many(
        conn,
        _SQL["add_evidence"],
        [
            {
                "risk_signal_id": risk_signal_id,
                "position": position,
                "verified": item["check"] or "FAILED",
                "published_at": _instant(item["published_at"]),
                **{name: item[name] for name in same},
            }
            for position, item in enumerate(evidence)
        ],
    )


def _instant(value: str | datetime | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
