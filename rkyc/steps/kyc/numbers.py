"""Reads numbers with their units out of Korean and English text.

74억원, 7.4 billion won and 7,400,000,000 are one quantity. Signs are dropped: that something fell is
said in words. Pure; what is no number is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_DIGITS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_SMALL = {"천": 3, "백": 2, "십": 1}
_LARGE = {"조": 12, "억": 8, "만": 4}
_ENGLISH = re.compile(r"\s?(trillion|billion|million|thousand|bn|mn)(?![A-Za-z])", re.IGNORECASE)
_ENGLISH_POWER = {"trillion": 12, "billion": 9, "bn": 9, "million": 6, "mn": 6, "thousand": 3}
_UNITS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (unit, re.compile(pattern, re.IGNORECASE))
    for unit, pattern in (
        ("%p", r"\s?(?:%\s?p(?![A-Za-z])|%?\s?포인트|percentage[\s-]points?)"),
        ("%", r"\s?(?:%|％|퍼센트|프로(?![가-힣])|per\s?cent(?!age))"),
        ("KRW", r"\s?(?:원(?!자|료|인|가|본|천|장|심)|KRW|won(?![A-Za-z]))"),
        ("USD", r"\s?(?:달러|USD|US\s?dollars?|dollars?)"),
        ("x", r"\s?(?:배(?![가-힣]|당)|times(?![A-Za-z])|x(?![A-Za-z]))"),
        ("month", r"\s?(?:개월|달(?![러가-힣])|months?)"),
        ("year", r"\s?(?:년|개년|years?)"),
        ("day", r"\s?(?:일(?![가-힣]*\s?차)|days?)"),
    )
)
_CURRENCY_BEFORE = re.compile(r"(?:(?P<usd>US\$|USD|\$)|(?P<krw>₩|KRW|￦))\s?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quantity:
    """`value` in the base unit; `step` what one in its last shown digit is worth (74억: 10^8).

    The digits stand at `start`-`digits_end`, scale and unit end at `end`.
    """

    value: Decimal
    step: Decimal
    unit: str
    start: int
    digits_end: int
    end: int


def find_quantities(text: str) -> list[Quantity]:
    """Return the quantities of a text in order, with their places."""
    found: list[Quantity] = []
    at = 0
    while (match := _DIGITS.search(text, at)) is not None:
        quantity = _read(text, match)
        found.append(quantity)
        at = max(quantity.end, match.end())
    return found


def _read(text: str, match: re.Match[str]) -> Quantity:
    value, step, end = _read_korean(text, match)
    english = _ENGLISH.match(text, end)
    if english:
        power = Decimal(10) ** _ENGLISH_POWER[english[1].lower()]
        value, step, end = value * power, step * power, english.end()
    unit = ""
    for name, pattern in _UNITS:
        after = pattern.match(text, end)
        if after:
            unit, end = name, after.end()
            break
    before = _CURRENCY_BEFORE.search(text[max(0, match.start() - 5) : match.start()])
    if before and unit == "":
        unit = "USD" if before["usd"] else "KRW"
    return Quantity(value, step, unit, match.start(), match.end(), end)


def _read_korean(text: str, match: re.Match[str]) -> tuple[Decimal, Decimal, int]:
    """Add up 1조 2,345억 6천만: sections of thousands, each with its large unit."""
    total, section, step = Decimal(0), Decimal(0), Decimal(1)
    part: re.Match[str] | None = match
    end = match.end()
    while part is not None:
        number, power, end = _number(part[0]), 0, part.end()
        if text[end : end + 1] in _SMALL and (power := _SMALL[text[end]]):
            end += 1
        step = _last_digit(part[0]) * Decimal(10) ** power
        section += number * Decimal(10) ** power
        if text[end : end + 1] in _LARGE:
            scale = Decimal(10) ** _LARGE[text[end]]
            total, section, step = total + section * scale, Decimal(0), step * scale
            end += 1
        elif power == 0:
            break
        part = _next_part(text, end)
    return total + section, step, end


def _next_part(text: str, at: int) -> re.Match[str] | None:
    at += 1 if text[at : at + 1] == " " else 0
    part = _DIGITS.match(text, at)
    if part and (text[part.end() : part.end() + 1] in {*_SMALL, *_LARGE, "원"}):
        return part
    return None


def _number(digits: str) -> Decimal:
    return Decimal(digits.replace(",", ""))


def _last_digit(digits: str) -> Decimal:
    decimals = len(digits.partition(".")[2])
    return Decimal(1).scaleb(-decimals)
