"""Snapshot values in words: what a JSON pointer names, and its value with the unit that the name implies.

`/credit/loan_summary/overdue_days` with `38` is `연체일수` and `38일`. A pointer that nobody knows has no
words and is shown as it is. The words of a list's entry come from its month where it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rkyc.report.amounts import group_digits, read_money, to_decimal, write_money
from rkyc.report.labels import Labels
from rkyc.steps.kyc.pointers import resolve

PREVIOUS = "previous:"
_AS_OF = "as_of"
# The bank's records are in won, whatever the company reports in.
_BANK_CURRENCY = "KRW"
_LISTS = frozenset({"loan", "deposit", "card", "trade", "items", "shareholders"})


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as displayed; `note` is a round reading of it, or the stored word it stands for."""

    text: str
    note: str = ""


def name_place(pointer: str, snapshot: Mapping[str, Any], labels: Labels) -> str | None:
    """Return what a pointer names, `FY2024 부채총계`; None where it is not known."""
    if pointer == _AS_OF:
        return labels.text("as_of")
    if pointer.startswith(PREVIOUS):
        # The months of this snapshot's lists are not those of the earlier one.
        place = name_place(pointer.removeprefix(PREVIOUS), {}, labels)
        return place and labels.text("previous_place", place=place)
    match pointer.removesuffix("/value").split("/"):
        case ["", "statements", period]:
            return labels.text("statements_of", period=period)
        case ["", "statements", period, concept] if labels.knows("concept", concept):
            return f"{period} {labels.value('concept', concept)}"
        case ["", part] if labels.knows("part", part):
            return labels.value("part", part)
        case ["", *inner, field]:
            return _name_field(inner, field, snapshot, labels)
    return None


def show_value(pointer: str, text: str, snapshot: Mapping[str, Any], labels: Labels) -> Shown:
    """Return a value's text with the unit that its place implies."""
    inner, _, field = pointer.removeprefix(PREVIOUS).removesuffix("/value").rpartition("/")
    if inner.startswith("/statements/"):
        currency = str((snapshot.get("currencies") or {}).get(inner.removeprefix("/statements/")) or "")
        return Shown(write_money(text, currency, labels), read_money(text, currency, labels))
    if field.endswith("_krw"):
        return Shown(write_money(text, _BANK_CURRENCY, labels), read_money(text, _BANK_CURRENCY, labels))
    if text in ("true", "false"):
        return Shown(labels.value("flag", text), text)
    if to_decimal(text) is None:
        return Shown(text)
    if field.endswith("_days"):
        return Shown(labels.text("days", number=group_digits(text)))
    return Shown(f"{text}%" if field.endswith("_pct") else group_digits(text))


def _name_field(inner: list[str], field: str, snapshot: Mapping[str, Any], labels: Labels) -> str | None:
    parents = [one for one in inner if not one.isdigit()]
    qualified = f"{parents[-1]}.{field}" if parents else field
    known = next((one for one in (qualified, field) if labels.knows("field", one)), None)
    if known is None:
        return None
    name = labels.value("field", known)
    if len(inner) >= 2 and inner[-2] in _LISTS and inner[-1].isdigit():
        part = labels.value("part", inner[-2])
        return f"{part} {_name_entry(inner, snapshot, labels)} {name}"
    return name


def _name_entry(inner: list[str], snapshot: Mapping[str, Any], labels: Labels) -> str:
    month = resolve(snapshot, "/" + "/".join([*inner, "month"]))
    return month if isinstance(month, str) else labels.text("entry", number=int(inner[-1]) + 1)
