"""Names of accounts and what they mean."""

from __future__ import annotations

import unicodedata

import pytest

from rkyc.providers.documents.concepts import CANONICAL, US_GAAP, Concept, Sign, find_concept


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("매출액", "revenue"),
        ("매출원가", "cost_of_sales"),
        ("영업이익(손실)", "operating_income"),
        ("이자비용", "interest_expense"),
        ("당기순이익(손실)", "net_income"),
        ("자산총계", "assets"),
        ("유동자산", "current_assets"),
        ("현금및현금성자산", "cash"),
        ("매출채권", "receivables"),
        ("재고자산", "inventories"),
        ("부채총계", "liabilities"),
        ("유동부채", "current_liabilities"),
        ("차입금", "borrowings"),
        ("자본총계", "equity"),
        ("자본금", "paid_in_capital"),
        ("이익잉여금(결손금)", "retained_earnings"),
        ("영업활동현금흐름", "operating_cash_flow"),
        ("영업이익", "operating_income"),
        ("영업이익 (손실)", "operating_income"),
        ("현금 및 현금성자산", "cash"),
        ("Ⅰ. 매출액", "revenue"),
        ("1) 매출액", "revenue"),
        ("매출액（）", None),
        ("당기순이익（손실）", "net_income"),
        ("Revenues", "revenue"),
        ("us-gaap:SalesRevenueNet", "revenue"),
        ("US-GAAP_Liabilities", "liabilities"),
        ("operatingincomeloss", "operating_income"),
        ("Operating Income", "operating_income"),
        ("단기차입금", None),
        ("EBITDA", None),
        ("", None),
    ],
)
def test_names_map(name: str, concept: str | None) -> None:
    for spelling in (name, unicodedata.normalize("NFD", name), f" {name}\u3000"):
        found = find_concept(spelling)
        assert (found.name if found else None) == concept


def test_every_canonical_name_is_itself() -> None:
    assert [find_concept(name) for name in CANONICAL] == [Concept(name) for name in CANONICAL]
    assert set(US_GAAP) == set(CANONICAL)


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("영업손실", Concept("operating_income", Sign.LOSS)),
        ("당기순손실", Concept("net_income", Sign.LOSS)),
        ("결손금", Concept("retained_earnings", Sign.LOSS)),
        ("InterestIncomeExpenseNet", Concept("net_interest_expense", Sign.REVERSED)),
    ],
)
def test_names_with_their_own_sign(name: str, concept: Concept) -> None:
    assert find_concept(name) == concept
