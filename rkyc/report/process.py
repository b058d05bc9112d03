"""How the result was made: warnings, documents, steps, usage, and who made it.

A provider is a name or several joined by `+` or `,`; what stands before a colon is the vendor. The ones
in `_OFFLINE` work without a language model, and the footer says so where they were used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rkyc.report.advice import explain_warning
from rkyc.report.labels import Labels

_OFFLINE = frozenset({"rules", "rule", "template", "templates", "recorded", "lexical-hash", "offline"})
# These alone decide whether sentences and signals were written without a model.
_WRITERS = frozenset({"rules", "rule", "template", "templates"})
# A document with such a warning was read, but not all of it.
_UNREAD = frozenset({"ocr_unavailable", "page_unreadable"})


@dataclass(frozen=True, slots=True)
class WarningRow:
    """`what` says it in a reader's words and `todo` what to do; empty for a code that has no words."""

    code: str
    message: str
    where: str
    what: str
    todo: str


@dataclass(frozen=True, slots=True)
class DocumentRow:
    name: str
    status: str
    is_failed: bool
    pages: str
    ocr_pages: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepRow:
    name: str
    code: str
    status: str
    status_code: str
    is_degraded: bool
    attempts: str
    duration: str
    provider: str


def list_warnings(result: dict[str, Any], labels: Labels) -> tuple[WarningRow, ...]:
    """Return the job's warnings; `where` names the step and the subject."""
    return tuple(_warning(raw, labels) for raw in result.get("warnings") or ())


def list_documents(result: dict[str, Any], labels: Labels) -> tuple[DocumentRow, ...]:
    return tuple(_document(raw, labels) for raw in result.get("documents") or ())


def list_steps(result: dict[str, Any], labels: Labels) -> tuple[StepRow, ...]:
    return tuple(_step(raw, labels) for raw in result.get("steps") or ())


def list_usage(result: dict[str, Any], labels: Labels) -> tuple[tuple[str, str], ...]:
    """Return (label, amount) pairs; an amount that was not recorded is a dash."""
    usage = result.get("usage") or {}
    rows = [(key, _count(usage.get(key))) for key in ("calls", "tokens_in", "tokens_out")]
    rows.append(("cost", _dollars(usage.get("cost_usd"))))
    return tuple((labels.text(key), amount) for key, amount in rows)


def name_providers(result: dict[str, Any], labels: Labels) -> tuple[str, ...]:
    """Return sentences for the footer: who made this, and what was made without a model."""
    raws = [step.get("provider") for step in result.get("steps") or ()]
    raws += [signal.get("provider") for signal in result.get("signals") or ()]
    raws.append((result.get("insight") or {}).get("provider"))
    if any(signal.get("rule_id") for signal in result.get("signals") or ()):
        raws.append("rules")
    names = list(dict.fromkeys(name for raw in raws if raw for name in split_providers(str(raw))))
    if not names:
        return ()
    words = dict.fromkeys(labels.value("provider", name) for name in names)
    sentences = [labels.text("made_by", providers=", ".join(words))]
    if all(name.partition(":")[0] in _OFFLINE for name in names):
        sentences.append(labels.text("made_offline"))
    elif without := dict.fromkeys(labels.value("provider", name) for name in names if name in _WRITERS):
        sentences.append(labels.text("made_mixed", providers=", ".join(without)))
    return tuple(sentences)


def split_providers(text: str) -> list[str]:
    """Return the providers that a joined name stands for."""
    return [name.strip() for name in re.split(r"[+,]", text) if name.strip()]


def show_provider(raw: object, labels: Labels) -> str:
    if not raw:
        return "–"
    return ", ".join(labels.value("provider", name) for name in split_providers(str(raw)))


def _warning(raw: Any, labels: Labels) -> WarningRow:
    if not isinstance(raw, dict):
        # A document's own warning: `code: message`.
        code, _, message = str(raw).partition(": ")
        raw = {"code": code, "message": message} if code.isidentifier() else {"message": str(raw)}
    step = labels.value("step", raw["step"]) if raw.get("step") else ""
    where = " · ".join(part for part in (step, str(raw.get("subject") or "")) if part)
    code = str(raw.get("code") or "")
    advice = explain_warning(code, labels.lang)
    return WarningRow(
        code,
        str(raw.get("message") or ""),
        where,
        advice.what if advice else "",
        advice.todo if advice else "",
    )


def _document(raw: dict[str, Any], labels: Labels) -> DocumentRow:
    told = list(raw.get("warnings") or ())
    if raw.get("error_code"):
        told.insert(0, {"code": raw["error_code"], "message": raw.get("message")})
    rows = [_warning(one, labels) for one in told]
    notes = [" – ".join(part for part in (row.what, row.message, row.code) if part) for row in rows]
    is_unread = any(row.code.lower() in _UNREAD for row in rows)
    return DocumentRow(
        name=str(raw.get("name") or ""),
        status=labels.text("not_read")
        if is_unread and raw.get("status") == "DONE"
        else labels.value("ingest_status", raw.get("status")),
        is_failed=raw.get("status") == "FAILED",
        pages=_count(raw.get("pages")),
        ocr_pages=_count(raw.get("ocr_pages")),
        notes=tuple(notes),
    )


def _step(raw: dict[str, Any], labels: Labels) -> StepRow:
    return StepRow(
        name=labels.value("step", raw.get("step")),
        code=str(raw.get("step") or ""),
        status=labels.value("job_status", raw.get("status")),
        status_code=str(raw.get("status") or ""),
        is_degraded=bool(raw.get("degraded")),
        attempts=_count(raw.get("attempts")),
        duration=_duration(raw.get("ms")),
        provider=show_provider(raw.get("provider"), labels),
    )


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _duration(ms: object) -> str:
    if not isinstance(ms, int | float):
        return "–"
    return f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:,.1f} s"


def _dollars(value: object) -> str:
    """Return `$0.0123`; a cost comes as a number or as a decimal text."""
    try:
        amount = float(str(value))
    except ValueError:
        return "–"
    return f"${amount:,.4f}" if amount < 1 else f"${amount:,.2f}"
