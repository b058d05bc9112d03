"""Amounts as a banker reads them: the exact digits with their currency, and beside them a round reading.

`570억원` stands beside `57,000,000,000원`, never for it. A reading keeps one decimal below a thousand of
its unit and none above; where that drops digits it says `약` or `≈`. Amounts too small for a unit have
no reading, what is no number has neither.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from rkyc.report.labels import Labels

# Beyond these a number is no bank figure: it is shown in the table, never drawn or divided.
_EXPONENT_MAX = 24
_WON = "KRW"
# (least amount, name) by language; Korean tells won by 10^8 and 10^6, other currencies by 10^6.
_WON_UNITS = ((Decimal(10**8), "억원"), (Decimal(10**6), "백만원"))
_KOREAN_UNITS = ((Decimal(10**6), "백만 {currency}"),)
_ENGLISH_UNITS = ((Decimal(10**9), "bn"), (Decimal(10**6), "m"))
_FINE_BELOW = 1000
_DIGITS = r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_KOREAN_AMOUNT = re.compile(rf"(?<![\d.,-])({_DIGITS})(원| [A-Z]{{3}}\b)")
_ENGLISH_AMOUNT = re.compile(rf"\b([A-Z]{{3}}) ({_DIGITS})(?!,?\d)")


def to_decimal(text: str) -> Decimal | None:
    """Return a drawable number, or None."""
    try:
        value = Decimal(text)
    except ArithmeticError:
        return None
    return value if value.is_finite() and abs(value.adjusted()) <= _EXPONENT_MAX else None


def group_digits(text: str) -> str:
    """Group the digits of an exact decimal text in thousands; what is no number stays as it is."""
    value = to_decimal(text)
    return text if value is None else f"{value:,f}"


def write_money(text: str, currency: str, labels: Labels) -> str:
    """Return an exact decimal text in digits grouped in thousands, with its currency."""
    grouped = group_digits(text)
    if not currency or to_decimal(text) is None:
        return grouped
    if labels.lang == "en":
        return f"{currency} {grouped}"
    return f"{grouped}원" if currency == _WON else f"{grouped} {currency}"


def read_money(text: str, currency: str, labels: Labels) -> str:
    """Return the round reading of an exact decimal text, empty where there is none."""
    amount = to_decimal(text)
    if amount is None or not currency:
        return ""
    for least, name in _units(currency, labels):
        if abs(amount) >= least:
            return _round(amount / least, name.format(currency=currency), labels)
    return ""


def split_amounts(text: str, labels: Labels) -> tuple[tuple[str, str], ...]:
    """Cut a sentence after each amount in it: (piece, reading of the amount that it ends with)."""
    is_korean = labels.lang == "ko"
    pieces = []
    place = 0
    for match in (_KOREAN_AMOUNT if is_korean else _ENGLISH_AMOUNT).finditer(text):
        digits, currency = (match[1], match[2].strip()) if is_korean else (match[2], match[1])
        reading = read_money(digits.replace(",", ""), _WON if currency == "원" else currency, labels)
        if reading:
            pieces.append((text[place : match.end()], reading))
            place = match.end()
    return (*pieces, (text[place:], ""))


def _units(currency: str, labels: Labels) -> tuple[tuple[Decimal, str], ...]:
    if labels.lang == "en":
        return _ENGLISH_UNITS
    return _WON_UNITS if currency == _WON else _KOREAN_UNITS


def _round(scaled: Decimal, unit: str, labels: Labels) -> str:
    step = Decimal("0.1") if abs(scaled) < _FINE_BELOW else Decimal(1)
    rounded = scaled.quantize(step, ROUND_HALF_UP)
    text = f"{rounded:,f}".removesuffix(".0")
    about = "" if rounded == scaled else labels.text("about")
    return f"{about}{text}{'' if labels.lang == 'ko' else ' '}{unit}"
