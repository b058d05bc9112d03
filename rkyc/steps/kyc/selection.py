"""Which of the checked drafts a run reports: doubles merged, dismissed ones kept away, the worst first.

Pure. Drafts carry their signature; `KnownSignal`s are what earlier runs of this company found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rkyc.steps.kyc.schemas import DroppedDraft, EvidenceRef, RiskSignalDraft, ValidationOut
from rkyc.steps.kyc.signature import compute_signature
from rkyc.steps.kyc.similarity import compare
from rkyc.steps.kyc.vocabulary import ImpactDirection, Level, RefType, RiskSignalStatus

KEPT_MAX = 5
SIMILARITY_MAX = 0.85
_MEMORY = timedelta(days=30)
_EVIDENCE_MAX = 40
# Confidence as the rough share of such signals that hold. One sound source for the worst finding (an
# auditor's doubt) must outweigh two for the next severity, while a rumour must not.
_TRUST = {Level.HIGH: 0.9, Level.MED: 0.75, Level.LOW: 0.4}


@dataclass(frozen=True, slots=True)
class KnownSignal:
    """A risk signal of an earlier run; `best_grade` is A, B, C or None, `seen_at` when it was last seen."""

    signature: str
    category: str
    rule_id: str | None
    title: str
    summary: str
    severity: int
    status: str
    refs: frozenset[str]
    best_grade: str | None
    seen_at: datetime


def select(drafts: Sequence[RiskSignalDraft], known: Sequence[KnownSignal], now: datetime) -> ValidationOut:
    """Return what is kept (at most 5), what fell below the cut, and what was dropped and why."""
    signed = [_sign(draft, known) for draft in drafts]
    unique, merged = _merge(signed)
    fresh: list[RiskSignalDraft] = []
    dropped: list[DroppedDraft] = []
    for draft in unique:
        refusal = _find_duplicate(draft, known, now) or _find_dismissal(draft, known)
        if refusal is None:
            fresh.append(draft)
        else:
            dropped.append(refusal)
    fresh.sort(key=_rank)
    return ValidationOut(kept=fresh[:KEPT_MAX], below_cut=fresh[KEPT_MAX:], dropped=dropped, merged=merged)


def _sign(draft: RiskSignalDraft, known: Sequence[KnownSignal]) -> RiskSignalDraft:
    """Sign a draft; a story that only gained or lost a source keeps the signature it had."""
    signature = compute_signature(draft)
    urls = _urls(draft)
    if urls and all(signature != other.signature for other in known):
        for other in known:
            if other.rule_id == draft.rule_id and other.category == draft.category and urls & other.refs:
                signature = other.signature
                break
    return draft.model_copy(update={"signature": signature})


def _merge(drafts: Sequence[RiskSignalDraft]) -> tuple[list[RiskSignalDraft], int]:
    kept: list[RiskSignalDraft] = []
    merged = 0
    # Rules first: where a model says the same, the rule's words stand and the model's evidence joins.
    for draft in sorted(drafts, key=lambda each: each.rule_id is None):
        for index, other in enumerate(kept):
            if _is_same_finding(draft, other):
                kept[index] = _join(other, draft)
                merged += 1
                break
        else:
            kept.append(draft)
    return kept, merged


def _is_same_finding(draft: RiskSignalDraft, other: RiskSignalDraft) -> bool:
    if draft.signature == other.signature:
        return True
    if draft.rule_id is not None and other.rule_id is not None:
        # Two rules, or one rule over two stories or fields: two findings.
        return False
    if (draft.category, draft.direction) != (other.category, other.direction):
        return False
    same_place = draft.event_type is other.event_type and any(
        _overlap(left, right) for left in draft.evidence for right in other.evidence
    )
    return same_place or compare(_words(draft), _words(other)) > SIMILARITY_MAX


def _overlap(left: EvidenceRef, right: EvidenceRef) -> bool:
    if (left.ref_type, left.ref) != (right.ref_type, right.ref):
        return False
    if left.char_start is None or right.char_start is None or left.char_end is None or right.char_end is None:
        return True
    return left.char_start < right.char_end and right.char_start < left.char_end


def _join(kept: RiskSignalDraft, other: RiskSignalDraft) -> RiskSignalDraft:
    # The signature stays: what it is found by is the kept draft's own evidence.
    seen = {(evidence.ref, evidence.quote) for evidence in kept.evidence}
    more = [evidence for evidence in other.evidence if (evidence.ref, evidence.quote) not in seen]
    same_signature = kept.signature == other.signature
    return kept.model_copy(
        update={
            "evidence": [*kept.evidence, *(more if same_signature else [])][:_EVIDENCE_MAX],
            "severity": max(kept.severity, other.severity) if same_signature else kept.severity,
        }
    )


def _find_duplicate(
    draft: RiskSignalDraft, known: Sequence[KnownSignal], now: datetime
) -> DroppedDraft | None:
    """Refuse what an open risk signal of the last 30 days says already, under another signature."""
    if any(draft.signature == other.signature for other in known):
        return None
    for other in known:
        if other.status == RiskSignalStatus.DISMISSED or other.category != draft.category:
            continue
        # A rule speaks of its own evidence: the same words about other evidence are another finding.
        is_rule_pair = draft.rule_id is not None and other.rule_id is not None
        # From a source that both cite it is the earlier one going on, not a double of it.
        goes_on = any(evidence.ref in other.refs for evidence in draft.evidence)
        if is_rule_pair or goes_on or now - other.seen_at > _MEMORY:
            continue
        similarity = compare(_words(draft), f"{other.title} {other.summary}")
        if similarity > SIMILARITY_MAX:
            detail = f"{similarity:.2f} alike to the risk signal {other.signature[:12]} ({other.title})"
            return DroppedDraft(title=draft.title, reason="DUPLICATE", detail=detail)
    return None


def _find_dismissal(draft: RiskSignalDraft, known: Sequence[KnownSignal]) -> DroppedDraft | None:
    """Refuse what a person dismissed, unless it became graver or a better source tells it now."""
    for other in known:
        if other.status != RiskSignalStatus.DISMISSED:
            continue
        same_story = bool(_urls(draft) & other.refs) and other.category == draft.category
        if draft.signature != other.signature and not same_story:
            continue
        if draft.severity > other.severity or _has_better_source(draft, other):
            return None
        detail = f"dismissed before as {other.signature[:12]}; no graver, no better source"
        return DroppedDraft(title=draft.title, reason="DISMISSED_BEFORE", detail=detail)
    return None


def _has_better_source(draft: RiskSignalDraft, other: KnownSignal) -> bool:
    grades = [evidence.source_grade for evidence in draft.evidence if evidence.source_grade is not None]
    # A sorts before C.
    return bool(grades) and other.best_grade is not None and min(grades) < other.best_grade


def _rank(draft: RiskSignalDraft) -> tuple[float, int, bool, int, str, str]:
    """Smaller is reported earlier: severity × confidence, risks before chances."""
    weight = draft.severity * _TRUST[draft.confidence]
    is_risk = draft.direction is ImpactDirection.RISK
    likely = draft.probability.rank + draft.strength.rank
    return (-weight, -draft.severity, not is_risk, -likely, draft.rule_id or "~", draft.signature or "")


def _urls(draft: RiskSignalDraft) -> frozenset[str]:
    return frozenset(evidence.ref for evidence in draft.evidence if evidence.ref_type is RefType.URL)


def _words(draft: RiskSignalDraft) -> str:
    return f"{draft.title} {draft.summary}"
