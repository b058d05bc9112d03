"""A snapshot as the rules read it: numbers, dates and names by pointer, with their quotes.

What is not there reads as None, and a rule that misses an input is not evaluated: nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from rkyc.steps.kyc.pointers import MISSING, join_pointer, quote_value, read_number, resolve

_YEAR = re.compile(r"FY(\d{4})")


@dataclass(frozen=True, slots=True)
class Facts:
    """The present snapshot, the earlier one or None, and the day from which time is counted."""

    doc: dict[str, Any]
    previous: dict[str, Any] | None
    as_of: date

    @property
    def fiscal_years(self) -> list[int]:
        """The years with figures of a whole year, newest first."""
        keys = self.doc.get("statements") or {}
        return sorted((int(match[1]) for key in keys if (match := _YEAR.fullmatch(key))), reverse=True)

    def number(self, pointer: str) -> Decimal | None:
        return read_number(self.doc, pointer)

    def earlier_number(self, pointer: str) -> Decimal | None:
        return None if self.previous is None else read_number(self.previous, pointer)

    def text(self, pointer: str) -> str | None:
        return _text(self.doc, pointer)

    def earlier_text(self, pointer: str) -> str | None:
        return None if self.previous is None else _text(self.previous, pointer)

    def flag(self, pointer: str) -> bool | None:
        return _flag(self.doc, pointer)

    def earlier_flag(self, pointer: str) -> bool | None:
        return None if self.previous is None else _flag(self.previous, pointer)

    def day(self, pointer: str) -> date | None:
        text = self.text(pointer)
        try:
            return None if text is None else date.fromisoformat(text)
        except ValueError:
            return None

    def rows(self, part: str) -> list[dict[str, Any]]:
        """The rows of a list such as `loan`; what is no object counts as an empty row."""
        found = self.doc.get(part)
        return [row if isinstance(row, dict) else {} for row in found] if isinstance(found, list) else []

    def quote(self, pointer: str) -> str | None:
        """The text of the value at a pointer, as evidence shows it."""
        return quote_value(resolve(self.doc, pointer))

    def currency(self, fiscal_year: int) -> str | None:
        return self.text(join_pointer("currencies", f"FY{fiscal_year}"))

    def source_file(self, pointer: str) -> str | None:
        """The file of the dossier that a value came from."""
        ref = (self.doc.get("sources") or {}).get(pointer)
        if isinstance(ref, str):
            return re.split(r"#|:(?=\d+$)", ref, maxsplit=1)[0]
        if pointer.startswith("/statements/"):
            return None
        return "corp.json" if pointer.startswith("/corp/") else "bank.json"


def statement(fiscal_year: int, concept: str) -> str:
    """Return the pointer of a year's figure."""
    return join_pointer("statements", f"FY{fiscal_year}", concept)


def _text(doc: dict[str, Any], pointer: str) -> str | None:
    value = resolve(doc, pointer)
    if value is MISSING or not isinstance(value, str) or not value.strip():
        return None
    return unicodedata.normalize("NFC", value)


def _flag(doc: dict[str, Any], pointer: str) -> bool | None:
    value = resolve(doc, pointer)
    return value if isinstance(value, bool) else None
