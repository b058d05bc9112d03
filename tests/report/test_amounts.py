"""Amounts in exact digits, with a round reading beside them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rkyc.report.amounts import read_money, split_amounts, write_money
from rkyc.report.labels import Labels

KO, EN = Labels("ko"), Labels("en")


@pytest.mark.parametrize(
    ("text", "currency", "shown", "reading"),
    [
        ("57000000000", "KRW", "57,000,000,000원", "570억원"),
        ("640000000", "KRW", "640,000,000원", "6.4억원"),
        ("-6180000000", "KRW", "-6,180,000,000원", "-61.8억원"),
        ("1234567890", "KRW", "1,234,567,890원", "약 12.3억원"),
        ("99999999", "KRW", "99,999,999원", "약 100백만원"),
        ("64500000", "KRW", "64,500,000원", "64.5백만원"),
        ("1234560000000", "KRW", "1,234,560,000,000원", "약 12,346억원"),
        ("999999", "KRW", "999,999원", ""),
        ("-248383000", "USD", "-248,383,000 USD", "약 -248.4백만 USD"),
        ("5", "", "5", ""),
        ("n/a", "KRW", "n/a", ""),
    ],
)
def test_amount_in_korean(text: str, currency: str, shown: str, reading: str) -> None:
    assert (write_money(text, currency, KO), read_money(text, currency, KO)) == (shown, reading)


@pytest.mark.parametrize(
    ("text", "shown", "reading"),
    [
        ("57000000000", "USD 57,000,000,000", "57 bn"),
        ("-248383000", "USD -248,383,000", "≈ -248.4 m"),
        ("1500000", "USD 1,500,000", "1.5 m"),
    ],
)
def test_amount_in_english(text: str, shown: str, reading: str) -> None:
    assert (write_money(text, "USD", EN), read_money(text, "USD", EN)) == (shown, reading)


@settings(deadline=None)
@given(st.integers(-(10**16), 10**16))
def test_reading_without_a_mark_is_exactly_the_amount(won: int) -> None:
    reading = read_money(str(won), "KRW", KO)
    if not reading:
        assert abs(won) < 10**6
        return
    unit = 10**8 if reading.endswith("억원") else 10**6
    digits = reading.removeprefix("약 ").removesuffix("억원").removesuffix("백만원").replace(",", "")
    assert (Decimal(digits) * unit == won) is not reading.startswith("약 ")
    assert abs(Decimal(digits) * unit - won) <= unit


def test_amounts_in_a_sentence_get_a_reading_each() -> None:
    text = "부채총계 57,000,000,000원 ÷ 자본총계 13,800,000,000원, 382.7%, 1,200명, 50,000원"
    assert split_amounts(text, KO) == (
        ("부채총계 57,000,000,000원", "570억원"),
        (" ÷ 자본총계 13,800,000,000원", "138억원"),
        (", 382.7%, 1,200명, 50,000원", ""),
    )
    assert split_amounts("from USD -125,902,000 to USD 2,000,000, down", EN) == (
        ("from USD -125,902,000", "≈ -125.9 m"),
        (" to USD 2,000,000", "2 m"),
        (", down", ""),
    )


@settings(deadline=None)
@given(st.text(alphabet="0123456789,.-원 KRWUSD약", max_size=60))
def test_no_character_of_a_sentence_is_changed(text: str) -> None:
    for labels in (KO, EN):
        assert "".join(piece for piece, _ in split_amounts(text, labels)) == text
