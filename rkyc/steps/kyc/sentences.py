"""Cuts a text into sentences without changing it, for quotes that are whole sentences.

Korean and English. Spans are code-point offsets into the text as it is stored. A line break inside
a sentence (the wrapped line of a PDF) does not end it; a blank line, a short line (a heading, a cell
of a table) or a bullet does.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

# A wrapped line is long; what is shorter ends where its line ends.
_HEADING_CHARS_MAX = 24
_END = re.compile(
    r"""
    (?P<stop> [.!?]+ ["'”’)\]]* (?=\s|$|[가-힣“"'‘(\[]) | [。！？]+ ["'”’」』)]* )
  | (?P<line> [ \t]*(?:\r\n|\r|\n)[\s]* )
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Inc|Corp|Co|Ltd|LLC|Mr|Mrs|Ms|Dr|No|Nos|vs|St|Jr|Sr|approx|est|Fig|[A-Z])|\b[A-Z]\.[A-Z])\.$"
)
_BULLET = re.compile(r"(?:[-*•◦▪■□○●▶◆※·☞]|\(?\d{1,3}[.)]|\(?[가-하][.)]|\[|【|<)")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text."""

    start: int
    end: int


def split_sentences(text: str) -> list[Span]:
    """Return the sentences in order; white space around them belongs to none."""
    spans: list[Span] = []
    start = 0
    for match in _END.finditer(text):
        if match["stop"] is not None:
            if not _is_stop(text, start, match):
                continue
            end = match.end()
        else:
            if not _is_break(text, match):
                continue
            end = match.start()
        _add(spans, text, start, end)
        start = match.end()
    _add(spans, text, start, len(text))
    return spans


def clip(text: str, span: Span, chars_max: int, focus: Span) -> Span:
    """Shorten a span to `chars_max` characters around `focus`, at white space where there is some."""
    if span.end - span.start <= chars_max:
        return span
    room = chars_max - (focus.end - focus.start)
    start = max(span.start, focus.start - room // 2)
    end = min(span.end, start + chars_max)
    start = max(span.start, end - chars_max)
    if start > span.start:
        gap = re.search(r"\s", text[start : focus.start])
        start += gap.end() if gap else 0
    if end < span.end:
        gaps = list(re.finditer(r"\s", text[focus.end : end]))
        end = focus.end + gaps[-1].start() if gaps else end
    while start < end and unicodedata.combining(text[start]):
        start += 1
    return Span(start, end)


def _is_stop(text: str, start: int, match: re.Match[str]) -> bool:
    mark = match.start()
    if text[mark] != ".":
        return True
    if _ABBREVIATION.search(text[max(start, mark - 12) : mark + 1]):
        return False
    # "1. 개요" and "가. 사업" are numbers of a list; "2024. 3. 5." is a date.
    return not re.fullmatch(r"\s*\(?(?:\d{1,4}|[가-하])", text[start:mark]) and not re.search(
        r"\d{4}\.\s?(?:\d{1,2}(?:\.\s?\d{1,2})?)?$|\b\d{4}$", text[max(start, mark - 12) : mark]
    )


def _is_break(text: str, match: re.Match[str]) -> bool:
    gap = match["line"]
    if gap.replace("\r\n", "\n").replace("\r", "\n").count("\n") > 1:
        return True
    line_start = max(text.rfind("\n", 0, match.start()), text.rfind("\r", 0, match.start())) + 1
    if len(unicodedata.normalize("NFC", text[line_start : match.start()]).strip()) <= _HEADING_CHARS_MAX:
        return True
    return _BULLET.match(text, match.end()) is not None


def _add(spans: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    stripped = piece.strip()
    if stripped:
        begin = start + piece.index(stripped[0])
        spans.append(Span(begin, begin + len(stripped)))
