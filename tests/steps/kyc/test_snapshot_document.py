"""The snapshot document: canonical, exact, and the same hash for the same content."""

from __future__ import annotations

import json
import unicodedata
from decimal import Decimal
from typing import Any

import pytest

from rkyc.errors import DossierError
from rkyc.steps.kyc.schemas import CorpIn
from rkyc.steps.kyc.snapshot_document import (
    build_snapshot,
    canonicalise,
    list_document_changes,
    sort_periods,
    write_amount,
)

HEADER = "fiscal_year,period,concept,value,currency,unit,source\n"


def build(corp: dict[str, Any] | None = None, **files: str) -> Any:
    named = {"statements": "statements.csv", "bank": "bank.json"}
    contents = {named[name]: text.encode() for name, text in files.items()}
    return build_snapshot(CorpIn.model_validate({"name": "가나", **(corp or {})}), contents)


def test_figures_stand_under_their_period_in_whole_units() -> None:
    built = build(statements=HEADER + "2024,FY,자산총계,12.5,KRW,1000000,x\n2024,Q3,revenue,7,KRW,1,x\n")
    assert built.doc["statements"] == {"FY2024": {"assets": 12_500_000}, "2024Q3": {"revenue": 7}}
    assert built.doc["currencies"] == {"FY2024": "KRW", "2024Q3": "KRW"}
    assert built.doc["sources"] == {
        "/statements/FY2024/assets": "statements.csv:2",
        "/statements/2024Q3/revenue": "statements.csv:3",
    }


def test_same_content_has_the_same_hash() -> None:
    rows = ["2024,FY,revenue,7,KRW,1000,x", "2023,FY,assets,9,KRW,1,y"]
    other = ["2023,FY,assets,9,KRW,1,y", "2024,FY,매출액,7000,KRW,1,z"]
    first = build({"name": "가나", "as_of": "2025-01-01"}, statements=HEADER + "\n".join(rows))
    second = build({"name": unicodedata.normalize("NFD", "가나")}, statements=HEADER + "\n".join(other))
    assert first.sha256 == second.sha256
    assert list_document_changes(first.doc, second.doc) == []
    assert build(statements=HEADER + rows[0]).sha256 != first.sha256


def test_bank_records_keep_their_numbers_as_written() -> None:
    built = build(bank='{"loan": [{"balance_krw": 12345678901234567890, "rate_pct": 5.40, "note": "x"}]}')
    assert built.doc["loan"] == [{"balance_krw": "12345678901234567890", "rate_pct": "5.40", "note": "x"}]
    assert json.dumps(built.doc)


@pytest.mark.parametrize(
    ("corp", "kept"), [({}, "USD"), ({"currency": "KRW"}, "KRW"), ({"currency": "JPY"}, "USD")]
)
def test_one_currency_a_period(corp: dict[str, str], kept: str) -> None:
    rows = "2024,FY,revenue,1,KRW,1,x\n2024,FY,assets,2,USD,1,x\n2024,FY,equity,3,USD,1,x\n2023,FY,cash,4,KRW,1,x\n"
    built = build(corp, statements=HEADER + rows)
    assert built.doc["currencies"] == {"FY2024": kept, "FY2023": "KRW"}
    assert set(built.doc["statements"]["FY2024"]) == ({"revenue"} if kept == "KRW" else {"assets", "equity"})
    assert [code for code, _ in built.warnings] == ["mixed_currencies"]


def test_periods_are_sorted_oldest_first() -> None:
    periods = ["FY2024", "2024Q2", "2025Q1", "FY2023", "2024Q1"]
    assert sort_periods(periods) == ["FY2023", "2024Q1", "2024Q2", "FY2024", "2025Q1"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1000", 1000),
        ("1E+3", 1000),
        ("12.50", "12.5"),
        ("9007199254740992", "9007199254740992"),
        ("-0.0", 0),
    ],
)
def test_amounts_are_exact(value: str, expected: int | str) -> None:
    assert write_amount(Decimal(value)) == expected


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_texts_that_postgres_cannot_hold_are_refused(text: str) -> None:
    with pytest.raises(DossierError, match=r"bank\.json: a text"):
        canonicalise({"a": [text]}, file_name="bank.json")
