"""The short form of a result: the worst risk signals, and a few lines for a terminal.

Plain strings, no styling. Texts of documents and news are untrusted, so whatever could steer a
terminal (escape sequences, bidirectional overrides, line breaks) is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rkyc.report.figures import group_digits
from rkyc.report.labels import Labels
from rkyc.report.types import Lang

_QUOTE_CHARS_MAX = 160
_RANK = {"HIGH": 3, "MED": 2, "LOW": 1}
# C0 and C1 controls, bidirectional controls, line and paragraph separators.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


def worst_signals(result: dict[str, Any], n: int = 3) -> list[dict[str, Any]]:
    """Return at most `n` signals that point to a risk, worst first.

    The order is severity, then probability, then confidence; equals stay in the result's order.
    """
    risks = [one for one in result.get("signals") or [] if one.get("direction") == "RISK"]
    return sorted(risks, key=_badness, reverse=True)[:n]


def render_summary(result: dict[str, Any], lang: Lang = "ko", n: int = 3) -> str:
    """Return the end of an analysis in a few lines: company, stance, counts, worst signals with quotes."""
    labels = Labels(lang)
    return "\n".join(_summary_lines(result, labels, n)) + "\n"


def _badness(signal: dict[str, Any]) -> tuple[int, int, int]:
    return (
        int(signal.get("severity") or 0),
        _RANK.get(str(signal.get("probability")), 0),
        _RANK.get(str(signal.get("confidence")), 0),
    )


def _summary_lines(result: dict[str, Any], labels: Labels, n: int) -> Iterator[str]:
    insight = result.get("insight") or {}
    name = _one_line((result.get("corp") or {}).get("name"))
    if insight:
        yield f"{name}: {labels.value('stance', insight.get('stance'))}. {_one_line(insight.get('headline'))}"
    else:
        yield f"{name}: {labels.value('job_status', result.get('status'))}"
    if result.get("status") == "failed":
        yield from _failure_lines(result, labels)
    elif result.get("partial"):
        yield labels.text("partial")
    signals = result.get("signals") or []
    if not signals:
        if result.get("status") == "completed":
            yield labels.text("signals_none")
        return
    fresh = sum(1 for one in signals if one.get("change") in ("NEW", "CHANGED"))
    yield f"{labels.text('signals_count')}: {labels.text('signals_new', all=len(signals), fresh=fresh)}"
    for number, signal in enumerate(worst_signals(result, n), start=1):
        yield from _signal_lines(number, signal, labels)


def _failure_lines(result: dict[str, Any], labels: Labels) -> Iterator[str]:
    error = result.get("error") or {}
    if error:
        yield f"{labels.text('failed')}: {_one_line(error.get('code'))} {_one_line(error.get('message'))}"
    else:
        yield f"{labels.text('failed')}. {labels.text('failed_unknown')}"


def _signal_lines(number: int, signal: dict[str, Any], labels: Labels) -> Iterator[str]:
    severity = int(signal.get("severity") or 0)
    word = labels.value("severity", severity)
    rule = f" ({_one_line(signal['rule_id'])})" if signal.get("rule_id") else ""
    yield f"{number}. [{severity} {word}] {_one_line(signal.get('title'))}{rule}"
    for evidence in (signal.get("evidence") or [])[:1]:
        yield f"   {_said(evidence, labels)} — {_one_line(evidence.get('ref'))}"


def _said(evidence: dict[str, Any], labels: Labels) -> str:
    quote = _shorten(_one_line(evidence.get("quote")))
    if evidence.get("ref_type") != "SNAPSHOT_KEYPATH":
        return f"“{quote}”"
    place = labels.place(str(evidence.get("ref")))
    return f"{place} {group_digits(quote)}" if place else quote


def _shorten(text: str) -> str:
    return text if len(text) <= _QUOTE_CHARS_MAX else text[: _QUOTE_CHARS_MAX - 1] + "…"


def _one_line(value: object) -> str:
    return _STEERING.sub(" ", "" if value is None else str(value)).strip()
