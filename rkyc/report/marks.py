"""Source text → HTML with a `<mark>` around every quote, and not one character changed.

The text content of the marks named `data-quote="X"` joined together is exactly quote X: offsets count
code points, line ends and invisible characters stay in the text. Quotes may nest, cross and coincide;
one that crosses another is split into several marks of the same name, the first of which has the id.
What a reader could not see (carriage returns, zero-width and bidirectional characters) is made visible
by generated content, which is not part of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

# What HTML can't carry: NUL, lone surrogates, other controls but tab and line ends.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_INVISIBLE = re.compile(
    # A joiner beside an emoji (or its selector) is part of the emoji and stays unmarked.
    "\r|[\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
    "|(?<![\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d"
)


@dataclass(frozen=True, slots=True)
class Span:
    """A quote's place: `anchor` is its id in the page, `label` what is shown; offsets in code points."""

    anchor: str
    label: str
    start: int
    end: int


def clean(text: str) -> str:
    """Replace each character that HTML can't carry by U+FFFD: one for one, so offsets still hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def mark_text(text: str, spans: Sequence[Span]) -> str:
    """Return `text` as HTML with the spans marked. Every span must be non-empty and within the text."""
    ordered = sorted(spans, key=lambda span: (span.start, -span.end))
    edges = sorted({0, len(text), *(span.start for span in spans), *(span.end for span in spans)})
    pieces: list[str] = []
    opened: list[Span] = []
    named: set[str] = set()
    for here, there in pairwise(edges):
        pieces.append(_close(opened, here, named))
        for span in ordered:
            if span.start == here:
                opened.append(span)
                pieces.append(_open_tag(span, named))
        pieces.append(escape_visible(text[here:there]))
    pieces.append("</mark>" * len(opened))
    return "".join(pieces)


def split_anchors(spans: Iterable[Span]) -> list[str]:
    """Return the anchors of the spans that `mark_text` may render as more than one mark."""
    every = list(spans)
    return [one.anchor for one in every if any(_crosses(one, other) for other in every)]


def escape_visible(text: str) -> str:
    """Escape for HTML; wrap what is invisible so that the style sheet can show it."""
    return _INVISIBLE.sub(_show, escape(clean(text)))


def _close(opened: list[Span], here: int, named: set[str]) -> str:
    """Close the spans that end here, and those opened after them; reopen the latter that go on."""
    ended = [index for index, span in enumerate(opened) if span.end <= here]
    if not ended:
        return ""
    tail = opened[ended[0] :]
    del opened[ended[0] :]
    pieces = ["</mark>" * len(tail)]
    for span in tail:
        if span.end > here:
            opened.append(span)
            pieces.append(_open_tag(span, named))
    return "".join(pieces)


def _open_tag(span: Span, named: set[str]) -> str:
    if span.anchor in named:
        return f'<mark data-quote="{span.anchor}">'
    named.add(span.anchor)
    return f'<mark id="{span.anchor}" data-quote="{span.anchor}" data-label="{escape(span.label)}" tabindex="-1">'


def _crosses(one: Span, other: Span) -> bool:
    return other.start < one.start < other.end < one.end


def _show(match: re.Match[str]) -> str:
    char = match[0]
    if char == "\r":
        # As a reference: a parser turns a raw CR LF into LF. Shown only where no LF follows.
        followed = match.string[match.end() : match.end() + 1] == "\n"
        return '<span class="cr">&#13;</span>' if followed else '<span class="cr lone">&#13;</span>'
    return f'<span class="unseen" data-code="U+{ord(char):04X}">{char}</span>'
