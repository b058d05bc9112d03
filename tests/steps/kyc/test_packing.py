from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.packing import (
    Part,
    estimate_tokens,
    list_event_parts,
    list_fact_parts,
    list_passage_parts,
    pack,
)
from rkyc.steps.kyc.prompts import fence
from rkyc.steps.kyc.rules.documents import PageView
from rkyc.steps.kyc.rules.events import EventView
from rkyc.steps.kyc.vocabulary import EntityRole, MatchBasis, SourceGrade

DOC = {
    "corp": {"name": "다온금속", "ceo_name": "남도일"},
    "statements": {"FY2023": {"revenue": 10}, "FY2024": {"revenue": 7}},
    "loan": [{"balance_krw": 5}],
    "sources": {"/statements/FY2024/revenue": "statements.csv:3"},
}


def part(ref: str, tokens: int, worth: float) -> Part:
    return Part(ref, "URL", "PUBLIC", "text", tokens, worth)


def test_worth_goes_first_and_a_part_fits_whole_or_stays_out() -> None:
    parts = [part("a", 60, 1), part("b", 50, 3), part("c", 40, 2), part("d", 10, 0)]
    chosen, is_truncated = pack(parts, 100)
    assert [each.ref for each in chosen] == ["b", "c", "d"]
    assert is_truncated


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), max_size=40))
def test_budget_is_never_passed(sizes: list[tuple[int, float]]) -> None:
    parts = [part(str(n), tokens, worth) for n, (tokens, worth) in enumerate(sizes)]
    chosen, is_truncated = pack(parts)
    assert sum(each.tokens for each in chosen) <= 8000
    assert is_truncated == (len(chosen) < len(parts))


def test_facts_carry_pointers_and_their_own_class() -> None:
    parts = list_fact_parts(DOC, ["/loan/0/balance_krw"], DataClass.PUBLIC, is_listed=False)
    by_line = {line: each for each in parts for line in each.text.splitlines()}
    assert by_line["/statements/FY2024/revenue = 7"].data_class == "PUBLIC"
    assert by_line["/corp/name = 다온금속"].data_class == "PUBLIC"
    assert by_line["/corp/ceo_name = 남도일"].data_class == "INTERNAL"
    loan = by_line["/loan/0/balance_krw = 5"]
    assert (loan.data_class, loan.worth) == ("INTERNAL", max(each.worth for each in parts))
    assert not any("statements.csv" in line for line in by_line)


def test_statements_of_an_unlisted_company_are_internal() -> None:
    parts = list_fact_parts(DOC, [], DataClass.INTERNAL, is_listed=False)
    assert {each.data_class for each in parts if each.ref.startswith("/statements")} == {"INTERNAL"}


@given(
    st.lists(
        st.sampled_from(["한 문장이 여기에 있다. ", "Another sentence stands here.\r\n", "🙂 끝. "]),
        max_size=200,
    )
)
def test_passages_are_pieces_of_their_page(sentences: list[str]) -> None:
    page = PageView("documents/a.txt", 1, "".join(sentences))
    for each in list_passage_parts([page]):
        assert each.text in page.text
        assert each.tokens == estimate_tokens(f"{each.ref}\n{each.text}")


def test_doubtful_passage_is_worth_more_than_an_idle_one() -> None:
    idle = PageView("documents/a.txt", 1, "회사는 올해도 공장을 돌렸다.")
    doubt = PageView("documents/b.txt", 1, "계속기업으로서의 존속능력에 유의적 의문이 있다.")
    parts = sorted(list_passage_parts([idle, doubt]), key=lambda each: -each.worth)
    assert [each.ref for each in parts] == ["documents/b.txt:1", "documents/a.txt:1"]


def event(url: str, *, score: float = 0.9, grade: SourceGrade = SourceGrade.B, cluster: int = 0) -> EventView:
    return EventView(url, "제목", "본문이다.", grade, cluster, score, MatchBasis.NAME, EntityRole.SUBJECT)


def test_story_is_one_part_from_its_best_source_and_an_uncertain_one_none() -> None:
    events = [
        event("https://c.example/", grade=SourceGrade.C),
        event("https://a.example/", grade=SourceGrade.A),
        event("https://u.example/", score=0.6, cluster=1),
    ]
    assert [each.ref for each in list_event_parts(events)] == ["https://a.example/"]


@given(st.lists(st.text(max_size=50), max_size=5))
def test_fence_holds_its_texts_apart(blocks: list[str]) -> None:
    mark, body = fence(blocks)
    assert not any(mark in block for block in blocks)
    assert body.count(f"<<<{mark}") == body.count(f"{mark}>>>") == len(blocks)
