"""Holds the numbers of a claim against the numbers of its evidence.

A number is grounded when a source tells the same value in the same unit, or a more exact one that
rounds to it; or when it is a derived figure whose computation from the sources gives it. Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rkyc.steps.kyc.numbers import Quantity, find_quantities

# Rounding may not hide more than this share: "1조" does not stand for 1.4조.
_ROUNDING_SHARE_MAX = Decimal("0.05")
_RATIOS = frozenset({"%", "%p", "x"})


def find_ungrounded(claim: str, sources: Iterable[str], derived: Sequence[str] = ()) -> list[str]:
    """Return the numbers of the claim that no source holds, as they are written there.

    `derived` are texts of figures that were recomputed and hold; where they stand in the claim, their
    numbers count as grounded.
    """
    claim = unicodedata.normalize("NFC", claim)
    known = [
        quantity for source in sources for quantity in find_quantities(unicodedata.normalize("NFC", source))
    ]
    safe = _spans_of(claim, derived)
    missing = []
    for quantity in find_quantities(claim):
        if any(start <= quantity.start and quantity.digits_end <= end for start, end in safe):
            continue
        if not any(_tells_same(quantity, source) for source in known):
            missing.append(claim[quantity.start : quantity.end].strip())
    return missing


def _tells_same(claim: Quantity, source: Quantity) -> bool:
    if not _is_compatible(claim, source):
        return False
    gap = abs(claim.value - source.value)
    if gap == 0:
        return True
    return gap <= claim.step / 2 and gap <= abs(source.value) * _ROUNDING_SHARE_MAX


def _is_compatible(claim: Quantity, source: Quantity) -> bool:
    if claim.unit == source.unit or source.unit == "":
        return True
    # A bare number tells the same as a sum of money or a date, but not as a ratio.
    return claim.unit == "" and source.unit not in _RATIOS


def _spans_of(claim: str, texts: Sequence[str]) -> list[tuple[int, int]]:
    spans = []
    for text in texts:
        at = claim.find(text) if text else -1
        while at >= 0:
            spans.append((at, at + len(text)))
            at = claim.find(text, at + 1)
    return spans
