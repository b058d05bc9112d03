"""Step 6: only what can be shown passes.

Each draft is checked against the stored sources (`checks`), then doubles and what people dismissed
before are sorted out and the five worst are kept (`selection`). Nothing is added to fill a gap. All of
it is deterministic; no model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pydantic

from rkyc.errors import SnapshotInvalidError
from rkyc.flow.context import StepContext
from rkyc.steps.kyc.checks import Sources, check_draft
from rkyc.steps.kyc.material import read_material
from rkyc.steps.kyc.schemas import (
    DroppedDraft,
    KycInput,
    RiskSignalDraft,
    SignalOut,
    SnapshotOut,
    ValidationOut,
)
from rkyc.steps.kyc.selection import KnownSignal, select
from rkyc.store.kyc import risk_signals, snapshots
from rkyc.store.pool import Connection, Pool, Record


async def run(ctx: StepContext, input: SignalOut, job: KycInput, snapshot: SnapshotOut) -> ValidationOut:
    """Check every draft and choose what is reported."""
    async with ctx.use(Pool).connection() as conn:
        sources = await read_sources(conn, ctx, job, snapshot)
        known = [_known(row) for row in await risk_signals.list_known(conn, snapshot.corp_id)]
    passed, dropped = await anyio.to_thread.run_sync(check_all, input.drafts, sources)
    chosen = select(passed, known, ctx.now)
    output = chosen.model_copy(update={"dropped": [*dropped, *chosen.dropped]})
    for draft in output.dropped:
        ctx.log.debug("validation.dropped", reason=draft.reason)
    return output


async def read_sources(conn: Connection, ctx: StepContext, job: KycInput, snapshot: SnapshotOut) -> Sources:
    """Read back everything that evidence may point at.

    Raises:
        SnapshotInvalidError: the snapshot of this run is gone.
    """
    material = await read_material(conn, ctx.job_id, job.corp)
    present = await snapshots.read_version(conn, snapshot.corp_id, snapshot.snapshot_version)
    if present is None:
        raise SnapshotInvalidError(
            f"snapshot {snapshot.snapshot_version} of corp {snapshot.corp_id} is not stored"
        )
    previous = None
    if snapshot.previous_version is not None:
        previous = await snapshots.read_version(conn, snapshot.corp_id, snapshot.previous_version)
    return Sources(
        snapshot=present.doc,
        previous=previous.doc if previous else None,
        as_of=snapshot.as_of,
        pages={page.ref: page for page in material.pages},
        events={event.url: event for event in material.events},
        company=material.company,
    )


def check_all(
    drafts: Sequence[RiskSignalDraft], sources: Sources
) -> tuple[list[RiskSignalDraft], list[DroppedDraft]]:
    """Check the shape of each draft, then what it says."""
    passed: list[RiskSignalDraft] = []
    dropped: list[DroppedDraft] = []
    for draft in drafts:
        try:
            shaped = RiskSignalDraft.model_validate(draft.model_dump())
        except pydantic.ValidationError as error:
            dropped.append(
                DroppedDraft(title=draft.title[:50], reason="SCHEMA", detail=f"{error.error_count()} faults")
            )
            continue
        result = check_draft(shaped, sources)
        if isinstance(result, RiskSignalDraft):
            passed.append(result)
        else:
            dropped.append(result)
    return passed, dropped


def _known(row: Record) -> KnownSignal:
    return KnownSignal(
        signature=row["signature"],
        category=row["category"],
        rule_id=row["rule_id"],
        title=row["title"],
        summary=row["summary"],
        severity=row["severity"],
        status=row["status"],
        refs=frozenset(row["refs"] or ()),
        best_grade=row["best_grade"],
        seen_at=row["updated_at"],
    )
