"""ReportInput → everything that a report shows, in words, in order; the same view for HTML and Markdown.

Pure: no markup and no escaping here. Every id that a link names exists in the view, and ids are made
from numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rkyc.report.charts import Chart, build_charts
from rkyc.report.citations import Citation, CitationIndex, list_cited_pages, list_cited_pointers
from rkyc.report.evidence import Evidence, Sources, index_pages
from rkyc.report.figures import FigureTable, build_table
from rkyc.report.instants import write_instant
from rkyc.report.labels import Labels
from rkyc.report.process import (
    DocumentRow,
    StepRow,
    WarningRow,
    list_documents,
    list_steps,
    list_usage,
    list_warnings,
    name_providers,
)
from rkyc.report.signals import Card, build_cards
from rkyc.report.sources import (
    BackLink,
    CitedPage,
    CitedValue,
    Snapshots,
    list_cell_links,
    list_pages,
    list_pointers,
    list_values,
    place_values,
)
from rkyc.report.summary import count_changes, count_directions, name_company, worst_signals
from rkyc.report.types import FigureSeries, ReportInput
from rkyc.report.words import WORDS


@dataclass(frozen=True, slots=True)
class Header:
    """`other_name` is the company's name in the other language, empty where there is none."""

    corp: str
    other_name: str
    job_id: str
    generated_at: str
    status: str
    status_code: str
    stance: str
    stance_code: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """What a reader must know first: failed, unfinished, partial, degraded; empty when all went well."""

    kind: str
    title: str
    lines: tuple[str, ...]
    warnings: tuple[WarningRow, ...]


@dataclass(frozen=True, slots=True)
class SentenceView:
    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class InsightView:
    headline: str
    is_held: bool
    sections: tuple[tuple[str, tuple[SentenceView, ...]], ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    title: str
    code: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """`cell_links` says which signals quote a cell of the table of figures, by cell id.

    `is_complete` tells "nothing was found" from "nobody has looked".
    """

    labels: Labels
    is_complete: bool
    header: Header
    notice: Notice
    insight: InsightView | None
    worst: tuple[Card, ...]
    cards: tuple[Card, ...]
    below_cut: tuple[Card, ...]
    gone: tuple[Card, ...]
    dropped: tuple[Dropped, ...]
    charts: tuple[Chart, ...]
    table: FigureTable
    cell_links: dict[str, tuple[BackLink, ...]]
    values: tuple[CitedValue, ...]
    pages: tuple[CitedPage, ...]
    documents: tuple[DocumentRow, ...]
    steps: tuple[StepRow, ...]
    usage: tuple[tuple[str, str], ...]
    made_by: tuple[str, ...]


def build_view(report: ReportInput) -> ReportView:
    """Work out the whole report."""
    result, labels = report.result, Labels(report.lang)
    figures = _sort_figures(report.figures)
    table = build_table(figures, labels)
    kept, below, gone = (list(result.get(name) or ()) for name in ("signals", "below_cut", "gone"))
    insight = result.get("insight") or {}
    snapshots = Snapshots(report.snapshot, report.previous)
    shown = {**table.columns(), **table.anchors()}
    cited = [*list_pointers([*kept, *below]), *list_cited_pointers(insight)]
    placed = place_values(cited, shown, snapshots)
    sources = Sources(report.pages, index_pages(report.pages), placed, report.snapshot, labels)
    provider = _signal_provider(result)
    cards = build_cards([*kept, *below, *gone], 1, sources, provider)
    present = cards[: len(kept) + len(below)]
    evidence = tuple(one for card in present for one in card.evidence)
    by_identity = dict(zip(map(id, (*kept, *below)), present, strict=True))
    return ReportView(
        labels=labels,
        is_complete=result.get("status") == "completed",
        header=_header(report, evidence, labels),
        notice=_notice(result, labels),
        insight=_insight(insight, CitationIndex(cards, sources)),
        worst=tuple(by_identity[id(signal)] for signal in worst_signals(result)),
        cards=present[: len(kept)],
        below_cut=present[len(kept) :],
        gone=cards[len(present) :],
        dropped=tuple(_dropped(raw, labels) for raw in result.get("dropped") or ()),
        charts=build_charts(figures, labels),
        table=table,
        cell_links=list_cell_links(evidence, table.anchors()),
        values=list_values(placed, shown, snapshots, evidence, labels),
        pages=list_pages(report.pages, evidence, list_cited_pages(insight, sources), labels),
        documents=list_documents(result, labels),
        steps=list_steps(result, labels),
        usage=list_usage(result, labels),
        made_by=name_providers(result, labels),
    )


def _header(report: ReportInput, evidence: tuple[Evidence, ...], labels: Labels) -> Header:
    result = report.result
    insight = result.get("insight") or {}
    corp, other_name = name_company(report)
    return Header(
        corp=corp,
        other_name=other_name,
        job_id=str(result.get("job_id") or ""),
        generated_at=write_instant(report.generated_at),
        status=labels.value("job_status", result.get("status")),
        status_code=str(result.get("status") or ""),
        stance=labels.value("stance", insight.get("stance")),
        stance_code=str(insight.get("stance") or ""),
        facts=_header_facts(result, insight, evidence, labels),
    )


def _header_facts(
    result: dict[str, Any], insight: dict[str, Any], evidence: tuple[Evidence, ...], labels: Labels
) -> tuple[tuple[str, str], ...]:
    found = sum(1 for one in evidence if one.is_found)
    quotes = (
        labels.text("quotes_of", found=found, all=len(evidence)) if evidence else labels.text("quotes_none")
    )
    is_known = result.get("signals") or result.get("status") == "completed"
    count = count_directions(result, labels) if is_known else "–"
    quality, coverage = insight.get("quality_score"), insight.get("coverage")
    return (
        (labels.text("signals_count"), count),
        (labels.text("changes"), count_changes(result, labels) or "–"),
        (labels.text("quotes_found"), quotes),
        (labels.text("quality"), "–" if quality is None else f"{quality:g} / 100"),
        (labels.text("coverage"), "–" if coverage is None else f"{coverage * 100:.0f}%"),
    )


def _notice(result: dict[str, Any], labels: Labels) -> Notice:
    warnings = list_warnings(result, labels)
    status = result.get("status")
    if status in ("failed", "cancelled"):
        return Notice("failed", labels.text("failed"), _failure_lines(result, labels), warnings)
    lines = []
    if status != "completed":
        lines.append(labels.text("unfinished"))
    if result.get("partial"):
        lines.append(labels.text("partial"))
    degraded = [
        labels.value("step", one.get("step")) for one in result.get("steps") or () if one.get("degraded")
    ]
    if degraded:
        lines.append(labels.text("degraded", steps=", ".join(degraded)))
    kind = "partial" if lines else "warnings" if warnings else ""
    title = labels.text("partial_title" if result.get("partial") else "warnings")
    return Notice(kind, title, tuple(lines), warnings)


def _failure_lines(result: dict[str, Any], labels: Labels) -> tuple[str, ...]:
    error = result.get("error") or {}
    step = labels.value("step", error["step"]) if error.get("step") else ""
    what = " · ".join(
        part for part in (step, str(error.get("code") or ""), str(error.get("message") or "")) if part
    )
    done = [
        labels.value("step", one.get("step"))
        for one in result.get("steps") or ()
        if one.get("status") == "completed"
    ]
    steps = labels.text("failed_steps", steps=", ".join(done)) if done else labels.text("failed_none")
    unknown = labels.text("cancelled" if result.get("status") == "cancelled" else "failed_unknown")
    return (what or unknown, steps)


def _insight(raw: dict[str, Any], citations: CitationIndex) -> InsightView | None:
    if not raw:
        return None
    sections = tuple(
        (str(section.get("title") or ""), _sentences(section, citations))
        for section in raw.get("sections") or ()
    )
    is_held = bool(raw.get("needs_review")) or raw.get("published") is False
    return InsightView(str(raw.get("headline") or ""), is_held, sections)


def _sentences(section: dict[str, Any], citations: CitationIndex) -> tuple[SentenceView, ...]:
    return tuple(
        SentenceView(str(one.get("text") or ""), citations.resolve(one.get("citations") or ()))
        for one in section.get("sentences") or ()
    )


def _dropped(raw: dict[str, Any], labels: Labels) -> Dropped:
    title, code, detail = (str(raw.get(key) or "") for key in ("title", "reason", "detail"))
    return Dropped(title, code, labels.value("drop_reason", code), detail)


def _sort_figures(figures: tuple[FigureSeries, ...]) -> tuple[FigureSeries, ...]:
    """Order the series as statements are read: results first, then the balance sheet; unknown ones last."""
    order = {concept: place for place, concept in enumerate(WORDS["concept"])}
    return tuple(sorted(figures, key=lambda series: order.get(series.concept, len(order))))


def _signal_provider(result: dict[str, Any]) -> str:
    steps = result.get("steps") or ()
    return next(
        (str(one["provider"]) for one in steps if one.get("step") == "signal" and one.get("provider")), ""
    )
