"""The journal of calls made inside steps: answers that no retry asks for again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, under the lease of `claim`; `text` is JSON, `ms` how long the call took."""

    claim: Claim
    step: str
    name: str
    text: str
    provider: str | None
    model: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    ms: int


async def write_answers(
    conn: Connection, answers: Sequence[Answer], *, worker_id: int, now: datetime
) -> set[tuple[int, int]]:
    """Write answers; return (job, branch) of those whose lease held."""
    rows = await fetch(
        conn,
        _SQL["write_answers"],
        job_ids=[a.claim.job_id for a in answers],
        branches=[a.claim.branch for a in answers],
        fences=[a.claim.fence for a in answers],
        steps=[a.step for a in answers],
        names=[a.name for a in answers],
        answers=[a.text for a in answers],
        providers=[a.provider for a in answers],
        models=[a.model for a in answers],
        tokens_ins=[a.tokens_in for a in answers],
        tokens_outs=[a.tokens_out for a in answers],
        costs=[a.cost_usd for a in answers],
        mss=[a.ms for a in answers],
        worker_id=worker_id,
        now=now,
    )
    return {(row["job_id"], row["branch"]) for row in rows}


async def read_answers(conn: Connection, *, job_id: int, step: str, branch: int) -> dict[str, str | None]:
    """Return the remembered answers of a step as JSON text by name."""
    rows = await fetch(conn, _SQL["read_answers"], job_id=job_id, step=step, branch=branch)
    return {row["name"]: row["answer"] for row in rows}
