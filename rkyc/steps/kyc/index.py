"""Step 7: keeps the risk signals, marks what changed since the last run, and embeds their texts.

A signature that an earlier run reported is the same risk signal: UNCHANGED, or CHANGED when the facts
under it moved, and reported again either way. Ids are taken while the step runs and rows land with the
checkpoint, so a repeated `save` is harmless. Where no vectors are to be had the job goes on without them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from rkyc.errors import CorpNotFoundError, EmbeddingPartialFailure, EmbeddingTimeoutError, RetryableException
from rkyc.flow.context import StepContext
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.embedding.lexical import LexicalEmbedding
from rkyc.steps.kyc.changes import Known, Seen, compare_with_known, list_gone
from rkyc.steps.kyc.schemas import IndexedSignal, IndexOut, RiskSignalDraft, SnapshotOut, ValidationOut
from rkyc.steps.kyc.signature import compute_content_digest, compute_signature
from rkyc.steps.kyc.vocabulary import ChangeKind, RefType
from rkyc.store.kyc.corps import lock_corp
from rkyc.store.kyc.embeddings import EmbeddingRow, add_embeddings
from rkyc.store.kyc.risk_signals import (
    ReportedRow,
    list_known,
    list_last_reported,
    replace_report,
    reserve_ids,
    upsert_risk_signal,
)
from rkyc.store.pool import Connection, Pool, Record

_BATCH = 100  # Texts of one request.
# Until this attempt a silent provider is worth another try; then the job goes on without vectors.
_WAITING_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """Vectors as they are remembered: `data` is base64 of (count, dim) float32, little endian."""

    model: str
    dim: int
    data: str


@dataclass(frozen=True, slots=True)
class Pending:
    """What `save` writes."""

    job_id: UUID
    corp_id: int
    snapshot_version: int
    reported: tuple[ReportedRow, ...]
    gone: tuple[ReportedRow, ...]
    dropped: tuple[dict[str, str], ...]
    vectors: tuple[EmbeddingRow, ...]


async def run(ctx: StepContext, input: ValidationOut, snapshot: SnapshotOut) -> IndexOut:
    """Compare with earlier runs and embed.

    Raises:
        EmbeddingTimeoutError: no answer from the provider in the first attempts; tried again.
    """
    drafts = _sign_drafts(input)
    async with ctx.use(Pool).connection() as conn:
        known = {row["id"]: _read_known(row) for row in await list_known(conn, snapshot.corp_id)}
        last = {
            row["risk_signal_id"]: row for row in await list_last_reported(conn, snapshot.corp_id, ctx.job_id)
        }
        fresh_ids = await reserve_ids(conn, len(drafts))
    present = {draft.signature for draft, _ in drafts if draft.signature}
    seen = [
        compare_with_known(draft, list(known.values()), present=present, job_id=ctx.job_id, fresh_id=fresh_id)
        for (draft, _), fresh_id in zip(drafts, fresh_ids, strict=True)
    ]
    reported = [
        ReportedRow(
            risk_signal_id=found.risk_signal_id,
            position=position,
            change=found.change,
            below_cut=below_cut,
            draft=draft.model_dump(mode="json"),
            content_sha256=compute_content_digest(draft),
        )
        for position, ((draft, below_cut), found) in enumerate(zip(drafts, seen, strict=True))
    ]
    gone = [
        _report_gone(last[item.risk_signal_id], len(reported) + place)
        for place, item in enumerate(list_gone([known[key] for key in last if key in known], seen))
    ]
    ctx.progress(0.3)
    vectors = await _embed(ctx, reported)
    pending = Pending(
        job_id=ctx.job_id,
        corp_id=snapshot.corp_id,
        snapshot_version=snapshot.snapshot_version,
        reported=tuple(reported),
        gone=tuple(gone),
        dropped=tuple(item.model_dump() for item in input.dropped),
        vectors=tuple(vectors),
    )
    return _summarise(reported, gone, seen, vectors).model_copy(update={"pending": pending})


async def save(conn: Connection, output: IndexOut) -> None:
    """Write risk signals, evidence, vectors, and what this run reported.

    Raises:
        RetryableException: another run of the company has kept one of the findings meanwhile.
    """
    pending: Pending = output.pending
    if not await lock_corp(conn, pending.corp_id):
        raise CorpNotFoundError(
            f"company {pending.corp_id} was removed while it was analysed; submit the dossier again"
        )
    for row in pending.reported:
        kept_id = await upsert_risk_signal(
            conn,
            row,
            corp_id=pending.corp_id,
            snapshot_version=pending.snapshot_version,
            job_id=pending.job_id,
        )
        if kept_id != row.risk_signal_id:
            raise RetryableException(
                f"company {pending.corp_id}: another run kept risk signal {kept_id} at the same moment; "
                "compared with it again"
            )
    await add_embeddings(conn, pending.vectors)
    await replace_report(conn, pending.job_id, [*pending.reported, *pending.gone], pending.dropped)


def _sign_drafts(report: ValidationOut) -> list[tuple[RiskSignalDraft, bool]]:
    """Return (draft, is below the cut), each signature once, the first one."""
    signed: dict[str, tuple[RiskSignalDraft, bool]] = {}
    for drafts, below_cut in ((report.kept, False), (report.below_cut, True)):
        for draft in drafts:
            signature = draft.signature or compute_signature(draft)
            signed.setdefault(signature, (draft.model_copy(update={"signature": signature}), below_cut))
    return list(signed.values())


def _read_known(row: Record) -> Known:
    return Known(
        risk_signal_id=row["id"],
        signature=row["signature"],
        content_sha256=row["content_sha256"],
        event_type=row["event_type"],
        direction=row["direction"],
        rule_id=row["rule_id"],
        period=row["period"],
        status=row["status"],
        first_seen_job=row["first_seen_job"],
        refs=frozenset(row["refs"] or ()),
    )


def _report_gone(row: Record, position: int) -> ReportedRow:
    draft: dict[str, Any] = json.loads(row["reported"])
    return ReportedRow(row["risk_signal_id"], position, ChangeKind.GONE, below_cut=False, draft=draft)


def _summarise(
    reported: list[ReportedRow], gone: list[ReportedRow], seen: list[Seen], vectors: list[EmbeddingRow]
) -> IndexOut:
    def ids(change: ChangeKind) -> list[int]:
        return [item.risk_signal_id for item in seen if item.change is change]

    return IndexOut(
        inserted=ids(ChangeKind.NEW),
        unchanged=ids(ChangeKind.UNCHANGED),
        changed=ids(ChangeKind.CHANGED),
        gone=[row.risk_signal_id for row in gone],
        indexed=[
            IndexedSignal(
                id=row.risk_signal_id,
                signature=row.draft["signature"],
                change=item.change,
                below_cut=row.below_cut,
            )
            for row, item in zip(reported, seen, strict=True)
        ],
        embedding_model=vectors[0].model if vectors else None,
    )


async def _embed(ctx: StepContext, reported: list[ReportedRow]) -> list[EmbeddingRow]:
    """Embed the texts in batches; a batch that fails is left out with a warning.

    A title tells what its evidence tells: outside go those alone whose evidence is all PUBLIC news.
    """
    if ctx.use(Embedder).name != LexicalEmbedding.name:
        reported = [row for row in reported if _tells_news_alone(row)]
    texts = [f"{row.draft['title']}\n{row.draft['summary']}" for row in reported]
    rows: list[EmbeddingRow] = []
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        try:
            found = await _embed_batch(ctx, batch)
        except (EmbeddingPartialFailure, EmbeddingTimeoutError) as error:
            if isinstance(error, EmbeddingTimeoutError) and ctx.attempt < _WAITING_ATTEMPTS:
                raise
            ctx.warn(
                EmbeddingPartialFailure.error_code,
                f"{len(batch)} risk signals have no vectors, search by meaning leaves them out ({error.message})",
            )
            continue
        vectors = np.frombuffer(base64.b64decode(found.data), dtype="<f4").reshape(len(batch), found.dim)
        rows += [
            EmbeddingRow(
                owner_type="risk_signal",
                owner_id=row.risk_signal_id,
                model=found.model,
                text_sha256=hashlib.sha256(text.encode()).hexdigest(),
                vector=tuple(vector.tolist()),
            )
            for row, text, vector in zip(reported[start : start + _BATCH], batch, vectors, strict=True)
        ]
    return rows


def _tells_news_alone(row: ReportedRow) -> bool:
    return all(item["ref_type"] == RefType.URL for item in row.draft["evidence"])


async def _embed_batch(ctx: StepContext, texts: list[str]) -> EmbeddedBatch:
    embedder = ctx.use(Embedder)

    async def ask() -> EmbeddedBatch:
        answer = await embedder.embed(texts)
        data = base64.b64encode(answer.vectors.astype("<f4").tobytes()).decode()
        return EmbeddedBatch(answer.model, int(answer.vectors.shape[1]), data)

    return await ctx.call("embed", ask, returns=EmbeddedBatch)
