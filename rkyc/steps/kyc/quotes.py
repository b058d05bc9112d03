"""Finds a quote in a stored text and says how sure that is.

The ladder: EXACT (the same code points), NORMALISED (the same words after Unicode composition and
without regard to white space, zero-width characters and the shape of quotation marks), FUZZY (at
least 95 % alike). Offsets are code points of the stored text, always; a found quote is stored in
the source's own words. A match never cuts a syllable that is written as several code points, and
never a number: "1,200" is not found in "31,200". Pure; a quote that is nowhere is None.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

SIMILARITY_MIN = 0.95
QUOTE_CHARS_MAX = 400
# A piece of a quote can occur very often in a long table; beyond this the quote says too little.
_CANDIDATES_MAX = 64

_ZERO_WIDTH = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")
_FOLD = str.maketrans(
    {
        "“": '"',
        "”": '"',
        "„": '"',
        "«": '"',
        "»": '"',
        "‘": "'",
        "’": "'",
        "‚": "'",
        "–": "-",
        "—": "-",
        "−": "-",
        "‐": "-",
        "‑": "-",
        "…": "...",
        "·": "ㆍ",
        "・": "ㆍ",
    }
)


@dataclass(frozen=True, slots=True)
class QuoteMatch:
    """Where a quote stands: `text[char_start:char_end] == quote`, offsets in code points."""

    check: Literal["EXACT", "NORMALISED", "FUZZY"]
    char_start: int
    char_end: int
    quote: str
    similarity: float


def find_quote(text: str, quote: str) -> QuoteMatch | None:
    """Return the first place where the stored text holds the quote, or None."""
    quote = quote.strip()
    if not quote or not text:
        return None
    start = _find_exact(text, quote)
    if start is not None:
        return QuoteMatch("EXACT", start, start + len(quote), quote, 1.0)
    source, wanted = _Folded(text), _Folded(quote).chars
    if not wanted:
        return None
    found = _find_normalised(source, wanted)
    if found is not None:
        return _match(text, source, "NORMALISED", *found, 1.0)
    alike = _find_fuzzy(source.chars, wanted)
    if alike is None:
        return None
    begin, end, similarity = alike
    if _digits(source.chars[begin:end]) != _digits(wanted) or _cuts_number(source.chars, begin, end):
        return None
    return _match(text, source, "FUZZY", begin, end, similarity)


def _find_exact(text: str, quote: str) -> int | None:
    start = text.find(quote)
    while start >= 0:
        end = start + len(quote)
        if not (_cuts_number(text, start, end) or _joins_previous(text, start) or _joins_previous(text, end)):
            return start
        start = text.find(quote, start + 1)
    return None


class _Folded:
    """A text in the form in which quotes are compared, with the way back.

    `starts[i]`, `ends[i]`: the span of the original text that gave character i.
    """

    __slots__ = ("chars", "ends", "starts")

    def __init__(self, text: str) -> None:
        chars: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        for begin, end in _clusters(text):
            for char in unicodedata.normalize("NFC", text[begin:end]).translate(_FOLD):
                if char in _ZERO_WIDTH:
                    continue
                if char.isspace() and chars and chars[-1] == " ":
                    continue
                chars.append(" " if char.isspace() else char)
                starts.append(begin)
                ends.append(end)
        # A space between two Latin words or two numbers tells them apart; between Hangul it varies
        # from writer to writer, and a line break of a PDF may fall inside a word.
        keep = [i for i in range(len(chars)) if chars[i] != " " or _parts_words(chars, i)]
        self.chars = "".join(chars[i] for i in keep)
        self.starts = [starts[i] for i in keep]
        self.ends = [ends[i] for i in keep]


def _parts_words(chars: list[str], i: int) -> bool:
    if i == 0 or i + 1 == len(chars):
        return False
    return all(c.isalnum() and ord(c) < 0x1100 for c in (chars[i - 1], chars[i + 1]))


def _clusters(text: str) -> list[tuple[int, int]]:
    """Split into runs of code points that compose with one another."""
    edges = [i for i in range(len(text)) if not _joins_previous(text, i)]
    return list(zip(edges, [*edges[1:], len(text)], strict=True))


def _joins_previous(text: str, i: int) -> bool:
    """Say whether the character at i joins the one before it: a mark, a Hangul vowel or final."""
    if i <= 0 or i >= len(text):
        return False
    char = text[i]
    if char < "\u0300":
        return False
    if "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7fb":
        return "\u1100" <= text[i - 1] <= "\u11ff" or "\uac00" <= text[i - 1] <= "\ud7fb"
    return unicodedata.combining(char) != 0 or "\ufe00" <= char <= "\ufe0f"


def _find_normalised(source: _Folded, wanted: str) -> tuple[int, int] | None:
    start = source.chars.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        if not _cuts_number(source.chars, start, end):
            return start, end
        start = source.chars.find(wanted, start + 1)
    return None


def _find_fuzzy(chars: str, wanted: str) -> tuple[int, int, float] | None:
    """Return (start, end, similarity) of the best place with at most 5 % of edits, or None.

    With d edits allowed, one of d + 1 pieces of the quote stands in the text unchanged: looking the
    pieces up finds every candidate.
    """
    edits_max = int(len(wanted) * (1 - SIMILARITY_MIN))
    if edits_max == 0:
        return None
    best: tuple[int, int, int] | None = None
    for origin in _origins(chars, wanted, edits_max + 1):
        window_start = max(0, origin - edits_max)
        window = chars[window_start : origin + len(wanted) + edits_max]
        found = _align(window, wanted, edits_max)
        if found is not None and (best is None or found[2] < best[2]):
            best = (window_start + found[0], window_start + found[1], found[2])
    if best is None:
        return None
    return best[0], best[1], 1 - best[2] / len(wanted)


def _origins(chars: str, wanted: str, pieces: int) -> list[int]:
    """Return where the quote may begin, judged by its pieces, without near repeats."""
    size = len(wanted) // pieces
    origins: list[int] = []
    for number in range(pieces):
        offset = number * size
        piece = wanted[offset : offset + size]
        at = chars.find(piece)
        while at >= 0 and len(origins) < _CANDIDATES_MAX:
            origin = max(0, at - offset)
            if all(abs(origin - other) > 1 for other in origins):
                origins.append(origin)
            at = chars.find(piece, at + 1)
    return sorted(origins)


def _align(window: str, wanted: str, edits_max: int) -> tuple[int, int, int] | None:
    """Return (start, end, edits) of the cheapest place of `wanted` in the window, within the band."""
    far = edits_max + 1
    # cost[j], begin[j]: cheapest edits of the quote's prefix that ends before window[j], and its start.
    cost = [0] * (len(window) + 1)
    begin = list(range(len(window) + 1))
    for i, char in enumerate(wanted, 1):
        low, high = max(1, i - edits_max), min(len(window), i + 3 * edits_max)
        next_cost, next_begin = [far] * (len(window) + 1), begin[:]
        if low == 1:
            next_cost[0], next_begin[0] = i, 0
        for j in range(low, high + 1):
            options = (
                (cost[j - 1] + (window[j - 1] != char), begin[j - 1]),
                (cost[j] + 1, begin[j]),
                (next_cost[j - 1] + 1, next_begin[j - 1]),
            )
            next_cost[j], next_begin[j] = min(options, key=lambda option: option[0])
        cost, begin = next_cost, next_begin
    end = min(range(len(cost)), key=cost.__getitem__)
    if cost[end] > edits_max or begin[end] >= end:
        return None
    return begin[end], end, cost[end]


def _match(
    text: str, source: _Folded, check: Literal["NORMALISED", "FUZZY"], begin: int, end: int, similarity: float
) -> QuoteMatch:
    char_start, char_end = source.starts[begin], source.ends[end - 1]
    return QuoteMatch(check, char_start, char_end, text[char_start:char_end], similarity)


def _cuts_number(chars: str, start: int, end: int) -> bool:
    return _is_inside_number(chars, start) or _is_inside_number(chars, end)


def _is_inside_number(chars: str, at: int) -> bool:
    """Say whether a cut before `at` falls inside one number: 12|3, 1,|200, 3|.5."""
    if at <= 0 or at >= len(chars):
        return False
    left, right = chars[at - 1], chars[at]
    if left.isdigit() and right.isdigit():
        return True
    if left in ".," and right.isdigit():
        return at >= 2 and chars[at - 2].isdigit()
    return left.isdigit() and right in ".," and at + 1 < len(chars) and chars[at + 1].isdigit()


def _digits(chars: str) -> str:
    return "".join(char for char in chars if char.isdigit())
