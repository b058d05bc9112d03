"""How alike two short texts are, by their runs of characters: 0 nothing shared, 1 equal.

Deterministic and local, so that INTERNAL text is compared without leaving the process. It sees copies
and light edits, not paraphrases.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter

_RUN_CHARS = 3


def compare(left: str, right: str) -> float:
    """Return the cosine of the counts of character triples."""
    a, b = _count(left), _count(right)
    if not a or not b:
        return 0.0
    dot = sum(count * b[run] for run, count in a.items())
    return dot / math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))


def _count(text: str) -> Counter[str]:
    chars = "".join(char for char in unicodedata.normalize("NFC", text).casefold() if char.isalnum())
    return Counter(chars[i : i + _RUN_CHARS] for i in range(max(0, len(chars) - _RUN_CHARS + 1)))
