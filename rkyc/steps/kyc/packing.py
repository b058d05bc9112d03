"""Which parts of a run's material a model gets to see: worth first, whole units, within a budget.

A part is one unit of evidence (a group of snapshot values, a passage of a page, an event's text) with
its data class; it fits as a whole or stays out. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.events.match import SCORE_MIN, fold
from rkyc.steps.kyc.pointers import join_pointer, quote_value
from rkyc.steps.kyc.rules.documents import PageView, find_doubts
from rkyc.steps.kyc.rules.events import EventView
from rkyc.steps.kyc.rules.terms import TOPICS
from rkyc.steps.kyc.sentences import split_sentences
from rkyc.steps.kyc.vocabulary import RefType

TOKENS_MAX = 8000
_PASSAGE_CHARS_MAX = 1200
# Passages of one paper: a filing of 300 pages must not push out the rest.
_PASSAGES_PER_PAPER_MAX = 40
# What a snapshot holds about itself, not about the company.
_NOT_FACTS = frozenset({"sources", "schema_version", "sha256", "currencies", "derived_hints"})
_PUBLIC_IDENTITY = frozenset({"name", "name_en", "industry_code", "country", "listed_code", "currency"})


@dataclass(frozen=True, slots=True)
class Part:
    """A unit of context. A snapshot part's `ref` is the pointer of its group; its text lists pointers."""

    ref: str
    ref_type: str
    data_class: str
    text: str
    tokens: int
    worth: float
    wider: bool = False


def estimate_tokens(text: str) -> int:
    """Estimate without a tokenizer, rather too many: 1.4 characters of Hangul a token, 3.5 of others."""
    hangul = sum(1 for char in text if "\u1100" <= char <= "\u11ff" or "\uac00" <= char <= "\ud7a3")
    return math.ceil(hangul / 1.4 + (len(text) - hangul) / 3.5)


def pack(parts: Iterable[Part], tokens_max: int = TOKENS_MAX) -> tuple[list[Part], bool]:
    """Return the parts that fit, best first, and whether some had to stay out."""
    chosen: list[Part] = []
    left = tokens_max
    is_truncated = False
    for part in sorted(parts, key=lambda each: (-each.worth, each.ref)):
        if part.tokens <= left:
            chosen.append(part)
            left -= part.tokens
        else:
            is_truncated = True
    return chosen, is_truncated


def list_fact_parts(
    doc: Mapping[str, Any], changed: Sequence[str], statements_class: DataClass, *, is_listed: bool
) -> list[Part]:
    """Turn a snapshot into parts: each statement period, each other section; changed ones first."""
    parts: list[Part] = []
    for section, value in doc.items():
        if section in _NOT_FACTS:
            continue
        groups = value.items() if section == "statements" and isinstance(value, Mapping) else [(None, value)]
        for name, group in groups:
            at = join_pointer(section) if name is None else join_pointer(section, name)
            for data_class, lines in _lines_by_class(section, at, group, statements_class, is_listed).items():
                worth = 90.0 if any(path.startswith(at) for path in changed) else 60.0
                parts.append(_part(at, RefType.SNAPSHOT_KEYPATH, data_class, "\n".join(lines), worth))
    return parts


def list_passage_parts(pages: Sequence[PageView]) -> list[Part]:
    """Cut pages into passages of whole sentences; those with words of risk are worth more."""
    parts: list[Part] = []
    counts: dict[str, int] = {}
    for page in pages:
        doubts = {span.start for span in find_doubts(page.text)}
        for start, end in _passages(page.text):
            counts[page.name] = counts.get(page.name, 0) + 1
            if counts[page.name] > _PASSAGES_PER_PAPER_MAX:
                break
            text = page.text[start:end]
            worth = 85.0 if any(start <= at < end for at in doubts) else _worth_of_words(text, 50.0, 20.0)
            parts.append(_part(page.ref, RefType.DOC_PAGE, page.data_class, text, worth))
    return parts


def list_event_parts(events: Sequence[EventView]) -> list[Part]:
    """One part per story: its best source, whole; what may be about someone else stays out."""
    best: dict[int, EventView] = {}
    for event in events:
        known = best.get(event.cluster_no)
        if event.score >= SCORE_MIN and (
            known is None or (event.grade, -len(event.text)) < (known.grade, -len(known.text))
        ):
            best[event.cluster_no] = event
    parts = []
    for event in best.values():
        worth = _worth_of_words(f"{event.title}\n{event.text}", 80.0, 30.0) + event.score
        text = f"(headline: {event.title})\n{event.text}"
        wider = event.basis.startswith("INDUSTRY")
        parts.append(_part(event.url, RefType.URL, DataClass.PUBLIC, text, worth, wider=wider))
    return parts


def _part(
    ref: str, ref_type: RefType, data_class: str, text: str, worth: float, *, wider: bool = False
) -> Part:
    return Part(ref, ref_type, data_class, text, estimate_tokens(f"{ref}\n{text}"), round(worth, 3), wider)


def _lines_by_class(
    section: str, at: str, group: Any, statements_class: DataClass, is_listed: bool
) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for pointer, text in _leaves(group, at):
        if section == "statements":
            data_class = statements_class
        elif section == "corp" and (is_listed or pointer.rsplit("/", 1)[-1] in _PUBLIC_IDENTITY):
            data_class = DataClass.PUBLIC
        else:
            data_class = DataClass.INTERNAL
        lines.setdefault(data_class, []).append(f"{pointer} = {text}")
    return lines


def _leaves(value: Any, at: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, at + join_pointer(key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _leaves(child, at + join_pointer(index))
    elif (text := quote_value(value)) is not None:
        yield at, text


def _passages(text: str) -> Iterable[tuple[int, int]]:
    start = end = -1
    for span in split_sentences(text):
        if start >= 0 and span.end - start > _PASSAGE_CHARS_MAX:
            yield start, end
            start = -1
        start = span.start if start < 0 else start
        end = span.end
    if start >= 0:
        yield start, end


def _worth_of_words(text: str, with_words: float, without: float) -> float:
    folded = fold(text)
    severity = max((topic.severity for topic in TOPICS if topic.pattern.search(folded)), default=0)
    return with_words + severity if severity else without
