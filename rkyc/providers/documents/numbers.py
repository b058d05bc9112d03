"""Numbers as statements print them, exactly: decimal in, decimal out, never a float.

Read are plain digits with an optional sign, thousands separators in groups of three, a decimal point,
and the two ways in which accounts mark a loss: parentheses and the Korean triangle. An exponent is
refused: a spreadsheet that writes 1.23E+11 has already lost digits.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact

DIGITS_MAX = 30  # Far above any amount in any currency; keeps hostile input small.

# Enough for the digits above times the largest unit, and for sums of them; rounding would be an error.
_EXACT = Context(prec=60, traps=[Inexact])
_PLAIN = re.compile(r"(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?")
# Not NFKC, which would make the footnote mark in 1234¹ a digit.
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
_MINUS = "-\u2212\u2013\u25b3\u25b2"  # Hyphen, minus sign, en dash, and the triangles of Korean accounts.


def parse_number(text: str) -> Decimal:
    """Return the exact value in its shortest form (`1500`, not `1.5E+3` or `1500.0`).

    Raises:
        ValueError: not a number of that kind, or longer than `DIGITS_MAX` digits.
    """
    plain = text.translate(_HALF_WIDTH).strip()
    is_negative = False
    if plain.startswith("(") and plain.endswith(")"):
        is_negative, plain = True, plain[1:-1].strip()
    elif plain[:1] and plain[0] in _MINUS:
        is_negative, plain = True, plain[1:].lstrip()
    elif plain.startswith("+"):
        plain = plain[1:].lstrip()
    digits = sum(char.isdigit() for char in plain)
    if digits > DIGITS_MAX or not _PLAIN.fullmatch(plain):
        raise ValueError("not a plain number")
    value = Decimal(plain.replace(",", ""))
    return shorten(value.copy_negate() if is_negative else value)


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """Multiply without rounding."""
    return shorten(_EXACT.multiply(left, right))


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """Subtract without rounding."""
    return shorten(_EXACT.subtract(left, right))


def shorten(value: Decimal) -> Decimal:
    """Give equal values one spelling: no trailing zeros after the point, no exponent, no minus zero."""
    if not value:
        return Decimal(0)
    if value == value.to_integral_value(context=_EXACT):
        return value.quantize(Decimal(1), context=_EXACT)
    return value.normalize(_EXACT)
