"""Dossiers as jobs' inputs, and steps run with what they need, for the tests of the risk analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from rkyc.steps.kyc import snapshot as snapshot_step
from rkyc.steps.kyc.dossier import read_dossier
from rkyc.steps.kyc.schemas import EvidenceRef, KycInput, RiskSignalDraft, SnapshotOut
from rkyc.steps.kyc.vocabulary import EvidenceCheck
from rkyc.store.blobs import write_blob
from rkyc.store.pool import Pool
from tests.support.context import InlineContext


async def upload_dossier(pool: Pool, folder: Path) -> KycInput:
    """Upload a dossier's files and return the job's input."""
    dossier = read_dossier(folder)
    async with pool.connection() as conn:
        for sha256, path in dossier.files:
            assert await write_blob(conn, path.read_bytes()) == sha256
    return KycInput.model_validate(dossier.input)


async def take_snapshot(
    pool: Pool, manifest: KycInput, job_id: UUID | None = None
) -> tuple[SnapshotOut, InlineContext]:
    """Run the first step to its end; the context tells the job's id and the warnings."""
    ctx = InlineContext(pool, step="snapshot", job_id=job_id)
    output = await snapshot_step.run(ctx, manifest)
    async with pool.transaction() as conn:
        await snapshot_step.save(conn, output)
    return output, ctx


def make_draft(**changes: Any) -> RiskSignalDraft:
    """A draft with verified evidence; `ref` and `quote` set those of its one piece of evidence."""
    evidence = EvidenceRef.model_validate(
        {
            "evidence_type": "EXTERNAL",
            "ref_type": "URL",
            "ref": changes.pop("ref", "https://news.example/1"),
            "quote": changes.pop("quote", "소송을 제기"),
            "char_start": 3,
            "char_end": 9,
            "check": changes.pop("check", EvidenceCheck.EXACT),
            "source_grade": "B",
            "published_at": "2025-03-01T00:00:00Z",
        }
    )
    fields = {
        "signal_type": "DIRECT",
        "event_type": "LEGAL_PROCEEDING",
        "category": "LEGAL",
        "title": "손해배상 소송",
        "summary": "거래처가 손해배상 소송을 제기한 것으로 보도되었습니다.",
        "direction": "RISK",
        "strength": "MED",
        "confidence": "MED",
        "severity": 3,
        "probability": "MED",
        "evidence": [evidence],
        "source": "rules",
    }
    return RiskSignalDraft.model_validate(fields | changes)
