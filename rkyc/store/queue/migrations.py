"""Jobs moved from one version of their pipeline to another.

Functions take the connection first; the caller opens the transaction and sweeps the job's tasks before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any
from uuid import UUID

from rkyc.flow.restart import Restart
from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.queue.restarts import plan_columns
from rkyc.store.statements import load

_SQL = load(__file__)


async def list_blocked(
    conn: Connection, pipeline: str, version: int, *, after: int, limit: int
) -> list[Record]:
    """Return (id, uuid) of jobs of older versions that wait for a worker of theirs, by id."""
    return await fetch(
        conn, _SQL["list_blocked"], pipeline=pipeline, version=version, after=after, limit=limit
    )


async def is_served(conn: Connection, pipeline: str, version: int) -> bool:
    """Return whether a live worker serves this version."""
    return bool(await fetch_value(conn, _SQL["is_served"], pipeline=pipeline, version=version))


async def move_children(conn: Connection, job_id: int, branches: Mapping[str, int], known: Set[str]) -> None:
    """Let a job's children belong to their steps where these stand now; have those of lost steps cancelled.

    `branches` are those of the steps outside of maps, `known` are all steps. Call it after the leases were locked.
    """
    await fetch(conn, _SQL["move_children"], **_step_columns(job_id, branches, known))


async def move_journal(conn: Connection, job_id: int, branches: Mapping[str, int], known: Set[str]) -> None:
    """Let the steps of a job remember their calls where they stand now, and no others; its tasks were swept."""
    await fetch(conn, _SQL["move_journal"], **_step_columns(job_id, branches, known))


async def move_job(
    conn: Connection,
    job_id: int,
    *,
    version: int,
    input: str,
    outputs: Mapping[str, str],
    plan: Restart,
    origins: Sequence[tuple[str, str]],
    started_at: datetime | None,
) -> list[str]:
    """Give a job its new version, input and outputs (JSON text by kept step), and its first tasks; return their lanes.

    `origins` says of which old steps the kept ones tell, in pairs (new, old).
    """
    await fetch(conn, _SQL["drop_joins"], job_id=job_id)
    rows = await fetch(
        conn,
        _SQL["move_job"],
        job_id=job_id,
        version=version,
        input=input,
        started_at=started_at,
        kept_branches=[kept.branch for kept in plan.kept],
        kept_nexts=[kept.next_step for kept in plan.kept],
        kept_outputs=[outputs[kept.step] for kept in plan.kept],
        origin_steps=[step for step, _ in origins],
        origin_olds=[old for _, old in origins],
        **plan_columns(plan),
    )
    return sorted({row["lane"] for row in rows})


async def lock_place(conn: Connection, job_id: int, uuid: UUID) -> Record | None:
    """Lock where a job is held back, by a pause of its own or until its turn or time; None: it may run."""
    return await fetch_row(conn, _SQL["lock_place"], job_id=job_id, uuid=uuid)


async def hold_place(conn: Connection, job_id: int, place: Record) -> None:
    """Hold a job that this transaction moved back again where `lock_place` found it."""
    await fetch(conn, _SQL["hold_place"], job_id=job_id, **place)


def _step_columns(job_id: int, branches: Mapping[str, int], known: Set[str]) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "steps": [*branches],
        "branches": [*branches.values()],
        "known_steps": [*known],
    }
