"""What a run of the analysis found, in the shape of `result.json`, and the sources that it cites.

Both read what is there: of a run that failed on the way they give the parts that it reached. Everything
comes as the run reported it; only a risk signal's status is the present one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from rkyc.store.kyc.documents import list_documents
from rkyc.store.kyc.insights import read_insight
from rkyc.store.kyc.snapshots import read_analysis, read_version
from rkyc.store.pool import Connection, Record, fetch
from rkyc.store.statements import load

_SQL = load(__file__)
# The language of a job that did not come far enough to keep its own.
_LANG = "ko"
_SIGNAL = "signal:"
_SOURCES = ("doc:", "url:")
_SIGNAL_FIELDS = (
    *("signal_type", "event_type", "category", "title", "summary", "direction", "strength", "confidence"),
    *("severity", "probability", "needs_review", "signature", "source"),
)
_SIGNAL_FIELDS_IF_SET = ("rule_id", "period", "prompt_id", "derived", "review_reasons")
_EVIDENCE_FIELDS = ("evidence_type", "ref_type", "ref", "quote", "check")
_EVIDENCE_FIELDS_IF_SET = (
    "char_start",
    "char_end",
    "similarity",
    "source_grade",
    "published_at",
    "source_file",
)


async def load_analysis(conn: Connection, job_id: UUID) -> dict[str, Any]:
    """Return the domain part of a result: corp, signals, below_cut, gone, dropped, insight, documents, lang.

    `corp` and `insight` are None where the run did not get so far. A sentence of the insight cites a risk
    signal by its `id`, anything else by `snapshot:POINTER`, `doc:NAME:PAGE` or `url:URL`.
    """
    analysis = await read_analysis(conn, job_id)
    signals = await fetch(conn, _SQL["list_signals"], job_id=job_id)
    dropped = await fetch(conn, _SQL["list_dropped"], job_id=job_id)
    insight = await read_insight(conn, job_id)
    documents = await list_documents(conn, job_id)
    gone = [row for row in signals if row["change"] == "GONE"]
    present = [row for row in signals if row["change"] != "GONE"]
    return {
        "corp": None if analysis is None else {"id": analysis["corp_id"], "name": analysis["corp_name"]},
        "signals": [_signal(row) for row in present if not row["below_cut"]],
        "below_cut": [_signal(row) for row in present if row["below_cut"]],
        "gone": [_signal(row) for row in gone],
        "dropped": [dict(row) for row in dropped],
        "insight": None if insight is None else _insight(insight),
        "documents": [_document(row) for row in documents],
        "lang": _LANG if analysis is None else analysis["lang"],
    }


async def load_evidence_pages(conn: Connection, job_id: UUID) -> dict[str, Any]:
    """Return what the evidence and the insight of a run point into.

    `pages`: cited pages and events `{kind, ref, title, text, meta}`, texts as stored; `figures`: one
    `{concept, currency, points: [(period, exact text)]}` per concept over the whole years, oldest first;
    `snapshot` and `previous`: the documents that pointers go into (`previous` may be None); `lang`.
    """
    analysis = await read_analysis(conn, job_id)
    if analysis is None:
        return {"pages": [], "figures": [], "snapshot": {}, "previous": None, "lang": _LANG}
    signals = await fetch(conn, _SQL["list_signals"], job_id=job_id)
    quoted = {item["ref"] for row in signals for item in orjson.loads(row["reported"])["evidence"]}
    refs = sorted(quoted | _list_cited_sources(await read_insight(conn, job_id)))
    pages = await fetch(conn, _SQL["list_cited_pages"], job_id=job_id, refs=refs)
    events = await fetch(conn, _SQL["list_cited_events"], job_id=job_id, refs=refs)
    version = analysis["snapshot_version"]
    snapshot = await read_version(conn, analysis["corp_id"], version)
    previous = await read_version(conn, analysis["corp_id"], version - 1)
    doc = snapshot.doc if snapshot else {}
    return {
        "pages": [*map(_page, pages), *map(_event, events)],
        "figures": _list_figures(doc),
        "snapshot": doc,
        "previous": previous.doc if previous else None,
        "lang": analysis["lang"],
    }


def _signal(row: Record) -> dict[str, Any]:
    reported: dict[str, Any] = orjson.loads(row["reported"])
    return {
        "id": row["id"],
        **_pick(reported, _SIGNAL_FIELDS, _SIGNAL_FIELDS_IF_SET),
        "status": row["status"],
        "change": row["change"],
        "evidence": [_pick(item, _EVIDENCE_FIELDS, _EVIDENCE_FIELDS_IF_SET) for item in reported["evidence"]],
    }


def _pick(values: Mapping[str, Any], always: Iterable[str], if_set: Iterable[str]) -> dict[str, Any]:
    picked = {name: values[name] for name in always}
    return picked | {name: values[name] for name in if_set if values.get(name) not in (None, [])}


def _insight(row: Record) -> dict[str, Any]:
    same = ("id", "stance", "headline", "provider", "published", "needs_review")
    # `real` has seven digits; more would show noise.
    scores = {name: round(row[name], 4) for name in ("quality_score", "coverage")}
    sections = [
        {**section, "sentences": [_sentence(one) for one in section["sentences"]]}
        for section in json.loads(row["sections"])
    ]
    return {**{name: row[name] for name in same}, **scores, "sections": sections}


def _sentence(sentence: dict[str, Any]) -> dict[str, Any]:
    return {**sentence, "citations": [_citation(one) for one in sentence["citations"]]}


def _citation(kept: str | int) -> str | int:
    """Turn `signal:7` into 7, what `signals[].id` says; the other kinds stay as they are."""
    if isinstance(kept, str) and kept.startswith(_SIGNAL):
        return int(kept.removeprefix(_SIGNAL))
    return kept


def _list_cited_sources(insight: Record | None) -> set[str]:
    """Return the refs of the pages and events that an insight cites."""
    if insight is None:
        return set()
    sentences = [one for section in json.loads(insight["sections"]) for one in section["sentences"]]
    cited = (str(one) for sentence in sentences for one in sentence["citations"])
    return {one.partition(":")[2] for one in cited if one.startswith(_SOURCES)}


def _document(row: Record) -> dict[str, Any]:
    shown = {name: row[name] for name in ("name", "status", "pages", "ocr_pages", "data_class")}
    shown["warnings"] = json.loads(row["warnings"])
    if row["error_code"] is not None:
        shown |= {"error_code": row["error_code"], "message": row["message"]}
    return shown


def _page(row: Record) -> dict[str, Any]:
    return {
        "kind": "DOC_PAGE",
        "ref": f"{row['name']}:{row['page_no']}",
        "title": row["name"],
        "text": row["text"],
        "meta": {"page": str(row["page_no"]), "data_class": row["data_class"]},
    }


def _event(row: Record) -> dict[str, Any]:
    published_at = row["published_at"]
    meta = {
        "published_at": published_at.isoformat() if published_at else None,
        **{name: row[name] for name in ("source", "source_type", "grade")},
    }
    return {
        "kind": "URL",
        "ref": row["url"],
        "title": row["title"],
        "text": row["text"],
        "meta": {name: value for name, value in meta.items() if value},
    }


def _list_figures(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn the statements by year into one series per concept and currency."""
    series: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for period, figures in sorted((doc.get("statements") or {}).items()):
        currency = doc["currencies"].get(period) or ""
        if period.startswith("FY"):
            for concept, value in figures.items():
                text = format(value, "f") if isinstance(value, Decimal) else str(value)
                series.setdefault((concept, currency), []).append((period, text))
    return [
        {"concept": concept, "currency": currency, "points": points}
        for (concept, currency), points in sorted(series.items())
    ]
