"""The short form of a result: the worst risk signals, and a few lines for a terminal.

Plain strings, no styling. Texts of documents and news are untrusted, so whatever could steer a
terminal (escape sequences, bidirectional overrides, line breaks) is taken out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rkyc.report.labels import Labels
from rkyc.report.places import name_place, show_value
from rkyc.report.process import WarningRow, list_warnings
from rkyc.report.types import ReportInput

_QUOTE_CHARS_MAX = 160
_QUOTES_MAX = 2  # Of one signal.
_WARNINGS_MAX = 5
_RANK = {"HIGH": 3, "MED": 2, "LOW": 1}
_CHANGES = ("NEW", "CHANGED", "UNCHANGED", "GONE")
# C0 and C1 controls, bidirectional controls, line and paragraph separators.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


def worst_signals(result: dict[str, Any], n: int = 3) -> list[dict[str, Any]]:
    """Return at most `n` signals of the whole run that point to a risk, worst first.

    The order is severity, then confidence, then probability; equals stay in the result's order. Signals
    below the cut count too: one of high severity may lie there for its low confidence.
    """
    risks = [one for one in _list_signals(result) if one.get("direction") == "RISK"]
    return sorted(risks, key=_badness, reverse=True)[:n]


def name_company(report: ReportInput) -> tuple[str, str]:
    """Return the company's name in the report's language, and its other name or an empty text."""
    name = str((report.result.get("corp") or {}).get("name") or "")
    english = str((report.snapshot.get("corp") or {}).get("name_en") or name)
    first, other = (english, name) if report.lang == "en" else (name, english)
    return first, other if other != first else ""


def count_directions(result: dict[str, Any], labels: Labels) -> str:
    """Return how many signals of the run point to a risk, and how many do not."""
    signals = _list_signals(result)
    risks = sum(1 for one in signals if one.get("direction") == "RISK")
    return labels.text("signals_by_direction", risks=risks, others=len(signals) - risks)


def count_changes(result: dict[str, Any], labels: Labels) -> str:
    """Return how the signals stand to the last run, `신규 2 · 유지 20 · 사라짐 1`; empty where there is none."""
    counts = Counter(str(one.get("change")) for one in (*_list_signals(result), *(result.get("gone") or ())))
    return " · ".join(
        labels.text("change_count", word=labels.value("change", change).lower(), count=counts[change])
        for change in _CHANGES
        if counts[change]
    )


def render_summary(report: ReportInput, n: int = 3) -> str:
    """Return the end of an analysis in a few lines: company, stance, counts, worst signals with quotes."""
    return "\n".join(_summary_lines(report, Labels(report.lang), n)) + "\n"


def _list_signals(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(result.get("signals") or ()), *(result.get("below_cut") or ())]


def _badness(signal: dict[str, Any]) -> tuple[int, int, int]:
    return (
        int(signal.get("severity") or 0),
        _RANK.get(str(signal.get("confidence")), 0),
        _RANK.get(str(signal.get("probability")), 0),
    )


def _summary_lines(report: ReportInput, labels: Labels, n: int) -> Iterator[str]:
    result = report.result
    insight = result.get("insight") or {}
    name = _one_line(name_company(report)[0])
    if insight:
        yield f"{name}: {labels.value('stance', insight.get('stance'))}. {_one_line(insight.get('headline'))}"
    else:
        yield f"{name}: {labels.value('job_status', result.get('status'))}"
    if result.get("status") == "failed":
        yield from _failure_lines(result, labels)
    elif result.get("partial"):
        yield from _partial_lines(result, labels)
    if not _list_signals(result):
        if result.get("status") == "completed":
            yield labels.text("signals_none")
        return
    yield f"{labels.text('signals_count')}: {count_directions(result, labels)} ({count_changes(result, labels)})"
    worst = worst_signals(result, n)
    for number, signal in enumerate(worst, start=1):
        yield from _signal_lines(number, signal, report, labels)
    if not worst:
        yield labels.text("worst_none")


def _failure_lines(result: dict[str, Any], labels: Labels) -> Iterator[str]:
    error = result.get("error") or {}
    if error:
        yield f"{labels.text('failed')}: {_one_line(error.get('code'))} {_one_line(error.get('message'))}"
    else:
        yield f"{labels.text('failed')}. {labels.text('failed_unknown')}"


def _partial_lines(result: dict[str, Any], labels: Labels) -> Iterator[str]:
    yield f"{labels.text('partial_title')}:"
    warnings = list_warnings(result, labels)
    for warning in warnings[:_WARNINGS_MAX]:
        yield f"   {_one_line(warning.where)}: {_describe(warning)}"
    if len(warnings) > _WARNINGS_MAX:
        yield f"   … {len(warnings) - _WARNINGS_MAX}"


def _describe(warning: WarningRow) -> str:
    said = " ".join(part for part in (warning.what, warning.todo) if part)
    return said or f"{_one_line(warning.message)} ({_one_line(warning.code)})"


def _signal_lines(number: int, signal: dict[str, Any], report: ReportInput, labels: Labels) -> Iterator[str]:
    severity = int(signal.get("severity") or 0)
    word = labels.value("severity", severity)
    rule = f" ({_one_line(signal['rule_id'])})" if signal.get("rule_id") else ""
    yield f"{number}. [{severity} {word}] {_one_line(signal.get('title'))}{rule}"
    for evidence in (signal.get("evidence") or [])[:_QUOTES_MAX]:
        yield f"   {_said(evidence, report, labels)} — {_origin(evidence)}"


def _said(evidence: dict[str, Any], report: ReportInput, labels: Labels) -> str:
    ref, quote = str(evidence.get("ref")), _shorten(_one_line(evidence.get("quote")))
    if evidence.get("ref_type") != "SNAPSHOT_KEYPATH":
        return f"“{quote}”"
    shown = show_value(ref, quote, report.snapshot, labels)
    place = name_place(ref, report.snapshot, labels)
    said = f"{_one_line(place)} {shown.text}" if place else shown.text
    return f"{said} ({shown.note})" if shown.note else said


def _origin(evidence: dict[str, Any]) -> str:
    ref, file = _one_line(evidence.get("ref")), _one_line(evidence.get("source_file"))
    return f"{file} {ref}" if file and evidence.get("ref_type") == "SNAPSHOT_KEYPATH" else ref


def _shorten(text: str) -> str:
    return text if len(text) <= _QUOTE_CHARS_MAX else text[: _QUOTE_CHARS_MAX - 1] + "…"


def _one_line(value: object) -> str:
    return _STEERING.sub(" ", "" if value is None else str(value)).strip()
