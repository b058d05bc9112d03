"""D-*, O-GRADE and G-*: each on both sides of its threshold, and silent where an input is missing."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest

from rkyc.steps.kyc.rules.derive import is_grounded
from rkyc.steps.kyc.rules.evaluate import evaluate
from rkyc.steps.kyc.schemas import RiskSignalDraft

AS_OF = date(2025, 3, 31)
MONTHS = ["2024-09", "2024-10", "2024-11", "2024-12", "2025-01", "2025-02"]


def find(doc: dict[str, Any], rule_id: str, previous: dict[str, Any] | None = None) -> RiskSignalDraft | None:
    for lang in ("ko", "en"):
        drafts = [draft for draft in evaluate(doc, previous, AS_OF, lang) if draft.rule_id == rule_id]
        assert len(drafts) <= 1
        for draft in drafts:
            assert all(is_grounded(figure, doc, previous, AS_OF) for figure in draft.derived)
            assert all(figure.text in draft.title + draft.summary for figure in draft.derived)
    return drafts[0] if drafts else None


def level(draft: RiskSignalDraft | None) -> str | None:
    return None if draft is None else str(draft.strength)


def loans(**summary: Any) -> dict[str, Any]:
    return {"credit": {"loan_summary": summary}}


@pytest.mark.parametrize(("days", "expected"), [(29, None), (30, "HIGH")])
def test_overdue_from_thirty_days(days: int, expected: str | None) -> None:
    assert level(find(loans(overdue_days=days, overdue_flag=True), "D-OVERDUE")) == expected


def test_overdue_flag_newly_set() -> None:
    now = loans(overdue_flag=True, overdue_days=3)
    assert find(now, "D-OVERDUE") is None
    assert find(now, "D-OVERDUE", loans(overdue_flag=True)) is None
    assert level(find(now, "D-OVERDUE", loans(overdue_flag=False))) == "HIGH"


@pytest.mark.parametrize(
    ("now", "rule_id", "expected"),
    [
        ("BBB", "D-GRADE", None),
        ("BBB-", "D-GRADE", "MED"),
        ("BB+", "D-GRADE", "HIGH"),
        ("BBB+", "O-GRADE", "MED"),
        ("A-", "O-GRADE", "HIGH"),
        ("BBB", "O-GRADE", None),
        ("unrated", "D-GRADE", None),
    ],
)
def test_grade_moves_by_notches(now: str, rule_id: str, expected: str | None) -> None:
    assert level(find(loans(internal_grade=now), rule_id, loans(internal_grade="BBB"))) == expected


@pytest.mark.parametrize(
    ("now", "expected"), [(109, None), (110, "MED"), (129, "MED"), (130, "HIGH"), (50, None)]
)
def test_exposure_grows(now: int, expected: str | None) -> None:
    before = loans(total_exposure_krw=100)
    assert level(find(loans(total_exposure_krw=now), "D-EXPOSURE", before)) == expected
    assert find(loans(total_exposure_krw=now), "D-EXPOSURE") is None


@pytest.mark.parametrize(("secured", "expected"), [(70, None), (71, "MED"), (80, "MED"), (81, "HIGH")])
def test_loan_to_value_bands(secured: int, expected: str | None) -> None:
    doc = {"collateral": {"total_value_krw": 100, "secured_exposure_krw": secured}}
    assert level(find(doc, "D-COLLATERAL")) == expected


@pytest.mark.parametrize(("value", "expected"), [(91, None), (90, "MED")])
def test_collateral_value_falls(value: int, expected: str | None) -> None:
    before = {"collateral": {"total_value_krw": 100}}
    assert level(find({"collateral": {"total_value_krw": value}}, "D-COLLATERAL", before)) == expected


@pytest.mark.parametrize(("day", "expected"), [("2024-03-31", None), ("2024-03-30", "MED")])
def test_appraisal_and_kyc_review_older_than_365_days(day: str, expected: str | None) -> None:
    appraised = {"collateral": {"items": [{"appraised_at": "2025-01-01"}, {"appraised_at": day}]}}
    assert level(find(appraised, "D-COLLATERAL")) == expected
    assert level(find({"kyc_status": {"last_updated": day}}, "D-KYC")) == expected


@pytest.mark.parametrize(("balance", "expected"), [(50, None), (51, "LOW")])
def test_unsecured_share_above_half(balance: int, expected: str | None) -> None:
    doc = loans(total_exposure_krw=100)
    doc["loan"] = [{"balance_krw": balance, "secured": False}, {"balance_krw": 10, "secured": True}]
    assert level(find(doc, "D-UNSECURED")) == expected


@pytest.mark.parametrize(("balance", "expected"), [(30, None), (31, "MED")])
def test_foreign_currency_share_above_thirty_percent(balance: int, expected: str | None) -> None:
    doc = loans(total_exposure_krw=100)
    doc["loan"] = [{"balance_krw": balance, "currency": "USD"}, {"balance_krw": 10, "currency": "KRW"}]
    assert level(find(doc, "D-FX")) == expected


def test_loans_of_unknown_kind_make_no_share() -> None:
    doc = loans(total_exposure_krw=100)
    doc["loan"] = [{"balance_krw": 90}]
    assert evaluate(doc, None, AS_OF) == []


def deposits(*balances: int) -> dict[str, Any]:
    months = MONTHS[-len(balances) :]
    rows = [
        {"month": month, "average_balance_krw": balance}
        for month, balance in zip(months, balances, strict=True)
    ]
    return {"deposit": rows}


@pytest.mark.parametrize(
    ("balances", "expected"),
    [
        # A newest month of exactly 70 % of the mean is not below it.
        ((106, 106, 106, 106, 106, 70), None),
        ((110, 110, 110, 110, 110, 68), "MED"),
        ((100, 100, 100, 99, 98, 97), "MED"),
        ((100, 100, 99, 99, 98, 97), None),
        ((100, 99, 98), None),
    ],
)
def test_deposits_low_or_falling(balances: tuple[int, ...], expected: str | None) -> None:
    assert level(find(deposits(*balances), "D-DEPOSIT")) == expected


def test_months_out_of_order_or_with_gaps_make_no_trend() -> None:
    doc = deposits(100, 100, 100, 99, 98, 97)
    for broken in (list(reversed(doc["deposit"])), doc["deposit"][:4] + doc["deposit"][5:]):
        assert find({"deposit": broken}, "D-DEPOSIT") is None


def cards(*spends: int, **newest: int) -> dict[str, Any]:
    months = MONTHS[-len(spends) :]
    rows: list[dict[str, Any]] = [
        {"month": month, "spend_krw": spend} for month, spend in zip(months, spends, strict=True)
    ]
    rows[-1] |= newest
    return {"card": rows}


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        (cards(100, 100, 100, 200), None),
        (cards(100, 100, 100, 201), "MED"),
        (cards(100, 100, 201), None),
        (cards(90, limit_krw=100), None),
        (cards(91, limit_krw=100), "MED"),
        (cards(100, entertainment_krw=30), None),
        (cards(100, entertainment_krw=31), "MED"),
    ],
)
def test_card_use(doc: dict[str, Any], expected: str | None) -> None:
    assert level(find(doc, "D-CARD")) == expected


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        ({"receivable_overdue_krw": 0}, None),
        ({"receivable_overdue_krw": 1}, "HIGH"),
        ({"collection_days": 90}, None),
        ({"collection_days": 91}, "MED"),
        ({"usance_used_krw": 90, "usance_limit_krw": 100}, None),
        ({"usance_used_krw": 91, "usance_limit_krw": 100}, "MED"),
        ({"hedged_krw": 30, "fx_exposure_krw": 100}, None),
        ({"hedged_krw": 29, "fx_exposure_krw": 100}, "HIGH"),
        ({"hedged_krw": 0, "fx_exposure_krw": 0}, None),
        ({"top_country_pct": 50, "top_country": "US"}, None),
        ({"top_country_pct": "50.1", "top_country": "US"}, "MED"),
    ],
)
def test_trade_conditions_of_the_newest_month(newest: dict[str, Any], expected: str | None) -> None:
    doc = {"trade": [{"month": "2025-01", "receivable_overdue_krw": 9}, {"month": "2025-02", **newest}]}
    assert level(find(doc, "D-TRADE")) == expected


def test_one_trade_signal_of_the_gravest_kind() -> None:
    doc = {"trade": [{"month": "2025-02", "collection_days": 100, "receivable_overdue_krw": 7}]}
    draft = find(doc, "D-TRADE")
    assert draft is not None
    assert [item.ref for item in draft.evidence] == ["/trade/0/receivable_overdue_krw"]


@pytest.mark.parametrize(
    ("pointer", "rule_id"), [(("corp", "ceo_name"), "G-CEO"), (("kyc_status", "largest_holder"), "G-OWNER")]
)
def test_names_that_differ_from_the_earlier_snapshot(pointer: tuple[str, str], rule_id: str) -> None:
    def named(name: str) -> dict[str, Any]:
        part, field = pointer
        return {part: {field: name if field == "ceo_name" else {"name": name}}}

    assert find(named("서도윤"), rule_id) is None
    assert find(named("서 도윤"), rule_id, named("서도윤")) is None
    assert level(find(named("서도윤"), rule_id, named("한기범"))) == "MED"
    assert find({}, rule_id, named("한기범")) is None


def test_largest_holder_of_the_company_file() -> None:
    def held(*shares: tuple[str, int]) -> dict[str, Any]:
        return {"corp": {"shareholders": [{"name": name, "share_pct": share} for name, share in shares]}}

    before = held(("가", 60), ("나", 40))
    assert find(held(("나", 40), ("가", 60)), "G-OWNER", before) is None
    assert find(held(("가", 50), ("나", 50)), "G-OWNER", before) is None
    draft = find(held(("가", 45), ("나", 55)), "G-OWNER", before)
    assert draft is not None
    assert draft.evidence[0].ref == "/corp/shareholders/1/name"


def test_evaluation_changes_nothing_and_repeats() -> None:
    doc = deposits(100, 100, 100, 99, 98, 97) | cards(91, limit_krw=100)
    kept = copy.deepcopy(doc)
    assert evaluate(doc, None, AS_OF) == evaluate(doc, None, AS_OF)
    assert doc == kept


@pytest.mark.parametrize(
    "doc",
    [
        {"loan": "x", "deposit": [1], "card": [None], "trade": [{}], "credit": {"loan_summary": None}},
        {"collateral": {"items": [{}], "total_value_krw": 0, "secured_exposure_krw": 5}},
        {"kyc_status": {"last_updated": "not a day"}},
        {},
    ],
)
def test_wrong_shapes_are_read_as_missing(doc: dict[str, Any]) -> None:
    assert evaluate(doc, doc, AS_OF) == []
