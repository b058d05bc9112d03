"""What long steps said last, for their next attempt to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class Beat:
    """One sign of life, under the lease of `claim`; `text` is JSON."""

    claim: Claim
    step: str
    attempt: int
    text: str


async def write_heartbeats(conn: Connection, beats: Sequence[Beat], now: datetime) -> None:
    """Write signs of life, one for each task, over those before; those whose lease is lost are left out."""
    await fetch(
        conn,
        _SQL["write_heartbeats"],
        job_ids=[beat.claim.job_id for beat in beats],
        branches=[beat.claim.branch for beat in beats],
        fences=[beat.claim.fence for beat in beats],
        steps=[beat.step for beat in beats],
        attempts=[beat.attempt for beat in beats],
        texts=[beat.text for beat in beats],
        now=now,
    )


async def read_heartbeat(conn: Connection, *, job_id: int, branch: int, step: str) -> str | None:
    """Return the details that the step said last, as JSON text."""
    details: str | None = await fetch_value(
        conn, _SQL["read_heartbeat"], job_id=job_id, branch=branch, step=step
    )
    return details
