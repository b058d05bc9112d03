"""Jobs that begin with what is done already: forked from another, or started again before their end.

Functions take the connection first; where several belong together, the caller opens the transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rkyc.flow import payload
from rkyc.flow.identity import identify_steps
from rkyc.flow.pipeline import Registry
from rkyc.flow.restart import Restart
from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class NewFork:
    """A job to be made of another; `edited` are outputs (JSON text) by kept step, `input` None for the source's."""

    source_id: int
    uuid: UUID
    version: int
    kind: str
    input: str | None
    metadata: str
    edited: Mapping[str, str]


async def read_source(conn: Connection, uuid: UUID) -> Record | None:
    """Return (id, uuid, pipeline, version, lane, input, tenant, state) of a job; state is None while it has not ended."""
    return await fetch_row(conn, _SQL["read_source"], uuid=uuid)


async def lock_end(conn: Connection, job_id: int) -> str | None:
    """Lock how a job ended for the transaction; None: it has not ended."""
    state: str | None = await fetch_value(conn, _SQL["lock_end"], job_id=job_id)
    return state


async def find_next_run(conn: Connection, job_id: int) -> UUID | None:
    """Return the run that an endless job went on as, or None."""
    uuid: UUID | None = await fetch_value(conn, _SQL["find_next_run"], job_id=job_id)
    return uuid


async def read_version_graph(conn: Connection, name: str, version: int | None) -> Record | None:
    """Return (graph as JSON text, version); of the newest version where none is named."""
    return await fetch_row(conn, _SQL["read_version_graph"], name=name, version=version)


async def list_done_steps(conn: Connection, job_id: int, *, pipeline: str, version: int) -> list[Record]:
    """Return (step, degraded, identity as JSON text or None) of a job's completed steps, in their order."""
    return await fetch(conn, _SQL["list_done_steps"], job_id=job_id, pipeline=pipeline, version=version)


async def read_identities(conn: Connection, name: str, version: int) -> str | None:
    """Return {step: [text, …]} as JSON text: what the worker that started last declared; None: none ever did."""
    identities: str | None = await fetch_value(conn, _SQL["read_identities"], name=name, version=version)
    return identities


async def sum_costs(conn: Connection, job_id: int) -> list[Record]:
    """Return (step, depth, calls, tokens_in, tokens_out, cost_usd); depth 0 is the job's own, else it was taken over."""
    return await fetch(conn, _SQL["sum_costs"], job_id=job_id)


async def fork_job(conn: Connection, new: NewFork, plan: Restart) -> tuple[int, list[str]]:
    """Insert the job with its kept checkpoints and first tasks; return (checkpoints copied, lanes to wake)."""
    row = await fetch_row(
        conn,
        _SQL["fork_job"],
        source_id=new.source_id,
        uuid=new.uuid,
        version=new.version,
        kind=new.kind,
        input=new.input,
        metadata=new.metadata,
        kept_branches=[kept.branch for kept in plan.kept],
        kept_nexts=[kept.next_step for kept in plan.kept],
        kept_outputs=[new.edited.get(kept.step) for kept in plan.kept],
        item_steps=[item.step for item in plan.items],
        item_maps=[item.map for item in plan.items],
        **plan_columns(plan),
    )
    assert row is not None
    return row["copied"], row["lanes"]


async def restart_job(conn: Connection, job_id: int, plan: Restart, *, from_step: str) -> list[str]:
    """Start an ended job again by a plan; return the lanes to wake, none when it has not ended."""
    columns = plan_columns(plan) | {"kept_steps": [*plan.kept_names]}
    rows = await fetch(conn, _SQL["restart_job"], job_id=job_id, from_step=from_step, **columns)
    return sorted({row["lane"] for row in rows})


async def continue_job(conn: Connection, job_id: int, uuid: UUID, input: str) -> None:
    """Enqueue the next run of a job that completes in this transaction; `input` is JSON text."""
    await fetch(conn, _SQL["continue_job"], job_id=job_id, uuid=uuid, input=input)


async def read_outputs_of(conn: Connection, job_id: int) -> list[tuple[str, str]]:
    """Return (step, output as JSON text) of a job's checkpoints, in their order."""
    return [(row["step"], row["output"]) for row in await fetch(conn, _SQL["read_outputs_of"], job_id=job_id)]


async def reopen_undone(conn: Connection, job_id: int, plan: Restart, *, metadata: str) -> None:
    """Let a retry of a job that has just ended do again what was undone; `metadata` (JSON text) stays with its end."""
    columns = plan_columns(plan) | {"kept_steps": [*plan.kept_names]}
    await fetch(conn, _SQL["reopen_undone"], job_id=job_id, metadata=metadata, **columns)


def plan_columns(plan: Restart) -> dict[str, Any]:
    """Return a plan as the parameters of the statements that carry it out."""
    return {
        "kept_steps": [kept.step for kept in plan.kept],
        "is_forked": plan.is_forked,
        "join_steps": [join.step for join in plan.joins],
        "join_branches": [join.branch for join in plan.joins],
        "join_remainings": [join.remaining for join in plan.joins],
        "start_steps": [start.step for start in plan.starts],
        "start_branches": [start.branch for start in plan.starts],
        "start_lanes": [start.lane for start in plan.starts],
    }


async def list_runs(conn: Connection, uuid: UUID, *, limit: int) -> list[Record]:
    """Return the jobs that a job came of and that came of it, oldest first."""
    return await fetch(conn, _SQL["list_runs"], uuid=uuid, limit=limit)


async def register_editions(
    conn: Connection, worker_id: int, registry: Registry, resources: Mapping[type, Any]
) -> None:
    """Keep what a worker's steps declare of themselves; harmless to repeat."""
    for pipeline in registry:
        text = payload.encode(identify_steps(pipeline, resources))
        await fetch(
            conn,
            _SQL["register_edition"],
            worker_id=worker_id,
            name=pipeline.name,
            version=pipeline.version,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            identities=text,
        )
