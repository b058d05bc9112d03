"""F-* and O-*: each on both sides of its threshold, and silent where an input is missing."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from rkyc.steps.kyc.rules.catalogue import RULES
from rkyc.steps.kyc.rules.derive import is_grounded
from rkyc.steps.kyc.rules.evaluate import evaluate
from rkyc.steps.kyc.schemas import RiskSignalDraft

AS_OF = date(2025, 3, 31)


def make_doc(currency: str = "KRW", **years: dict[str, Any]) -> dict[str, Any]:
    return {"statements": years, "currencies": dict.fromkeys(years, currency), "corp": {"name": "가나"}}


def find(doc: dict[str, Any], rule_id: str) -> RiskSignalDraft | None:
    drafts = [draft for draft in evaluate(doc, None, AS_OF) if draft.rule_id == rule_id]
    assert len(drafts) <= 1
    return drafts[0] if drafts else None


def strength(draft: RiskSignalDraft | None) -> tuple[str, int] | None:
    return None if draft is None else (str(draft.strength), draft.severity)


@pytest.mark.parametrize(
    ("liabilities", "equity", "expected"),
    [
        (200, 100, None),
        (201, 100, ("MED", 3)),
        (300, 100, ("MED", 3)),
        (301, 100, ("HIGH", 4)),
        (10, 1, ("HIGH", 4)),
        (10, 0, ("HIGH", 5)),
        (10, -5, ("HIGH", 5)),
    ],
)
def test_debt_ratio_bands(liabilities: int, equity: int, expected: tuple[str, int] | None) -> None:
    doc = make_doc(FY2024={"liabilities": liabilities, "equity": equity})
    assert strength(find(doc, "F-DEBT")) == expected


@pytest.mark.parametrize(("liabilities", "expected"), [(149, None), (150, ("HIGH", 4))])
def test_debt_ratio_rise_of_fifty_points(liabilities: int, expected: tuple[str, int] | None) -> None:
    doc = make_doc(
        FY2023={"liabilities": 100, "equity": 100}, FY2024={"liabilities": liabilities, "equity": 100}
    )
    draft = find(doc, "F-DEBT")
    assert strength(draft) == expected
    if draft is not None:
        assert [item.ref for item in draft.evidence] == [
            "/statements/FY2024/liabilities",
            "/statements/FY2024/equity",
            "/statements/FY2023/liabilities",
            "/statements/FY2023/equity",
        ]


def test_debt_rise_needs_the_year_just_before() -> None:
    doc = make_doc(FY2022={"liabilities": 10, "equity": 100}, FY2024={"liabilities": 190, "equity": 100})
    assert find(doc, "F-DEBT") is None


@pytest.mark.parametrize(
    ("assets", "expected"), [(120, None), (119, ("MED", 3)), (100, ("MED", 3)), (99, ("HIGH", 4))]
)
def test_current_ratio_bands(assets: int, expected: tuple[str, int] | None) -> None:
    doc = make_doc(FY2024={"current_assets": assets, "current_liabilities": 100})
    assert strength(find(doc, "F-LIQ")) == expected


@pytest.mark.parametrize("concept", ["interest_expense", "net_interest_expense"])
@pytest.mark.parametrize(("income", "expected"), [(150, None), (149, ("HIGH", 4)), (-1, ("HIGH", 4))])
def test_interest_cover_below_one_and_a_half(
    concept: str, income: int, expected: tuple[str, int] | None
) -> None:
    doc = make_doc(FY2024={"operating_income": income, concept: 100})
    assert strength(find(doc, "F-COVER")) == expected


@pytest.mark.parametrize(
    ("incomes", "expected"),
    [((99, 99, 99), ("HIGH", 5)), ((100, 99, 99), ("HIGH", 4)), ((99, 99, 100), ("HIGH", 4))],
)
def test_interest_cover_below_one_for_three_years(
    incomes: tuple[int, int, int], expected: tuple[str, int]
) -> None:
    years = {
        f"FY{2024 - back}": {"operating_income": income, "interest_expense": 100}
        for back, income in enumerate(incomes)
    }
    assert strength(find(make_doc(**years), "F-COVER")) == expected


@pytest.mark.parametrize("interest", [0, -20])
def test_no_interest_due_means_no_cover_is_told(interest: int) -> None:
    assert find(make_doc(FY2024={"operating_income": -50, "interest_expense": interest}), "F-COVER") is None


@pytest.mark.parametrize(
    ("incomes", "probability"),
    [((0, -1, -1), None), ((-1, 5, -1), "MED"), ((-1, -1, 0), "MED"), ((-1, -1, -1), "HIGH")],
)
def test_loss_and_three_losses_running(incomes: tuple[int, int, int], probability: str | None) -> None:
    doc = make_doc(**{f"FY{2024 - back}": {"net_income": income} for back, income in enumerate(incomes)})
    draft = find(doc, "F-LOSS")
    assert (None if draft is None else str(draft.probability)) == probability


@pytest.mark.parametrize(
    ("revenue", "rule_id", "expected"),
    [
        (901, "F-REV", None),
        (900, "F-REV", ("MED", 3)),
        (801, "F-REV", ("MED", 3)),
        (800, "F-REV", ("HIGH", 4)),
        (1099, "O-REV", None),
        (1100, "O-REV", ("MED", 3)),
        (1199, "O-REV", ("MED", 3)),
        (1200, "O-REV", ("HIGH", 4)),
    ],
)
def test_revenue_change_bands(revenue: int, rule_id: str, expected: tuple[str, int] | None) -> None:
    doc = make_doc(FY2023={"revenue": 1000}, FY2024={"revenue": revenue})
    assert strength(find(doc, rule_id)) == expected


@pytest.mark.parametrize(
    ("before", "now", "fires"),
    [(1000, 701, False), (1000, 700, True), (-100, -129, False), (-100, -130, True), (0, -500, False)],
)
def test_operating_income_falls_by_thirty_percent(before: int, now: int, fires: bool) -> None:
    doc = make_doc(FY2023={"operating_income": before}, FY2024={"operating_income": now})
    assert (find(doc, "F-OP") is not None) is fires


@pytest.mark.parametrize(
    ("before", "now", "fires"), [(1000, 1299, False), (1000, 1300, True), (-100, -10, False), (-100, 5, True)]
)
def test_operating_income_rises_by_thirty_percent(before: int, now: int, fires: bool) -> None:
    doc = make_doc(FY2023={"operating_income": before}, FY2024={"operating_income": now})
    assert (find(doc, "O-OP") is not None) is fires


@pytest.mark.parametrize(
    ("equity", "expected"),
    [(100, None), (99, ("MED", 3)), (1, ("MED", 3)), (0, ("HIGH", 5)), (-1, ("HIGH", 5))],
)
def test_capital_impairment_in_part_and_whole(equity: int, expected: tuple[str, int] | None) -> None:
    doc = make_doc(FY2024={"equity": equity, "paid_in_capital": 100})
    assert strength(find(doc, "F-IMPAIR")) == expected


def test_change_over_two_years_is_not_told_as_one() -> None:
    doc = make_doc(
        FY2022={"revenue": 1000, "operating_income": 500}, FY2024={"revenue": 100, "operating_income": 1}
    )
    assert evaluate(doc, None, AS_OF) == []


def test_change_between_currencies_is_not_told() -> None:
    doc = make_doc(FY2023={"revenue": 1000}, FY2024={"revenue": 100})
    doc["currencies"]["FY2023"] = "USD"
    assert evaluate(doc, None, AS_OF) == []


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"liabilities": 900},
        {"equity": 10},
        {"current_assets": 1},
        {"current_liabilities": 9},
        {"operating_income": -9},
    ],
)
def test_missing_inputs_are_never_guessed(figures: dict[str, int]) -> None:
    assert evaluate(make_doc(FY2024=figures), None, AS_OF) == []


def test_quarters_are_no_years() -> None:
    doc = make_doc(**{"2024Q4": {"liabilities": 900, "equity": 10, "net_income": -5}})
    assert evaluate(doc, None, AS_OF) == []


def carbo_fy2017() -> dict[str, Any]:
    """Figures of the annual report for 2017 of CARBO Ceramics, as filed."""
    return make_doc(
        "USD",
        FY2015={"operating_income": -163232000, "net_interest_expense": 470000, "net_income": -109544000},
        FY2016={
            "operating_income": -125902000,
            "net_interest_expense": 5435000,
            "net_income": -80127000,
            "revenue": 103051000,
            "liabilities": 106887000,
            "equity": 616570000,
        },
        FY2017={
            "operating_income": -248383000,
            "net_interest_expense": 7700000,
            "net_income": -253116000,
            "revenue": 188756000,
            "liabilities": 134833000,
            "equity": 405765000,
            "current_assets": 195797000,
            "current_liabilities": 42431000,
            "paid_in_capital": 271000,
        },
    )


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_carbo_2017_losses_fire_and_balance_sheet_does_not(lang: Any) -> None:
    doc = carbo_fy2017()
    drafts = {draft.rule_id: draft for draft in evaluate(doc, None, date(2018, 3, 1), lang)}
    assert set(drafts) == {"F-LOSS", "F-COVER", "F-OP", "O-REV"}
    assert drafts["F-COVER"].severity == 5
    assert "+83.2%" in drafts["O-REV"].summary
    for draft in drafts.values():
        assert all(is_grounded(figure, doc, None, AS_OF) for figure in draft.derived)


def test_evidence_quotes_the_value_at_its_pointer() -> None:
    doc = make_doc(FY2024={"liabilities": 57000000000, "equity": "13800000000.5"})
    doc["sources"] = {"/statements/FY2024/liabilities": "statements.csv:38"}
    draft = find(doc, "F-DEBT")
    assert draft is not None
    assert [(item.ref, item.quote, item.source_file) for item in draft.evidence] == [
        ("/statements/FY2024/liabilities", "57000000000", "statements.csv"),
        ("/statements/FY2024/equity", "13800000000.5", None),
    ]
    assert draft.title == "부채비율 매우 높음: 413%"


def test_amounts_of_absurd_size_are_shown_exactly_or_cut_between_words() -> None:
    doc = make_doc(FY2024={"liabilities": "9" * 60, "equity": "1" + "0" * 57})
    draft = find(doc, "F-DEBT")
    assert draft is not None
    assert len(draft.summary) <= 200
    assert f"{int('9' * 60):,}" in draft.summary


def test_every_rule_of_the_catalogue_is_named_once() -> None:
    assert len(RULES) == len({rule.rule_id for rule in RULES.values()})
    assert all(rule.bands for rule in RULES.values())
