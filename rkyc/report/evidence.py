"""Evidence → where it is shown: a marked quote in a page, a cell of the figures, a snapshot value.

A quote is marked only where the stored text says exactly the same at the stored offsets; anything else
is reported as not confirmed and never marked elsewhere. Labels are the number of the signal and a
letter (`3b`); ids are made from labels, so nothing untrusted reaches an id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rkyc.report.labels import Labels
from rkyc.report.links import safe_url
from rkyc.report.marks import Span
from rkyc.report.places import Shown, name_place, show_value
from rkyc.report.types import SourcePage
from rkyc.steps.kyc.pointers import MISSING, quote_value, resolve

_VALUE_CHARS_MAX = 600


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece of evidence; `target` is the id that its link opens, None when there is nothing to open.

    `shown` is the quote as displayed: a snapshot value has its unit and a `note` (a round reading), a
    text is untouched. `place` names a snapshot value in words, None where that is not known; `file` is
    the file of the dossier that it came from.
    """

    label: str
    signal_anchor: str
    quote: str
    shown: str
    note: str
    place: str | None
    file: str
    ref: str
    ref_type: str
    evidence_type: str
    check: str
    grade: str
    url: str | None
    is_found: bool
    target: str | None
    page: int | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """What evidence may point into: pages by (kind, ref), snapshot values by pointer.

    `pages` maps to the index of the page, `cells` to the id of a table cell that shows the value.
    """

    texts: tuple[SourcePage, ...]
    pages: Mapping[tuple[str, str], int]
    cells: Mapping[str, str]
    snapshot: dict[str, Any]
    labels: Labels


def index_pages(pages: Sequence[SourcePage]) -> dict[tuple[str, str], int]:
    """Return where each (kind, ref) lies; the first page wins if a ref comes twice."""
    found: dict[tuple[str, str], int] = {}
    for index, page in enumerate(pages):
        found.setdefault((page.kind, page.ref), index)
    return found


def locate(raw: dict[str, Any], number: int, position: int, sources: Sources) -> Evidence:
    """Place the evidence at `position` (from 0) of signal `number` (from 1)."""
    label = f"{number}{letter(position)}"
    if raw.get("ref_type") == "SNAPSHOT_KEYPATH":
        return _locate_value(raw, label, number, sources)
    return _locate_quote(raw, label, number, sources)


def letter(position: int) -> str:
    """Return a, b, … z, aa, ab, … for 0, 1, …"""
    name = ""
    position += 1
    while position:
        position, digit = divmod(position - 1, 26)
        name = chr(ord("a") + digit) + name
    return name


def page_anchor(index: int) -> str:
    """Return the id of the appendix entry of page `index` (from 0)."""
    return f"source-{index + 1}"


def value_text(value: Any) -> str:
    """Return a snapshot value as text: a figure's own number where the value is an object around it."""
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    text = quote_value(value) or json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _VALUE_CHARS_MAX else text[: _VALUE_CHARS_MAX - 1] + "…"


def _locate_quote(raw: dict[str, Any], label: str, number: int, sources: Sources) -> Evidence:
    kind, ref, quote = str(raw.get("ref_type") or ""), str(raw.get("ref") or ""), str(raw.get("quote") or "")
    page = sources.pages.get((kind, ref))
    span = None
    if page is not None:
        span = _find_span(sources.texts[page].text, quote, raw, label)
    target = span.anchor if span else page_anchor(page) if page is not None else None
    return _make(raw, label, number, sources, is_found=span is not None, target=target, page=page, span=span)


def _find_span(text: str, quote: str, raw: dict[str, Any], label: str) -> Span | None:
    start, end = raw.get("char_start"), raw.get("char_end")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
        return None
    return Span(f"quote-{label}", label, start, end) if text[start:end] == quote else None


def _locate_value(raw: dict[str, Any], label: str, number: int, sources: Sources) -> Evidence:
    pointer = str(raw.get("ref") or "")
    value = resolve(sources.snapshot, pointer)
    is_found = value is not MISSING and _agrees(str(raw.get("quote") or ""), value)
    return _make(raw, label, number, sources, is_found=is_found, target=sources.cells.get(pointer))


def _make(
    raw: dict[str, Any],
    label: str,
    number: int,
    sources: Sources,
    *,
    is_found: bool,
    target: str | None,
    page: int | None = None,
    span: Span | None = None,
) -> Evidence:
    ref, quote = str(raw.get("ref") or ""), str(raw.get("quote") or "")
    is_value = raw.get("ref_type") == "SNAPSHOT_KEYPATH"
    shown = show_value(ref, quote, sources.snapshot, sources.labels) if is_value else Shown(quote)
    return Evidence(
        label=label,
        signal_anchor=f"signal-{number}",
        quote=quote,
        shown=shown.text,
        note=shown.note,
        place=name_place(ref, sources.snapshot, sources.labels) if is_value else None,
        file=str(raw.get("source_file") or "") if is_value else "",
        ref=ref,
        ref_type=str(raw.get("ref_type") or ""),
        evidence_type=str(raw.get("evidence_type") or ""),
        check=str(raw.get("check") or ""),
        grade=str(raw.get("source_grade") or ""),
        url=safe_url(ref) if raw.get("ref_type") == "URL" else None,
        is_found=is_found,
        target=target,
        page=page,
        span=span,
    )


def _agrees(quote: str, value: Any) -> bool:
    """Tell whether a quote says the value: the same text, or the same number written otherwise."""
    text = value_text(value)
    if quote == text:
        return True
    ours, theirs = _number(quote), _number(text)
    if ours is not None and theirs is not None:
        return ours == theirs
    return len(text) > 1 and _plain(text) in _plain(quote)


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace(",", "").strip())
    except ArithmeticError:
        return None


def _plain(text: str) -> str:
    return text.replace(",", "").casefold()
