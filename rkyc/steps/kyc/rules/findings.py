"""From what a rule found to a draft: the highest band, its words, its evidence, its computed numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from rkyc.steps.kyc.rules.catalogue import RULES
from rkyc.steps.kyc.rules.derive import compute, round_half_up
from rkyc.steps.kyc.rules.facts import Facts
from rkyc.steps.kyc.rules.wording import TEXTS
from rkyc.steps.kyc.schemas import (
    EVIDENCE_MAX,
    QUOTE_CHARS_MAX,
    SUMMARY_CHARS_MAX,
    TITLE_CHARS_MAX,
    DerivedFigure,
    EvidenceRef,
    RiskSignalDraft,
)
from rkyc.steps.kyc.vocabulary import EvidenceType, Level, RefType, SignalType

Lang = Literal["ko", "en"]
Formula = Literal[
    "value",
    "ratio_pct",
    "change_pct",
    "difference",
    "sum",
    "share_pct",
    "multiple",
    "days_between",
    "mean_pct",
]


@dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: str | None


@dataclass(frozen=True, slots=True)
class Computed:
    """A number that a text shows and that follows from its operands; `style` is how it is written."""

    formula: Formula
    operands: tuple[str, ...]
    style: Literal["pct", "signed_pct", "multiple", "plain", "money"] = "pct"
    currency: str | None = None


Word = str | int | Decimal | date | Money | Computed


@dataclass(frozen=True, slots=True)
class Finding:
    """A band of a rule that holds. `evidence` are pointers into the present snapshot, the main one first.

    `words` fill the template of `variant`, by default the band's own.
    """

    rule_id: str
    band: str
    evidence: tuple[str, ...]
    words: dict[str, Word]
    period: str | None = None
    variant: str | None = None
    extra_evidence: tuple[str, ...] = field(default=())


def highest(findings: Iterable[Finding]) -> list[Finding]:
    """Keep the gravest finding; of equals the first. An empty list stays empty."""
    ranked = list(findings)
    return [max(ranked, key=lambda found: RULES[found.rule_id].band(found.band).rank)] if ranked else []


def draft_finding(found: Finding, facts: Facts, lang: Lang) -> RiskSignalDraft | None:
    """Write the draft; None when a value that it would show has no text (never guessed)."""
    rule = RULES[found.rule_id]
    band = rule.band(found.band)
    evidence = _cite((*found.evidence, *found.extra_evidence), facts)
    shown: dict[str, str] = {}
    derived: list[DerivedFigure] = []
    for name, word in found.words.items():
        text = _show_word(word, facts, lang)
        if text is None:
            return None
        shown[name] = text
        if isinstance(word, Computed):
            derived.append(DerivedFigure(text=text, formula=word.formula, operands=list(word.operands)))
    if not evidence:
        return None
    title, summary = TEXTS[lang][found.rule_id, found.variant or found.band]
    return RiskSignalDraft(
        signal_type=SignalType.DIRECT,
        event_type=rule.event_type,
        category=rule.category,
        title=_clip(title.format(**shown), TITLE_CHARS_MAX),
        summary=_clip(summary.format(**shown), SUMMARY_CHARS_MAX),
        direction=rule.direction,
        strength=band.strength,
        confidence=Level.HIGH,
        severity=band.severity,
        probability=band.probability,
        evidence=evidence,
        rule_id=rule.rule_id,
        period=found.period,
        derived=derived,
    )


def _cite(pointers: Sequence[str], facts: Facts) -> list[EvidenceRef]:
    found = []
    for pointer in dict.fromkeys(pointers):
        quote = facts.quote(pointer)
        if quote:
            found.append(
                EvidenceRef(
                    evidence_type=EvidenceType.INTERNAL_FIELD,
                    ref_type=RefType.SNAPSHOT_KEYPATH,
                    ref=pointer,
                    quote=quote[:QUOTE_CHARS_MAX],
                    source_file=facts.source_file(pointer),
                )
            )
    return found[:EVIDENCE_MAX]


def _show_word(word: Word, facts: Facts, lang: Lang) -> str | None:
    if isinstance(word, Computed):
        exact = compute(_as_figure(word), facts.doc, facts.previous, facts.as_of)
        return None if exact is None else _show_computed(word, exact, lang)
    if isinstance(word, Money):
        return show_money(word.amount, word.currency, lang)
    if isinstance(word, date):
        return word.isoformat()
    if isinstance(word, Decimal):
        return show_number(word)
    return str(word)


def _show_computed(word: Computed, exact: Decimal, lang: Lang) -> str:
    match word.style:
        case "pct":
            return f"{show_number(round_half_up(exact, 1))}%"
        case "signed_pct":
            rounded = round_half_up(exact, 1)
            return f"{'+' if rounded > 0 else ''}{show_number(rounded)}%"
        case "multiple":
            return show_number(round_half_up(exact, 2))
        case "plain":
            return show_number(exact)
        case "money":
            return show_money(exact, word.currency, lang)


def show_number(number: Decimal) -> str:
    """Write a number exactly, with thousands marks and without idle zeros: `-1,234.5`."""
    text = f"{number:,f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def show_money(amount: Decimal, currency: str | None, lang: Lang) -> str:
    """Write an amount exactly, in full units of its currency."""
    number = show_number(amount)
    if currency is None:
        return number
    if lang == "ko":
        return f"{number}원" if currency == "KRW" else f"{number} {currency}"
    return f"{currency} {number}"


def _as_figure(word: Computed) -> DerivedFigure:
    return DerivedFigure(text="?", formula=word.formula, operands=list(word.operands))


def _clip(text: str, chars_max: int) -> str:
    """Cut at a space, so that no number is cut in two."""
    if len(text) <= chars_max:
        return text
    head, _, _ = text[:chars_max].rpartition(" ")
    return (head or text[: chars_max - 1])[: chars_max - 1] + "…"
