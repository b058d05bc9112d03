"""Finds numbers in the texts of a result that stand nowhere in the input and follow from nothing in it.

Written apart from the code under test: it shares none of its readers. A number in a text is accounted
for when the input holds it (signs dropped; a calendar period such as FY2024 is a number of its year), or
when it stands in a derived figure that the risk signal declares, whose computation is done again here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_SCALES = {"조": 10**12, "억": 10**8, "만": 10**4, "million": 10**6, "billion": 10**9}
_SCALE_AFTER = re.compile(r"\s?(조|억|만|million|billion)")

LookUp = Callable[[str], Decimal | date | None]


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """A number without a source, and the text that it stands in."""

    number: str
    text: str


def find_unaccounted(
    result: Mapping[str, Any], *, given: Iterable[Decimal | str], look_up: LookUp
) -> list[Unaccounted]:
    """Look through every title, summary and sentence.

    `given` are the numbers of the input, or texts that hold them; `look_up` gives the value of a
    derived figure's operand.
    """
    known = set(_read_given(given))
    signals = [*result["signals"], *result["below_cut"]]
    missing: list[Unaccounted] = []
    for signal in signals:
        derived = _hold(signal.get("derived") or (), look_up)
        for text in (signal["title"], signal["summary"]):
            missing += _check(text, known, derived)
    insight = result["insight"]
    by_citation = {signal["id"]: signal for signal in signals}
    everything = [figure for signal in signals for figure in signal.get("derived") or ()]
    missing += _check(insight["headline"], known, _hold(everything, look_up))
    for section in insight["sections"]:
        missing += _check(section["title"], known, ())
        for sentence in section["sentences"]:
            cited = [by_citation[name] for name in sentence["citations"] if name in by_citation]
            figures = [figure for signal in cited for figure in signal.get("derived") or ()]
            missing += _check(sentence["text"], known, _hold(figures, look_up))
    return missing


def _check(text: str, known: set[Decimal], derived: Sequence[str]) -> Iterator[Unaccounted]:
    rest = text
    for figure in sorted(derived, key=len, reverse=True):
        # What is left must not run together to another number.
        rest = rest.replace(figure, " · ")
    for match in _NUMBER.finditer(rest):
        value = _value(match[0])
        scale = _SCALE_AFTER.match(rest, match.end())
        whole = value * _SCALES[scale[1]] if scale else value
        if value not in known and whole not in known:
            yield Unaccounted(match[0], text)


def _read_given(given: Iterable[Decimal | str]) -> Iterator[Decimal]:
    for each in given:
        if isinstance(each, Decimal):
            yield abs(each)
        else:
            yield from (_value(match[0]) for match in _NUMBER.finditer(each))


def _value(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _hold(figures: Iterable[Mapping[str, Any]], look_up: LookUp) -> list[str]:
    """Return the texts of the derived figures that are computed right."""
    held = []
    for figure in figures:
        operands = [look_up(name) for name in figure["operands"]]
        exact = None if None in operands else _compute(figure["formula"], operands)
        shown = _NUMBER.search(figure["text"])
        if exact is None or shown is None:
            continue
        decimals = len(shown[0].partition(".")[2])
        is_turned = figure["text"].startswith("-") and exact > 0
        if not is_turned and abs(abs(exact) - _value(shown[0])) <= Decimal(1).scaleb(-decimals) / 2:
            held.append(figure["text"])
    return held


def _compute(formula: str, operands: Sequence[Any]) -> Decimal | None:
    match formula, operands:
        case "value", [only]:
            return Decimal(only)
        case "ratio_pct", [part, whole] if whole:
            return Decimal(part) / Decimal(whole) * 100
        case "change_pct", [now, before] if before:
            return (Decimal(now) - Decimal(before)) / abs(Decimal(before)) * 100
        case "difference", [first, second]:
            return Decimal(first) - Decimal(second)
        case "sum", [*parts]:
            return sum((Decimal(part) for part in parts), Decimal(0))
        case "share_pct", [*parts, whole] if whole:
            return sum((Decimal(part) for part in parts), Decimal(0)) / Decimal(whole) * 100
        case "multiple", [part, whole] if whole:
            return Decimal(part) / Decimal(whole)
        case "days_between", [date() as first, date() as second]:
            return Decimal(abs((second - first).days))
        case "mean_pct", [part, *parts] if sum(parts):
            return Decimal(part) / (sum((Decimal(each) for each in parts), Decimal(0)) / len(parts)) * 100
    return None
