from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.steps.kyc.grounding import find_ungrounded
from rkyc.steps.kyc.numbers import find_quantities


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("74억원", "7400000000", "KRW"),
        ("7.4 billion won", "7400000000", "KRW"),
        ("7,400,000,000원", "7400000000", "KRW"),
        ("9천만원", "90000000", "KRW"),
        ("1조 2,345억 6천만 원", "1234560000000", "KRW"),
        ("4천5백억원", "450000000000", "KRW"),
        ("1만2천명", "12000", ""),
        ("$210.7 million", "210700000", "USD"),
        ("387.2%", "387.2", "%"),
        ("53%포인트", "53", "%p"),
        ("2.5배", "2.5", "x"),
        ("38일", "38", "day"),
        ("6 months", "6", "month"),
    ],
)
def test_number_is_read_with_scale_and_unit(text: str, value: str, unit: str) -> None:
    (quantity,) = find_quantities(text)
    assert (quantity.value, quantity.unit) == (Decimal(value), unit)


@pytest.mark.parametrize(
    ("claim", "sources", "missing"),
    [
        ("74억원 소송", ["청구금액: 7,400,000,000원"], []),
        ("부채비율 387%", ["387.2%"], []),
        ("부채비율 388%", ["387.2%"], ["388%"]),
        ("매출 23% 감소", ["매출이 23억원 감소"], ["23%"]),
        ("약 1조원", ["1조 4천억원"], ["1조원"]),
        ("손실 85억원", ["85"], ["85억원"]),
        ("이자 38일 연체", ["/credit/loan_summary/overdue_days", "38"], []),
        ("수자 없는 문장", [], []),
        ("2019년 매출", ["/statements/FY2019/revenue"], []),
    ],
)
def test_numbers_are_held_against_their_sources(claim: str, sources: list[str], missing: list[str]) -> None:
    assert find_ungrounded(claim, sources) == missing


def test_recomputed_figure_counts_where_it_stands() -> None:
    assert find_ungrounded("부채비율 387.2%로 상승", [], derived=["387.2%"]) == []
    assert find_ungrounded("부채비율 388.2%로 상승", [], derived=["387.2%"]) == ["388.2%"]


@given(st.integers(1, 10**13), st.sampled_from(["원", " won", "%", "명", ""]))
def test_what_a_source_says_word_for_word_is_grounded(value: int, unit: str) -> None:
    text = f"값은 {value:,}{unit} 이다"
    assert find_ungrounded(text, [text]) == []


@given(st.text(max_size=60))
def test_any_text_is_read_without_failing(text: str) -> None:
    for quantity in find_quantities(text):
        assert 0 <= quantity.start < quantity.end <= len(text)
