from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.steps.kyc.events.classify import canonical_url, judge_hit
from rkyc.steps.kyc.events.match import SCORE_MIN, Identity, fold, match_company
from rkyc.steps.kyc.events.names import find_mentions, find_other_names, strip_legal_form
from rkyc.steps.kyc.events.role import find_role
from rkyc.steps.kyc.vocabulary import EntityRole, MatchBasis, SourceType

DAON = Identity(
    name="다온금속 주식회사",
    name_en="Daon Metal Co., Ltd.",
    aliases=("다온",),
    biz_no="999-81-11112",
    industry_code="C24",
    ceo_name="남도일",
    places=frozenset({"포항", "경북"}),
)


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("(주)다온금속", "다온금속"),
        ("다온금속 주식회사", "다온금속"),
        ("㈜다온금속", "다온금속"),
        ("Daon Metal Co., Ltd.", "Daon Metal"),
        ("Carbo Ceramics Inc.", "Carbo Ceramics"),
        ("주식회사", "주식회사"),
    ],
)
def test_legal_forms_are_no_part_of_a_name(name: str, bare: str) -> None:
    assert strip_legal_form(name) == bare


@pytest.mark.parametrize(
    "text",
    [
        "다온금속은",
        "다온금속에서는 불이",
        "(주)다온금속",
        "다온금속(대표 남도일)",
        "다온금속, 수주",
        "다온금속",
    ],
)
def test_name_with_a_particle_is_the_name(text: str) -> None:
    assert len(find_mentions(text, DAON.name)) == 1


@pytest.mark.parametrize("text", ["다온금속화학은", "신다온금속이", "다온금속 홀딩스", "다온금속2공장"])
def test_longer_names_are_other_names(text: str) -> None:
    assert find_mentions(text, DAON.name) == []
    assert find_other_names(text, DAON.name)


def test_english_name_stands_alone() -> None:
    assert find_mentions("Daon Metal filed a report", DAON.name_en or "")
    assert not find_mentions("Daon Metal Chemicals filed a report", DAON.name_en or "")
    assert not find_mentions("Daon Metals filed a report", DAON.name_en or "")


@pytest.mark.parametrize(
    ("text", "certain", "basis"),
    [
        ("사업자등록번호 999-81-11112 업체가 공시했다.", True, MatchBasis.REGISTRATION_NO),
        ("다온금속(대표 남도일)이 소송을 당했다.", True, MatchBasis.NAME),
        ("포항의 다온금속이 공장을 증설했다.", True, MatchBasis.NAME),
        ("철강업체 다온금속이 감산했다.", True, MatchBasis.NAME),
        ("다온금속이 어제 발표했다.", False, MatchBasis.NAME),
        ("다온이 어제 발표했다.", False, MatchBasis.ALIAS),
        ("부산의 식품 업체 다온금속(대표 구본무)이 부도를 냈다.", False, MatchBasis.NAME),
        ("다온금속(사업자등록번호 123-45-67890)이 부도를 냈다. 철강 업계.", False, MatchBasis.NAME),
        ("다온금속화학이 부도를 냈다.", False, None),
    ],
)
def test_company_is_told_from_its_namesakes(text: str, certain: bool, basis: MatchBasis | None) -> None:
    match = match_company("", text, DAON)
    assert (match.is_certain, match.basis) == (certain, basis)
    assert match.reasons or basis is None


def test_new_chief_executive_is_no_contradiction() -> None:
    match = match_company("", "포항 다온금속 신임 대표이사 강하늘 선임", DAON)
    assert match.is_certain


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_judged(title: str, text: str) -> None:
    match = match_company(fold(title), fold(text), DAON)
    assert 0.0 <= match.score <= 1.0
    assert match.score < SCORE_MIN or match.basis is not None


def test_unicode_form_of_the_text_does_not_matter() -> None:
    text = "포항의 다온금속이 공장을 증설했다."
    assert (
        match_company("", fold(unicodedata.normalize("NFD", text)), DAON).score
        == match_company("", text, DAON).score
    )


@pytest.mark.parametrize(
    ("title", "text", "role"),
    [
        ("다온금속 횡령 사건", "다온금속 임원이 회삿돈을 횡령한 혐의로 기소됐다.", EntityRole.PERPETRATOR),
        ("다온금속 속인 일당", "사기 피해를 입은 다온금속은 고소장을 냈다.", EntityRole.VICTIM),
        ("특허 다툼", "다온금속은 가나전자를 상대로 특허 침해 소송을 제기했다.", EntityRole.VICTIM),
        ("Hack", "Daon Metal was hacked last week.", EntityRole.VICTIM),
        ("다온금속 신제품", "다온금속은 새 제품을 내놓았다.", EntityRole.SUBJECT),
        ("업계 소식", "업계가 어렵다. 다온금속을 비롯한 여러 곳이 쉰다.", EntityRole.MENTIONED),
    ],
)
def test_part_in_the_story_is_seen(title: str, text: str, role: EntityRole) -> None:
    assert find_role(title, text, match_company(title, text, DAON).mentions) is role


def _judge(title: str, text: str) -> str | MatchBasis:
    judged = judge_hit(
        url="https://a.example/1",
        title=title,
        text=text,
        source=None,
        source_type=SourceType.NEWS,
        company=DAON,
    )
    return judged.drop_reason or judged.basis


def test_industry_news_without_the_company_is_kept_only_for_its_industry() -> None:
    assert _judge("철강 수요 급감", "철강 업황 악화가 길어진다.") is MatchBasis.INDUSTRY_CODE
    assert _judge("건설 수요 급감", "미분양이 쌓여 건설 업황이 악화됐다.") == "NOT_RELATED"
    assert _judge("다온금속화학 부도", "다온금속화학이 부도를 냈다.") == "OTHER_COMPANY"
    assert (
        _judge("다온금속 부도", "제빵 업체 다온금속(대표 구본무, 사업자등록번호 123-45-67890) 부도")
        == "NAMESAKE"
    )


def test_same_page_has_one_address() -> None:
    assert canonical_url("https://www.a.example/x/?utm_source=b&id=1#top") == canonical_url(
        "https://a.example/x?id=1"
    )
