"""Risk signals → cards: every code in words, every piece of evidence with the id it opens at.

Signals are numbered from 1 through the kept ones, those below the cut and those that are gone; the number
names the card (`signal-3`), its evidence (`3a`, `3b`) and the citations of the insight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rkyc.report.evidence import Evidence, Sources, locate
from rkyc.report.labels import Labels
from rkyc.report.places import name_place
from rkyc.report.process import show_provider


@dataclass(frozen=True, slots=True)
class Operand:
    """An input of a calculated number: its pointer, its name in words, the id of the cell that shows it."""

    pointer: str
    name: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Derived:
    """A number of the text that was calculated: `387.2%`, how, and from what."""

    text: str
    formula: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A risk signal ready to show; codes are kept where the style sheet needs them.

    `target` is the id of the first evidence that was found: where the title leads.
    """

    number: int
    id: str
    anchor: str
    title: str
    summary: str
    severity: int
    severity_word: str
    direction: str
    direction_code: str
    change: str
    change_code: str
    facts: tuple[tuple[str, str], ...]
    needs_review: bool
    review_reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    derived: tuple[Derived, ...]
    target: str | None


def build_cards(
    raws: Iterable[dict[str, Any]], start: int, sources: Sources, provider: str
) -> tuple[Card, ...]:
    """Return a card per signal, numbered from `start`. `provider` is the one of signals that name none."""
    return tuple(_card(raw, number, sources, provider) for number, raw in enumerate(raws, start=start))


def _card(raw: dict[str, Any], number: int, sources: Sources, provider: str) -> Card:
    labels = sources.labels
    severity = min(max(int(raw.get("severity") or 1), 1), 5)
    evidence = tuple(
        locate(one, number, place, sources) for place, one in enumerate(raw.get("evidence") or [])
    )
    return Card(
        number=number,
        id=str(raw.get("id")),
        anchor=f"signal-{number}",
        title=str(raw.get("title") or ""),
        summary=str(raw.get("summary") or ""),
        severity=severity,
        severity_word=labels.value("severity", severity),
        direction=labels.value("direction", raw.get("direction")),
        direction_code=str(raw.get("direction") or "NEUTRAL"),
        change=labels.value("change", raw.get("change")),
        change_code=str(raw.get("change") or ""),
        facts=_facts(raw, labels, provider),
        needs_review=bool(raw.get("needs_review")),
        review_reasons=tuple(labels.value("review_reason", one) for one in raw.get("review_reasons") or ()),
        evidence=evidence,
        derived=tuple(_derived(one, sources) for one in raw.get("derived") or ()),
        target=next((one.target for one in evidence if one.is_found and one.target), None),
    )


def _facts(raw: dict[str, Any], labels: Labels, provider: str) -> tuple[tuple[str, str], ...]:
    source = raw.get("provider") or ("rules" if raw.get("rule_id") else provider)
    facts = [
        ("category", labels.value("category", raw.get("category"))),
        ("event_type", labels.value("event_type", raw.get("event_type"))),
        ("signal_type", labels.value("signal_type", raw.get("signal_type"))),
        ("probability", labels.value("level", raw.get("probability"))),
        ("confidence", labels.value("level", raw.get("confidence"))),
        ("strength", labels.value("level", raw.get("strength"))),
        ("status", labels.value("review_status", raw.get("status"))),
        ("provider", show_provider(source, labels)),
    ]
    if raw.get("rule_id"):
        facts.insert(0, ("rule", str(raw["rule_id"])))
    return tuple((labels.text(key), value) for key, value in facts)


def _derived(raw: dict[str, Any], sources: Sources) -> Derived:
    labels = sources.labels
    operands = tuple(
        Operand(one, name_place(one, sources.snapshot, labels) or one, sources.cells.get(one))
        for one in map(str, raw.get("operands") or ())
    )
    return Derived(str(raw.get("text") or ""), labels.value("formula", raw.get("formula")), operands)
