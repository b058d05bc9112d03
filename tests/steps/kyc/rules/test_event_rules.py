from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest

from rkyc.steps.kyc.events.classify import judge_hit
from rkyc.steps.kyc.events.match import Identity
from rkyc.steps.kyc.rules.events import EventView, evaluate_events
from rkyc.steps.kyc.schemas import RiskSignalDraft
from rkyc.steps.kyc.vocabulary import SourceType

DAON = Identity(
    name="다온금속 주식회사",
    name_en="Daon Metal Co., Ltd.",
    industry_code="C24",
    ceo_name="남도일",
    places=frozenset({"포항"}),
)


def view(
    text: str, title: str = "", *, url: str = "https://a.example/1", cluster: int = 0, lang: str = "ko"
) -> EventView:
    judged = judge_hit(
        url=url, title=title, text=text, source=None, source_type=SourceType.NEWS, company=DAON
    )
    return EventView(
        url=url,
        title=title,
        text=text,
        grade=judged.grade,
        cluster_no=cluster,
        score=judged.score,
        basis=judged.basis,
        role=judged.role,
        published_at=datetime(2025, 3, 1, tzinfo=UTC),
        lang=lang,
    )


def evaluate(*events: EventView, lang: str = "ko") -> list[RiskSignalDraft]:
    return evaluate_events(events, DAON, lang)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "rule_id"),
    [
        ("포항 다온금속이 회생절차 개시를 신청했다.", "E-INSOLVENCY"),
        ("포항 다온금속 대표가 횡령 혐의로 기소됐다.", "E-CRIME"),
        ("포항 다온금속이 손해배상 소송을 당했다.", "E-LAWSUIT"),
        ("포항 다온금속이 과징금 3억원을 부과받았다.", "E-PROBE"),
        ("포항 다온금속 공장에서 화재가 발생했다.", "E-ACCIDENT"),
        ("포항 다온금속이 직원 임금을 체불했다.", "E-WAGES"),
        ("포항 다온금속 신용등급이 하향 조정됐다.", "E-CREDIT"),
        ("포항 다온금속의 대표이사가 사임했다.", "E-GOVERNANCE"),
        ("포항 다온금속의 최대주주가 변경됐다.", "E-OWNER"),
        ("포항 다온금속이 85억원 규모 공급계약을 체결했다.", "O-BUSINESS"),
        ("Daon Metal Co., Ltd. was indicted for embezzlement.", "E-CRIME"),
        ("Daon Metal Co., Ltd. filed for bankruptcy.", "E-INSOLVENCY"),
        ("철강 수요 급감으로 업황 악화가 길어진다.", "E-INDUSTRY"),
        ("정부는 철강 배출 규제를 강화한다.", "E-POLICY"),
    ],
)
def test_word_gives_its_kind_of_risk_signal(text: str, rule_id: str) -> None:
    (draft,) = evaluate(view(text))
    assert draft.rule_id == rule_id
    assert draft.evidence[0].quote == text


@pytest.mark.parametrize(
    "text",
    [
        "포항 다온금속은 횡령 혐의에 대해 무혐의 처분을 받았다.",
        "포항 다온금속 부도설은 사실무근으로 밝혀졌다.",
        "포항 다온금속의 부도덕한 경영이 도마에 올랐다.",
        "포항 다온금속은 새 공장을 공개했다.",
        "사기 피해를 입은 포항 다온금속은 피해액을 돌려받았다.",
        "포항 다온금속은 가나전자를 상대로 손해배상 소송을 제기했다.",
        "가나전자가 부도를 냈다. 포항 다온금속은 거래가 없다고 밝혔다.",
        "다온금속화학이 회생절차 개시를 신청했다.",
    ],
)
def test_no_risk_where_none_is_told_of_the_company(text: str) -> None:
    assert evaluate(view(text)) == []


def test_copies_become_one_risk_signal_with_all_sources() -> None:
    text = "포항 다온금속이 손해배상 소송을 당했다."
    drafts = evaluate(view(text, url="https://a.example/1"), view(text + " 끝.", url="https://b.example/2"))
    assert [evidence.ref for evidence in drafts[0].evidence] == ["https://a.example/1", "https://b.example/2"]
    assert len(drafts) == 1


def test_uncertain_source_counts_only_where_there_is_no_certain_one() -> None:
    sure = view("포항 다온금속이 손해배상 소송을 당했다.", url="https://a.example/1")
    unsure = view("다온금속이 손해배상 소송을 당했다.", url="https://b.example/2")
    assert [evidence.ref for evidence in evaluate(sure, unsure)[0].evidence] == ["https://a.example/1"]
    # Validation drops it, with its score as the reason.
    assert [evidence.ref for evidence in evaluate(unsure)[0].evidence] == ["https://b.example/2"]


def test_rumour_stays_low_and_goes_to_a_person() -> None:
    (draft,) = evaluate(view("포항 다온금속 부도설이 돌고 있다고 한다."))
    assert (draft.confidence, draft.strength, draft.needs_review) == ("LOW", "LOW", True)
    assert "소문" in draft.title


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_quote_is_the_stored_sentence_at_its_offsets(form: str) -> None:
    text = unicodedata.normalize(
        form, "🔥 어제 일이다.\r\n\r\n포항 다온금속 공장에서 👷‍♂️ 화재가 발생했다.\r\n다친 사람은 없다."
    )
    (draft,) = evaluate(view(text))
    (evidence,) = draft.evidence
    assert text[evidence.char_start : evidence.char_end] == evidence.quote
    assert unicodedata.normalize("NFC", evidence.quote) == "포항 다온금속 공장에서 👷‍♂️ 화재가 발생했다."


def test_long_sentence_is_clipped_around_its_word() -> None:
    text = "포항 다온금속은 " + "오래된 이야기와 " * 60 + "손해배상 소송을 당했다."
    (draft,) = evaluate(view(text))
    assert len(draft.evidence[0].quote) <= 400
    assert "소송" in draft.evidence[0].quote
    assert draft.evidence[0].quote in text


def test_english_words_for_english_readers() -> None:
    (draft,) = evaluate(view("Daon Metal Co., Ltd. was sued for damages.", lang="en"), lang="en")
    assert draft.title == "Daon Metal: lawsuit"
    assert draft.summary.startswith("Sources report: ")
