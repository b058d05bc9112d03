from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from rkyc.steps.kyc.checks import Sources, check_draft
from rkyc.steps.kyc.events.match import Identity
from rkyc.steps.kyc.rules.documents import PageView
from rkyc.steps.kyc.rules.events import EventView
from rkyc.steps.kyc.schemas import DerivedFigure, DroppedDraft, EvidenceRef, RiskSignalDraft
from rkyc.steps.kyc.vocabulary import EntityRole, MatchBasis, RefType, SourceGrade
from tests.support.kyc import make_draft

EVENT = EventView(
    url="https://news.example/1",
    title="다온금속 피소",
    text="🔥 다온금속은 74억원 규모의 소송을 당했다.\r\n대표는 “대응하겠다”고 말했다.",
    grade=SourceGrade.B,
    cluster_no=0,
    score=0.9,
    basis=MatchBasis.NAME,
    role=EntityRole.SUBJECT,
)
SOURCES = Sources(
    snapshot={
        "statements": {"FY2024": {"liabilities": 57000, "equity": 13800}},
        "corp": {"ceo_name": "남도일"},
    },
    previous=None,
    as_of=date(2025, 3, 31),
    pages={"documents/a.pdf:2": PageView("documents/a.pdf", 2, "계속기업에 유의적 의문이 있다.")},
    events={EVENT.url: EVENT},
    company=Identity(name="다온금속"),
)
QUOTE = "다온금속은 74억원 규모의 소송을 당했다."


def check(sources: Sources = SOURCES, **changes: Any) -> RiskSignalDraft | DroppedDraft:
    fields = {"ref": EVENT.url, "quote": QUOTE, "summary": "소송을 당한 것으로 보도됨"} | changes
    return check_draft(make_draft(**fields), sources)


def reason(result: RiskSignalDraft | DroppedDraft) -> str | None:
    return result.reason if isinstance(result, DroppedDraft) else None


def passed(result: RiskSignalDraft | DroppedDraft) -> RiskSignalDraft:
    assert isinstance(result, RiskSignalDraft), result
    return result


def with_event(**changes: Any) -> Sources:
    return replace(SOURCES, events={EVENT.url: replace(EVENT, **changes)})


def snapshot_evidence(pointer: str, quote: str) -> EvidenceRef:
    return EvidenceRef.model_validate(
        {"evidence_type": "INTERNAL_FIELD", "ref_type": "SNAPSHOT_KEYPATH", "ref": pointer, "quote": quote}
    )


def test_quote_gets_its_place_and_the_source_its_grade() -> None:
    (evidence,) = passed(check()).evidence
    assert EVENT.text[evidence.char_start : evidence.char_end] == evidence.quote == QUOTE
    assert (evidence.check, evidence.source_grade) == ("EXACT", "B")


def test_quote_in_other_letters_is_kept_in_the_source_words() -> None:
    (evidence,) = passed(check(quote='대표는 "대응하겠다"고 말했다.')).evidence
    assert (evidence.check, evidence.quote) == ("NORMALISED", "대표는 “대응하겠다”고 말했다.")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"quote": "다온금속은 파산을 선언했다."}, "QUOTE_NOT_FOUND"),
        ({"ref": "https://elsewhere.example/9"}, "EVIDENCE_NOT_FOUND"),
        ({"summary": "99억원 소송을 당한 것으로 보도됨"}, "NUMBER_NOT_GROUNDED"),
        ({"title": "소송 3건"}, "NUMBER_NOT_GROUNDED"),
        ({"title": "반드시"}, "WORDING"),
        ({"event_type": "INDUSTRY_SHOCK"}, "TYPE_MISMATCH"),
        ({"signal_type": "INDUSTRY"}, "TYPE_MISMATCH"),
    ],
)
def test_claim_that_does_not_hold_is_dropped_with_its_reason(changes: dict[str, Any], expected: str) -> None:
    assert reason(check(**changes)) == expected


@pytest.mark.parametrize(
    ("event", "changes", "expected"),
    [
        ({"score": 0.6}, {}, "ENTITY_UNCERTAIN"),
        ({"basis": MatchBasis.INDUSTRY_CODE}, {}, "ENTITY_UNCERTAIN"),
        ({"role": EntityRole.VICTIM}, {}, "ENTITY_IS_VICTIM"),
        ({"role": EntityRole.VICTIM}, {"direction": "NEUTRAL"}, None),
        (
            {"title": "피소", "text": QUOTE.replace("다온금속", "다온금속화학")},
            {"quote": "74억원 규모의 소송"},
            None,
        ),
        (
            {"title": "파산", "text": "다온금속화학이 파산을 신청했다."},
            {"quote": "파산을 신청했다"},
            "EXTREME_WITHOUT_NAME",
        ),
    ],
)
def test_source_must_be_about_this_company(
    event: dict[str, Any], changes: dict[str, Any], expected: str | None
) -> None:
    assert reason(check(with_event(**event), **changes)) == expected


def test_number_of_the_source_may_be_rounded_and_a_computed_one_must_hold() -> None:
    passed(check(summary="7,400,000,000원 규모의 소송을 당한 것으로 보도됨"))
    pointers = ["/statements/FY2024/liabilities", "/statements/FY2024/equity"]
    evidence = [snapshot_evidence(pointers[0], "57000"), snapshot_evidence(pointers[1], "13800")]

    def ratio(text: str) -> RiskSignalDraft | DroppedDraft:
        figure = DerivedFigure(text=text, formula="ratio_pct", operands=pointers)
        return check(evidence=evidence, title="부채비율", summary=f"부채비율 {text}", derived=[figure])

    assert reason(ratio("413%")) is None
    assert reason(ratio("414%")) == "NUMBER_NOT_GROUNDED"


@pytest.mark.parametrize(
    ("pointer", "quote", "found"),
    [
        ("/statements/FY2024/equity", "13800", "EXACT"),
        ("/statements/FY2024/equity", "13,800", "NORMALISED"),
        ("/statements/FY2024/equity", "13801", None),
        ("/statements/FY2023/equity", "13800", None),
        ("/corp/ceo_name", "남도일", "EXACT"),
        ("/corp", "남도일", None),
    ],
)
def test_snapshot_evidence_is_the_value_itself(pointer: str, quote: str, found: str | None) -> None:
    result = check(evidence=[snapshot_evidence(pointer, quote)])
    if found is None:
        assert reason(result) in ("EVIDENCE_NOT_FOUND", "QUOTE_NOT_FOUND")
    else:
        assert passed(result).evidence[0].check == found


def test_evidence_that_fails_leaves_and_the_rest_carries_the_claim() -> None:
    evidence = [
        *make_draft(ref=EVENT.url, quote=QUOTE).evidence,
        *make_draft(ref=EVENT.url, quote="없는 말").evidence,
    ]
    assert [item.quote for item in passed(check(evidence=evidence)).evidence] == [QUOTE]


def test_page_evidence_is_found_on_its_page_alone() -> None:
    page = {"evidence_type": "DOC", "ref_type": "DOC_PAGE", "quote": "유의적 의문"}
    there = EvidenceRef.model_validate(page | {"ref": "documents/a.pdf:2"})
    elsewhere = EvidenceRef.model_validate(page | {"ref": "documents/a.pdf:1"})
    assert passed(check(evidence=[there])).evidence[0].source_file == "documents/a.pdf"
    assert reason(check(evidence=[elsewhere])) == "EVIDENCE_NOT_FOUND"


def test_high_confidence_needs_two_independent_sources_and_weak_ones_stay_low() -> None:
    two_pages = {EVENT.url: EVENT, "https://news.example/2": replace(EVENT, url="https://news.example/2")}
    other_owner = {EVENT.url: EVENT, "https://daily.example/2": replace(EVENT, url="https://daily.example/2")}
    weak = {url: replace(event, grade=SourceGrade.C) for url, event in other_owner.items()}

    def confidence(events: dict[str, EventView]) -> str:
        evidence = [make_draft(ref=url, quote=QUOTE).evidence[0] for url in events]
        sources = replace(SOURCES, events=events)
        return passed(check(sources, evidence=evidence, confidence="HIGH")).confidence

    assert confidence({EVENT.url: EVENT}) == "MED"
    assert confidence(two_pages) == "MED"
    assert confidence(other_owner) == "HIGH"
    assert confidence(weak) == "LOW"


def test_certain_words_are_hedged_but_never_in_a_quote() -> None:
    text = "다온금속은 반드시 갚겠다고 말했다."
    draft = passed(check(with_event(text=text), quote=text, summary="확실히 갚을 것으로 보도됨"))
    assert draft.summary == "갚을 것으로 보도됨"
    assert draft.evidence[0].quote == text
    assert draft.evidence[0].ref_type is RefType.URL
