"""Numbers that a rule computes from inputs: one arithmetic for writing them and for checking them.

A rule shows a computed number (`413%`) together with its operands. Validation computes it again from
the snapshot by `is_grounded`, so that no number stands in a text that does not follow from the input.
Operands are pointers into the snapshot, `previous:` and a pointer into the earlier one, or `as_of`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from rkyc.steps.kyc.pointers import MISSING, read_number, resolve
from rkyc.steps.kyc.schemas import DerivedFigure

PREVIOUS = "previous:"
AS_OF = "as_of"
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_HUNDRED = Decimal(100)
# Amounts of any size are summed and shown exactly; 28, the default, are too few for absurd input.
_DIGITS = 200


def divide_pct(numbers: Sequence[Decimal]) -> Decimal | None:
    """100 · first / second; None where the second is zero."""
    return None if numbers[1] == 0 else _HUNDRED * numbers[0] / numbers[1]


def divide(numbers: Sequence[Decimal]) -> Decimal | None:
    """First / second; None where the second is zero."""
    return None if numbers[1] == 0 else numbers[0] / numbers[1]


def change_pct(numbers: Sequence[Decimal]) -> Decimal | None:
    """The way from the second to the first, in per cent of the second's size."""
    return None if numbers[1] == 0 else _HUNDRED * (numbers[0] - numbers[1]) / abs(numbers[1])


def share_pct(numbers: Sequence[Decimal]) -> Decimal | None:
    """All but the last, summed, in per cent of the last."""
    return divide_pct((sum(numbers[:-1], Decimal(0)), numbers[-1]))


def mean_pct(numbers: Sequence[Decimal]) -> Decimal | None:
    """The first in per cent of the mean of the others."""
    return divide_pct((numbers[0] * (len(numbers) - 1), sum(numbers[1:], Decimal(0))))


_FORMULAS: dict[str, Callable[[Sequence[Decimal]], Decimal | None]] = {
    "value": lambda numbers: numbers[0],
    "ratio_pct": divide_pct,
    "change_pct": change_pct,
    "share_pct": share_pct,
    "mean_pct": mean_pct,
    "multiple": divide,
    "difference": lambda numbers: numbers[0] - numbers[1],
    "sum": lambda numbers: sum(numbers, Decimal(0)),
}
_OPERANDS_MIN = {"value": 1, "sum": 1}


def compute(figure: DerivedFigure, doc: Any, previous: Any, as_of: date) -> Decimal | None:
    """Return the exact value of a computed figure, or None when an operand is not there."""
    if figure.formula == "days_between":
        days = [_read_date(operand, doc, previous, as_of) for operand in figure.operands]
        if len(days) != 2 or days[0] is None or days[1] is None:
            return None
        return Decimal((days[1] - days[0]).days)
    numbers = [_read(operand, doc, previous) for operand in figure.operands]
    known = [number for number in numbers if number is not None]
    if len(known) < max(len(numbers), _OPERANDS_MIN.get(figure.formula, 2)):
        return None
    with localcontext(prec=_DIGITS):
        return _FORMULAS[figure.formula](known)


def is_grounded(figure: DerivedFigure, doc: Any, previous: Any, as_of: date) -> bool:
    """Tell whether the number in `figure.text` is what its operands give, at the decimals shown.

    A change that is told in words ("fell by 17.3%") may leave the sign out.
    """
    match = _NUMBER.search(figure.text)
    exact = compute(figure, doc, previous, as_of)
    if match is None or exact is None:
        return False
    shown = Decimal(match[0].replace(",", ""))
    _, _, decimals = match[0].partition(".")
    rounded = round_half_up(exact, len(decimals))
    return shown == rounded or (figure.formula == "change_pct" and shown == abs(rounded))


def round_half_up(number: Decimal, decimals: int) -> Decimal:
    """Round as people do: half away from zero."""
    with localcontext(prec=_DIGITS):
        return number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


def _read(operand: str, doc: Any, previous: Any) -> Decimal | None:
    if operand.startswith(PREVIOUS):
        return read_number(previous, operand.removeprefix(PREVIOUS))
    return read_number(doc, operand)


def _read_date(operand: str, doc: Any, previous: Any, as_of: date) -> date | None:
    if operand == AS_OF:
        return as_of
    source = previous if operand.startswith(PREVIOUS) else doc
    value = resolve(source, operand.removeprefix(PREVIOUS))
    if value is MISSING or not isinstance(value, str):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None
