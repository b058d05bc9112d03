"""The checks that a draft passes before it may become a risk signal, in their order.

Evidence exists → quotes stand in their sources → numbers are grounded → it is this company → wording is
hedged → confidence is capped. A draft comes out repaired (the source's words, hedged words, a lower
confidence) or dropped with a reason. No model is asked; pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from rkyc.steps.kyc.events.grade import source_owner
from rkyc.steps.kyc.events.match import SCORE_MIN, Identity, find_company, fold
from rkyc.steps.kyc.grounding import find_ungrounded
from rkyc.steps.kyc.numbers import find_quantities
from rkyc.steps.kyc.pointers import MISSING, quote_value, resolve
from rkyc.steps.kyc.quotes import find_quote
from rkyc.steps.kyc.rules.derive import is_grounded
from rkyc.steps.kyc.rules.documents import PageView
from rkyc.steps.kyc.rules.events import EventView
from rkyc.steps.kyc.rules.terms import TOPICS
from rkyc.steps.kyc.schemas import (
    QUOTE_CHARS_MAX,
    SUMMARY_CHARS_MAX,
    TITLE_CHARS_MAX,
    DroppedDraft,
    EvidenceRef,
    RiskSignalDraft,
)
from rkyc.steps.kyc.vocabulary import (
    EntityRole,
    EventType,
    EvidenceCheck,
    EvidenceType,
    ImpactDirection,
    Level,
    MatchBasis,
    RefType,
    SignalType,
    SourceGrade,
)
from rkyc.steps.kyc.wording import fit, hedge

_TYPE_OF_EVENT = {
    EventType.INDUSTRY_SHOCK: SignalType.INDUSTRY,
    EventType.POLICY_REGULATION_CHANGE: SignalType.ENVIRONMENT,
}
# What may be told of a company, its industry or its surroundings alike.
_ANY_TYPE = frozenset({EventType.OTHER_PUBLIC, EventType.ADVERSE_MEDIA})
_ACCUSING = frozenset({EventType.LEGAL_PROCEEDING, EventType.ADVERSE_MEDIA})
_BY_NAME = frozenset({MatchBasis.REGISTRATION_NO, MatchBasis.NAME, MatchBasis.ALIAS})
_REF_TYPE_OF_EVIDENCE = {
    RefType.SNAPSHOT_KEYPATH: EvidenceType.INTERNAL_FIELD,
    RefType.DOC_PAGE: EvidenceType.DOC,
    RefType.URL: EvidenceType.EXTERNAL,
}


@dataclass(frozen=True, slots=True)
class Sources:
    """What evidence may point at: the snapshot, pages by `name:page`, events by url."""

    snapshot: Mapping[str, Any]
    previous: Mapping[str, Any] | None
    as_of: date
    pages: Mapping[str, PageView]
    events: Mapping[str, EventView]
    company: Identity


class _RefusedError(Exception):
    """Why a draft is dropped; stays inside this module."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def check_draft(draft: RiskSignalDraft, sources: Sources) -> RiskSignalDraft | DroppedDraft:
    """Return the draft as it may be reported, or why not."""
    try:
        _check_type(draft)
        draft = _verify_evidence(draft, sources)
        draft = _check_entity(draft, sources)
        _check_numbers(draft, sources)
        draft = _hedge(draft)
        return _cap_confidence(draft)
    except _RefusedError as refused:
        return DroppedDraft(title=draft.title, reason=refused.reason, detail=refused.detail[:500])


def _check_type(draft: RiskSignalDraft) -> None:
    expected = _TYPE_OF_EVENT.get(draft.event_type)
    if expected is None:
        fits = draft.signal_type is SignalType.DIRECT or draft.event_type in _ANY_TYPE
    else:
        fits = draft.signal_type is expected
    if not fits:
        raise _RefusedError("TYPE_MISMATCH", f"{draft.event_type} is no event type of {draft.signal_type}")


def _verify_evidence(draft: RiskSignalDraft, sources: Sources) -> RiskSignalDraft:
    verified: list[EvidenceRef] = []
    faults: list[str] = []
    is_known = False
    for evidence in draft.evidence:
        found, fault = _verify(evidence, sources)
        is_known = is_known or fault != "not there"
        if found is None:
            faults.append(f"{evidence.ref}: {fault}")
        elif not any((found.ref, found.quote) == (other.ref, other.quote) for other in verified):
            verified.append(found)
    if not verified:
        raise _RefusedError("QUOTE_NOT_FOUND" if is_known else "EVIDENCE_NOT_FOUND", "; ".join(faults))
    return draft.model_copy(update={"evidence": verified})


def _verify(evidence: EvidenceRef, sources: Sources) -> tuple[EvidenceRef | None, str]:
    if _REF_TYPE_OF_EVIDENCE[evidence.ref_type] is not evidence.evidence_type:
        return None, "not there"
    if evidence.ref_type is RefType.SNAPSHOT_KEYPATH:
        return _verify_value(evidence, sources)
    page, event = sources.pages.get(evidence.ref), sources.events.get(evidence.ref)
    text = page.text if evidence.ref_type is RefType.DOC_PAGE and page else None
    text = event.text if evidence.ref_type is RefType.URL and event else text
    if text is None:
        return None, "not there"
    match = find_quote(text, evidence.quote)
    if match is None or len(match.quote) > QUOTE_CHARS_MAX:
        return None, "the source does not hold the quote"
    update: dict[str, Any] = {
        "quote": match.quote,
        "char_start": match.char_start,
        "char_end": match.char_end,
        "check": EvidenceCheck(match.check),
        "similarity": match.similarity,
    }
    # Where a rule has found its sentence the offsets are those of this very place, not of its first copy.
    start, end = evidence.char_start, evidence.char_end
    if start is not None and end is not None and text[start:end] == evidence.quote:
        update |= {
            "quote": evidence.quote,
            "char_start": start,
            "char_end": end,
            "check": EvidenceCheck.EXACT,
        }
    if evidence.ref_type is RefType.URL and event:
        update |= {
            "source_grade": event.grade,
            "published_at": event.published_at,
            "source_file": event.source_file,
        }
    elif page:
        update |= {"source_file": page.name}
    return evidence.model_copy(update=update), ""


def _verify_value(evidence: EvidenceRef, sources: Sources) -> tuple[EvidenceRef | None, str]:
    value = quote_value(resolve(sources.snapshot, evidence.ref))
    if value is None or resolve(sources.snapshot, evidence.ref) is MISSING:
        return None, "not there"
    if value == evidence.quote:
        check = EvidenceCheck.EXACT
    elif fold(value).strip() == fold(evidence.quote).strip() or _is_same_number(value, evidence.quote):
        check = EvidenceCheck.NORMALISED
    else:
        return None, "the snapshot holds another value"
    update = {"quote": value[:QUOTE_CHARS_MAX], "check": check, "similarity": 1.0}
    return evidence.model_copy(update=update), ""


def _is_same_number(value: str, quote: str) -> bool:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    told = find_quantities(quote)
    return len(told) == 1 and told[0].value == abs(number)


def _check_entity(draft: RiskSignalDraft, sources: Sources) -> RiskSignalDraft:
    """Keep only evidence that is about this company; a claim about its industry needs no name."""
    kept: list[EvidenceRef] = []
    faults: list[tuple[str, str]] = []
    for evidence in draft.evidence:
        fault = _entity_fault(draft, evidence, sources)
        if fault is None:
            kept.append(evidence)
        else:
            faults.append(fault)
    if not kept:
        raise _RefusedError(*faults[0])
    return draft.model_copy(update={"evidence": kept})


def _entity_fault(draft: RiskSignalDraft, evidence: EvidenceRef, sources: Sources) -> tuple[str, str] | None:
    event = sources.events.get(evidence.ref) if evidence.ref_type is RefType.URL else None
    if event is None:
        return None
    if event.score < SCORE_MIN:
        return "ENTITY_UNCERTAIN", f"{event.url}: match {event.score:.2f} is below {SCORE_MIN}"
    if draft.signal_type is not SignalType.DIRECT:
        return None
    if event.basis not in _BY_NAME:
        return "ENTITY_UNCERTAIN", f"{event.url}: it is about the industry, not about the company"
    accuses = draft.direction is ImpactDirection.RISK and draft.event_type in _ACCUSING
    if accuses and event.role is EntityRole.VICTIM:
        return "ENTITY_IS_VICTIM", f"{event.url}: the company is the one harmed"
    if _is_extreme(draft, evidence) and not _names_company(event, sources.company):
        return "EXTREME_WITHOUT_NAME", f"{event.url}: the source does not name the company"
    return None


def _is_extreme(draft: RiskSignalDraft, evidence: EvidenceRef) -> bool:
    told = fold(f"{draft.title}\n{draft.summary}\n{evidence.quote}")
    return any(topic.extreme and topic.pattern.search(told) for topic in TOPICS)


def _names_company(event: EventView, company: Identity) -> bool:
    return bool(find_company(fold(f"{event.title}\n{event.text}"), company))


def _check_numbers(draft: RiskSignalDraft, sources: Sources) -> None:
    derived = [
        figure.text
        for figure in draft.derived
        if is_grounded(figure, sources.snapshot, sources.previous, sources.as_of)
    ]
    told = [text for evidence in draft.evidence for text in (evidence.quote, evidence.ref)]
    told += [name for name in sources.company.names if any(char.isdigit() for char in name)]
    told += _headlines(draft, sources)
    missing = find_ungrounded(f"{draft.title}\n{draft.summary}", told, derived)
    if missing:
        raise _RefusedError("NUMBER_NOT_GROUNDED", f"no evidence holds {', '.join(missing)}")


def _headlines(draft: RiskSignalDraft, sources: Sources) -> list[str]:
    events = [sources.events.get(evidence.ref) for evidence in draft.evidence]
    return [event.title for event in events if event is not None]


def _hedge(draft: RiskSignalDraft) -> RiskSignalDraft:
    title, summary = hedge(draft.title), hedge(draft.summary)
    if not title or not summary:
        raise _RefusedError("WORDING", "nothing is left when certain and urgent words are taken out")
    update = {"title": fit(title, TITLE_CHARS_MAX), "summary": fit(summary, SUMMARY_CHARS_MAX)}
    return draft.model_copy(update=update)


def _cap_confidence(draft: RiskSignalDraft) -> RiskSignalDraft:
    """HIGH needs two independent sources; what only weak sources tell is LOW at most."""
    owners = {_owner(evidence) for evidence in draft.evidence}
    grades = [evidence.source_grade for evidence in draft.evidence if evidence.ref_type is RefType.URL]
    confidence = draft.confidence
    if confidence is Level.HIGH and len(owners) < 2:
        confidence = Level.MED
    if len(grades) == len(draft.evidence) and all(grade is SourceGrade.C for grade in grades):
        confidence = Level.LOW
    return draft.model_copy(update={"confidence": confidence})


def _owner(evidence: EvidenceRef) -> str:
    """Who stands behind a piece of evidence. Two fields of the company's records are two observations."""
    if evidence.ref_type is RefType.URL:
        return source_owner(evidence.ref)
    if evidence.ref_type is RefType.DOC_PAGE:
        return evidence.ref.rpartition(":")[0]
    return evidence.ref
