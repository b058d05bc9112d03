from __future__ import annotations

from typing import Any

import pytest

from rkyc.steps.kyc.insight_text import (
    Gone,
    Looked,
    Reported,
    check_sections,
    choose_stance,
    write_template,
)
from rkyc.steps.kyc.schemas import Section, Sentence
from rkyc.steps.kyc.vocabulary import ChangeKind
from tests.support.kyc import make_draft

LOOKED = Looked(
    periods=("FY2022", "FY2023", "FY2024"),
    papers=("doc:documents/audit.pdf:1",),
    events=("url:https://news.example/1",),
    has_previous=True,
)


def reported(signal_id: int = 1, *, below_cut: bool = False, **changes: Any) -> Reported:
    return Reported(signal_id, make_draft(**changes), ChangeKind.NEW, below_cut)


@pytest.mark.parametrize(
    ("signals", "stance"),
    [
        ([], "STABLE"),
        ([{"direction": "OPPORTUNITY"}], "POSITIVE"),
        ([{"severity": 3}], "MONITORING"),
        ([{"severity": 5, "confidence": "LOW"}], "MONITORING"),
        ([{"severity": 4}], "CAUTION"),
    ],
)
def test_stance_follows_the_gravest_sound_risk(signals: list[dict[str, Any]], stance: str) -> None:
    assert choose_stance([reported(**changes) for changes in signals]) == stance


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_template_cites_every_risk_signal_and_all_it_looked_at(lang: Any) -> None:
    signals = [reported(1), reported(2, direction="OPPORTUNITY"), reported(3, below_cut=True)]
    insight = write_template("다온금속", signals, LOOKED, lang)
    sections, refused = check_sections(insight.sections, signals, LOOKED)
    assert (insight.coverage, insight.quality_score, refused) == (1.0, 100.0, 0)
    assert sum(len(section.sentences) for section in sections) == sum(
        len(section.sentences) for section in insight.sections
    )


def test_first_run_has_nothing_to_compare_with() -> None:
    titles = [section.title for section in write_template("다온금속", [reported(1)], LOOKED, "ko").sections]
    assert "이전 분석과의 차이" not in titles


def test_later_run_tells_what_changed_and_what_is_gone() -> None:
    same = Reported(1, make_draft(title="소송"), ChangeKind.UNCHANGED, below_cut=False)
    insight = write_template("다온금속", [same, reported(2)], LOOKED, "ko", [Gone(3, "연체 38일")])
    (section,) = [each for each in insight.sections if each.title == "이전 분석과의 차이"]
    assert [each.citations for each in section.sentences] == [["signal:2"], ["signal:1"], ["signal:3"]]
    assert section.sentences[-1].text == "더 이상 나타나지 않는 신호: 연체 38일"


def test_calm_company_is_told_what_was_looked_at() -> None:
    insight = write_template("다온금속", [], LOOKED, "ko")
    cited = [
        citation for section in insight.sections for each in section.sentences for citation in each.citations
    ]
    assert (insight.stance, insight.coverage) == ("STABLE", 1.0)
    assert set(cited) <= LOOKED.citations
    assert "발견되지 않음" in insight.sections[-1].sentences[-1].text


def test_nothing_looked_at_lowers_the_quality() -> None:
    assert write_template("다온금속", [], Looked(), "ko").quality_score == 75.0


@pytest.mark.parametrize(
    ("text", "citation", "kept"),
    [
        ("소송이 제기된 것으로 나타남", "signal:1", True),
        ("소송이 제기된 것으로 나타남", "signal:2", False),
        ("FY2024 재무제표를 점검함", "snapshot:/statements/FY2024", True),
        ("FY2025 재무제표를 점검함", "snapshot:/statements/FY2025", False),
        ("보도를 확인함", "url:https://made-up.example/", False),
        ("손실이 12억원임", "signal:1", False),
    ],
)
def test_sentence_needs_a_real_citation_and_its_own_numbers(text: str, citation: str, kept: bool) -> None:
    section = Section(title="요약", sentences=[Sentence(text=text, citations=[citation])])
    sections, refused = check_sections([section], [reported(1)], LOOKED)
    assert (bool(sections), refused) == (kept, 0 if kept else 1)


def test_certain_words_of_a_model_are_hedged() -> None:
    section = Section(title="요약", sentences=[Sentence(text="반드시 패소한다", citations=["signal:1"])])
    (kept,), _ = check_sections([section], [reported(1)], LOOKED)
    assert kept.sentences[0].text == "패소한다"
