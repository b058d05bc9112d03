"""Snapshot pointers and their values in a banker's words."""

from __future__ import annotations

from typing import Any

import pytest

from rkyc.report.labels import Labels
from rkyc.report.places import Shown, name_place, show_value
from rkyc.report.words import WORDS
from rkyc.steps.kyc.bank_input import BankIn

KO, EN = Labels("ko"), Labels("en")
SNAPSHOT: dict[str, Any] = {
    "deposit": [{"month": "2025-02"}, {"month": "2025-03"}],
    "currencies": {"FY2024": "KRW"},
}


@pytest.mark.parametrize(
    ("pointer", "korean", "english"),
    [
        ("/statements/FY2024/liabilities", "FY2024 부채총계", "FY2024 Liabilities"),
        ("/statements/FY2024", "재무제표 FY2024", "Statements FY2024"),
        ("/corp", "회사 정보", "Company record"),
        ("/corp/ceo_name", "대표이사", "CEO"),
        ("/corp/shareholders/0/name", "주주 1번째 이름", "Shareholder no. 1 name"),
        ("/credit/loan_summary/overdue_days", "연체일수", "Days overdue"),
        ("/deposit/1/average_balance_krw", "예금 2025-03 평균잔액", "Deposits 2025-03 average balance"),
        ("/kyc_status/largest_holder/name", "최대주주", "Largest holder"),
        (
            "previous:/credit/loan_summary/total_exposure_krw",
            "직전 자료의 총여신",
            "Total exposure in the earlier snapshot",
        ),
        ("previous:/deposit/1/average_balance_krw", "직전 자료의 예금 2번째 평균잔액", None),
        ("as_of", "분석 기준일", "the day of the analysis"),
    ],
)
def test_pointer_has_a_name_in_words(pointer: str, korean: str, english: str | None) -> None:
    assert name_place(pointer, SNAPSHOT, KO) == korean
    assert english is None or name_place(pointer, SNAPSHOT, EN) == english


@pytest.mark.parametrize("pointer", ["/x/y", "", "/", "/statements/FY2024/unheard_of", "/credit/<b>", "//"])
def test_unknown_pointer_has_none(pointer: str) -> None:
    assert name_place(pointer, SNAPSHOT, KO) is None


@pytest.mark.parametrize(
    ("pointer", "text", "shown"),
    [
        ("/credit/loan_summary/overdue_days", "38", Shown("38일")),
        ("/credit/loan_summary/overdue_flag", "true", Shown("예", "true")),
        ("/credit/loan_summary/overdue_amount_krw", "640000000", Shown("640,000,000원", "6.4억원")),
        ("/trade/5/top_country_pct", "58.0", Shown("58.0%")),
        ("/statements/FY2024/equity", "13800000000", Shown("13,800,000,000원", "138억원")),
        ("/statements/FY1999/equity", "13800000000", Shown("13,800,000,000")),
        ("/kyc_status/last_updated", "2024-01-15", Shown("2024-01-15")),
        ("/corp/ceo_name", "서도윤", Shown("서도윤")),
    ],
)
def test_value_has_the_unit_of_its_place(pointer: str, text: str, shown: Shown) -> None:
    assert show_value(pointer, text, SNAPSHOT, KO) == shown


def test_every_amount_of_the_bank_s_records_has_a_name() -> None:
    def list_fields(schema: dict[str, Any]) -> set[str]:
        return {
            name
            for part in schema["$defs"].values()
            for name in part["properties"]
            if name.endswith(("_krw", "_days", "_pct"))
        }

    known = {name.rpartition(".")[2] for name in WORDS["field"]}
    assert list_fields(BankIn.model_json_schema()) - known == set()
