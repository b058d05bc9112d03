"""Numbers: exact, in one spelling, and refused rather than guessed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.providers.documents.numbers import multiply, parse_number, shorten, subtract

_amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18, places=4)


@given(_amounts)
def test_plain_number_is_read_exactly(value: Decimal) -> None:
    assert parse_number(f"{value:f}") == value


@given(_amounts)
def test_every_way_of_writing_gives_the_same(value: Decimal) -> None:
    digits = f"{abs(value):,f}"
    expected = shorten(value)
    if value >= 0:
        writings = [digits, f"+{digits}", f" {digits} ", digits.replace(",", "")]
    else:
        writings = [
            f"-{digits}",
            f"\u2212{digits}",
            f"({digits})",
            f"△{digits}",
            f"▲ {digits}",
            f"- {digits}",
        ]
    fullwidth = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in writings[0])
    assert {str(parse_number(writing)) for writing in [*writings, fullwidth]} == {str(expected)}


@given(_amounts, st.sampled_from([1, 1_000, 1_000_000]))
def test_unit_and_value_may_trade_places(value: Decimal, unit: int) -> None:
    scaled = multiply(value, Decimal(unit))
    assert str(multiply(parse_number(f"{scaled:f}"), Decimal(1))) == str(scaled)


@given(_amounts, _amounts)
def test_subtraction_is_exact(left: Decimal, right: Decimal) -> None:
    assert subtract(left, right) + right == left


@given(st.text(max_size=40))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    try:
        value = parse_number(text)
    except ValueError:
        return
    assert value.is_finite()
    assert "E" not in str(value)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-", "n/a", "없음", "1e400", "1.5E+9", "NaN", "Infinity", "0x10", "1_000", "12,34", "1,2345",
        ",123", "1.", ".5", "1.2.3", "(5", "5)", "-(5)", "--5", "5%", "₩5", "1234¹", "1 234", "9" * 31, "\u0661",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a plain number"):
        parse_number(text)


def test_equal_values_have_one_spelling() -> None:
    assert {str(parse_number(text)) for text in ("1500", "1500.0", "1,500.00", "01500")} == {"1500"}
    assert {str(parse_number(text)) for text in ("0", "-0", "(0.00)")} == {"0"}
    assert str(multiply(Decimal("1.5"), Decimal(1_000_000))) == "1500000"
