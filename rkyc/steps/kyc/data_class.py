"""Whose data a finding tells: PUBLIC only when every piece of its evidence is.

What is not PUBLIC goes to no provider outside, neither as evidence nor retold in a title or a summary.
"""

from __future__ import annotations

from collections.abc import Iterable

from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.schemas import DocIngestOut, EvidenceRef, RiskSignalDraft, SnapshotOut
from rkyc.steps.kyc.vocabulary import RefType

_STATEMENTS = "/statements/"


def classify_drafts(
    drafts: Iterable[RiskSignalDraft], snapshot: SnapshotOut, doc_ingest: DocIngestOut
) -> DataClass:
    """Return the class of a text that tells all these findings; of none at all it is PUBLIC."""
    public_papers = {paper.name for paper in doc_ingest.documents if paper.data_class is DataClass.PUBLIC}
    evidence = (item for draft in drafts for item in draft.evidence)
    is_public = all(_is_public(item, public_papers, snapshot.statements_class) for item in evidence)
    return DataClass.PUBLIC if is_public else DataClass.INTERNAL


def _is_public(evidence: EvidenceRef, public_papers: set[str], statements_class: DataClass) -> bool:
    match evidence.ref_type:
        case RefType.URL:
            return True
        case RefType.DOC_PAGE:
            return evidence.ref.rpartition(":")[0] in public_papers
        case RefType.SNAPSHOT_KEYPATH:
            return evidence.ref.startswith(_STATEMENTS) and statements_class is DataClass.PUBLIC
