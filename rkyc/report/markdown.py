"""A report as Markdown: the same content as the HTML in compact form, quotes as block quotes.

Data can't break the structure: every character that Markdown or HTML gives a meaning to is escaped,
line starts included, and only http(s) addresses become links. Line breaks survive in quotes alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rkyc.report.amounts import split_amounts
from rkyc.report.evidence import Evidence
from rkyc.report.labels import Labels
from rkyc.report.signals import Card
from rkyc.report.types import ReportInput
from rkyc.report.view import ReportView, build_view

_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~$#!]|:(?=//)|(?<=www)\.", re.IGNORECASE)
# What opens a block at the start of a line: a list item, a rule or heading underline, a table's rule.
_LINE_START = re.compile(r"^(?:(\d{1,9})(?=[.)](?:\s|$))|(?=[-+](?:\s|$)|[-=]+\s*$|:-))")
_LINE_END = re.compile(r"\r\n|[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Steering characters are named instead of sent on.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_URL_BREAKING = str.maketrans({"(": "%28", ")": "%29", "&": "&amp;"})


def render_markdown(report: ReportInput) -> str:
    """Return the whole document, ending in a line feed. The same input gives the same text."""
    view = build_view(report)
    parts = (
        _head(view),
        _insight(view),
        _signals(view),
        _below_and_dropped(view),
        _figures(view),
        _documents(view),
        _steps(view),
        _foot(view),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def escape_line(text: str) -> str:
    """Return text as one line of Markdown that renders as itself; line breaks become spaces."""
    line = _HIDDEN.sub(_name, _LINE_END.sub(" ", text).strip(" \t"))
    return _LINE_START.sub(r"\1\\", _SPECIAL.sub(r"\\\g<0>", line), count=1)


def escape_quote(text: str) -> list[str]:
    """Return text as the lines of a block quote; each line break of the text stays one."""
    lines = [escape_line(line) for line in _LINE_END.split(text)]
    # Two spaces at the end of a line keep its break.
    return [f"> {line}  " if line else ">" for line in lines[:-1]] + [f"> {lines[-1]}".rstrip()]


def _name(match: re.Match[str]) -> str:
    return f"(U+{ord(match[0]):04X})"


def _head(view: ReportView) -> Iterator[str]:
    header, labels = view.header, view.labels
    other = f" ({escape_line(header.other_name)})" if header.other_name else ""
    yield f"# {escape_line(header.corp)}{other}: {labels.text('report')}"
    yield ""
    yield f"- {labels.text('generated_at')}: {header.generated_at}"
    yield f"- {labels.text('job')}: {escape_line(header.job_id)}"
    yield f"- {labels.text('status')}: {escape_line(header.status)}"
    if header.stance_code:
        yield f"- {labels.text('stance')}: **{escape_line(header.stance)}**"
    for label, value in header.facts:
        yield f"- {label}: {escape_line(value)}"
    if view.notice.kind:
        yield ""
        yield f"**{view.notice.title}**"
        yield ""
        for line in view.notice.lines:
            yield f"- {escape_line(line)}"
        for warning in view.notice.warnings:
            todo = f"{labels.text('todo')}: {warning.todo}" if warning.todo else ""
            parts = (warning.where, warning.what, todo, warning.message, warning.code)
            yield "- " + " – ".join(escape_line(part) for part in parts if part)


def _insight(view: ReportView) -> Iterator[str]:
    labels = view.labels
    yield from ("", f"## {labels.text('insight')}", "")
    if view.insight is None:
        yield labels.text("insight_none" if view.is_complete else "not_reached")
        return
    if view.insight.is_held:
        yield from (labels.text("insight_held"), "")
    yield f"**{escape_line(view.insight.headline)}**"
    for title, sentences in view.insight.sections:
        yield from ("", f"### {escape_line(title)}", "")
        for sentence in sentences:
            marks = [f"\\[{escape_line(one.label)}\\]" for one in sentence.citations]
            cited = " ".join(marks) or f"({labels.text('sentence_uncited')})"
            yield f"- {_with_readings(sentence.text, labels)} {cited}"


def _signals(view: ReportView) -> Iterator[str]:
    labels = view.labels
    yield from ("", f"## {labels.text('signals_count')}")
    if not view.cards:
        yield from ("", labels.text("signals_none" if view.is_complete else "not_reached"))
        if view.is_complete:
            yield labels.text("signals_none_more")
        return
    if view.worst:
        yield from ("", f"### {labels.text('worst')}", "")
        for card in view.worst:
            yield f"- \\[{card.number}\\] **{escape_line(card.title)}** ({card.severity}/5 {card.severity_word})"
    yield from ("", f"### {labels.text('all_signals')}")
    for card in view.cards:
        yield from _card(card, labels)


def _card(card: Card, labels: Labels) -> Iterator[str]:
    yield from ("", f"#### {card.number}. {escape_line(card.title)}", "")
    chips = [f"**{card.severity}/5 {card.severity_word}**", card.direction]
    chips += [card.change] if card.change_code else []
    chips += [labels.text("needs_review")] if card.needs_review else []
    yield " · ".join([chips[0], *map(escape_line, chips[1:])])
    yield from ("", _with_readings(card.summary, labels), "")
    yield ", ".join(f"{label}: {escape_line(value)}" for label, value in card.facts)
    for reason in card.review_reasons:
        yield from ("", f"- {escape_line(reason)}")
    for one in card.evidence:
        yield from _evidence(one, labels)
    for derived in card.derived:
        operands = ", ".join(escape_line(one.name) for one in derived.operands)
        yield from (
            "",
            f"{labels.text('derived')}: {escape_line(derived.text)} = {derived.formula} ({operands})",
        )


def _evidence(one: Evidence, labels: Labels) -> Iterator[str]:
    yield ""
    shown = f"{one.shown} ({one.note})" if one.note else one.shown
    yield from escape_quote(f"{one.place} {shown}" if one.place else shown)
    yield ">"
    ref = f"[{escape_line(one.ref)}]({one.url.translate(_URL_BREAKING)})" if one.url else escape_line(one.ref)
    notes = [f"{one.label}: {escape_line(one.file)} {ref}" if one.file else f"{one.label}: {ref}"]
    notes += [labels.value("check", one.check)] if one.check else []
    notes += [labels.text("grade", grade=escape_line(one.grade))] if one.grade else []
    if not one.is_found:
        notes.append(f"**{labels.text('evidence_missing' if one.target else 'evidence_no_source')}**")
    yield "> — " + ", ".join(notes)


def _with_readings(text: str, labels: Labels) -> str:
    """Return a sentence with the round reading of each amount beside it."""
    pieces = split_amounts(text, labels)
    return escape_line("".join(f"{piece}({reading})" if reading else piece for piece, reading in pieces))


def _below_and_dropped(view: ReportView) -> Iterator[str]:
    labels = view.labels
    if view.below_cut:
        yield from ("", f"### {labels.text('below_cut', count=len(view.below_cut))}")
        for card in view.below_cut:
            yield from _card(card, labels)
    if view.gone:
        yield from ("", f"### {labels.text('gone', count=len(view.gone))}", "")
        for card in view.gone:
            yield f"- \\[{card.number}\\] **{escape_line(card.title)}** – {_with_readings(card.summary, labels)}"
    if view.dropped:
        yield from ("", f"### {labels.text('dropped', count=len(view.dropped))}", "")
        for one in view.dropped:
            detail = f" – {escape_line(one.detail)}" if one.detail else ""
            yield f"- {escape_line(one.title)}: {escape_line(one.reason)} ({escape_line(one.code)}){detail}"


def _figures(view: ReportView) -> Iterator[str]:
    labels = view.labels
    yield from ("", f"## {labels.text('figures')}", "")
    if not view.table.rows:
        yield labels.text("figures_none" if view.is_complete else "not_reached")
    else:
        head = [labels.text("account"), labels.text("currency"), *view.table.periods]
        rows = [[row.label, row.currency, *(cell.text for cell in row.cells)] for row in view.table.rows]
        yield from _table(head, rows, numbers_from=2)
    if view.values:
        yield from ("", f"### {labels.text('values')}", "")
        yield from _table(
            [labels.text(key) for key in ("item", "value", "pointer", "quoted_by")],
            (
                [
                    one.name or "–",
                    f"{one.value} ({one.note})" if one.note else one.value,
                    one.pointer,
                    " ".join(link.label for link in one.quoted_by) or labels.text("cited_insight"),
                ]
                for one in view.values
            ),
        )


def _documents(view: ReportView) -> Iterator[str]:
    labels = view.labels
    yield from ("", f"## {labels.text('documents')}", "")
    if not view.documents:
        yield labels.text("documents_none" if view.is_complete else "not_reached")
        return
    head = [labels.text(key) for key in ("document", "status", "pages", "ocr_pages", "notes")]
    rows = ([one.name, one.status, one.pages, one.ocr_pages, "; ".join(one.notes)] for one in view.documents)
    yield from _table(head, rows)


def _steps(view: ReportView) -> Iterator[str]:
    labels = view.labels
    yield from ("", f"## {labels.text('steps')}", "")
    if view.steps:
        head = [labels.text(key) for key in ("step", "status", "attempts", "duration", "provider")]
        rows = (
            [
                one.name,
                f"{one.status} ({labels.text('degraded_mark')})" if one.is_degraded else one.status,
                one.attempts,
                one.duration,
                one.provider,
            ]
            for one in view.steps
        )
        yield from _table(head, rows)
    else:
        yield labels.text("steps_none")
    yield from (
        "",
        f"{labels.text('usage')}: " + ", ".join(f"{label} {amount}" for label, amount in view.usage),
    )


def _foot(view: ReportView) -> Iterator[str]:
    yield from ("", "---", "")
    for sentence in (*view.made_by, view.labels.text("disclaimer")):
        yield from (escape_line(sentence), "")


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int | None = None
) -> Iterator[str]:
    width = len(head)
    numeric = range(width if numbers_from is None else numbers_from, width)
    yield _row(head)
    yield "|" + "|".join(" ---: " if index in numeric else " --- " for index in range(width)) + "|"
    for row in rows:
        yield _row(row)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape_line(cell) for cell in cells) + " |"
