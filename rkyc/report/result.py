"""Puts `result.json` together: what the engine knows of a job, and what the analysis found.

Pure: rows come in, one dict in the promised shape comes out, whoever asks (the command line, the API).
Rows may hold JSON as text or as values. Of a run that failed it holds what was reached.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, get_args

from rkyc.report.types import FigureSeries, Lang, ReportInput, SourcePage

_LEXICAL = "lexical-hash"
_EMPTY_USAGE = {"calls": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": 0}


def build_result(
    job: Mapping[str, Any],
    steps: Iterable[Mapping[str, Any]],
    analysis: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the result of one job.

    `job` and `steps` are the rows of `Client.get` and `Client.steps`, `analysis` is the domain's part as
    `load_analysis` gives it, `outputs` what the completed steps returned. `error` is there only for a
    job that failed.
    """
    result: dict[str, Any] = {
        "job_id": str(job["job_id"]),
        "pipeline": job["pipeline"],
        "status": job["status"],
        "partial": bool(job["partial"]),
        "warnings": list_job_warnings(job),
    }
    if job["status"] == "failed":
        result["error"] = {
            "code": job["error_code"],
            "message": job["error_message"],
            "step": job["pipeline_step"],
        }
    return {
        **result,
        "corp": analysis["corp"] or _submitted_corp(job),
        "steps": [_step(row, _value(outputs.get(row["step"]))) for row in steps],
        **{name: value for name, value in analysis.items() if name != "corp"},
        "lang": _submitted_lang(job) or analysis.get("lang"),
        "usage": _usage(_value(job["usage"]) or {}),
    }


def list_job_warnings(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the warnings of all steps, in order: code, message, step, subject."""
    return [
        {
            "code": item["code"],
            "message": item["message"],
            "step": group["step"],
            "subject": item.get("subject"),
        }
        for group in _value(job["warnings"]) or ()
        for item in group["items"]
    ]


def build_report_input(
    result: dict[str, Any], evidence: Mapping[str, Any], *, lang: Lang | None = None, generated_at: datetime
) -> ReportInput:
    """Return what the report is made from; `evidence` as `load_evidence_pages` gives it.

    Without `lang` the report is in the language that the job was submitted with.
    """
    return ReportInput(
        result=result,
        pages=tuple(SourcePage(**page) for page in evidence["pages"]),
        figures=tuple(
            FigureSeries(
                one["concept"], one.get("label", ""), one["currency"], tuple(map(tuple, one["points"]))
            )
            for one in evidence["figures"]
        ),
        lang=lang or result.get("lang") or evidence["lang"],
        generated_at=generated_at,
        snapshot=evidence["snapshot"],
        previous=evidence["previous"] or {},
    )


def _submitted_corp(job: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the company as it was submitted, for a run that ended before it knew the company's id."""
    name = (_value(job.get("metadata")) or {}).get("corp_name")
    return {"id": None, "name": name} if name else None


def _submitted_lang(job: Mapping[str, Any]) -> str | None:
    manifest = _value(job.get("input"))
    lang = manifest.get("lang") if isinstance(manifest, dict) else None
    return lang if lang in get_args(Lang) else None


def _step(row: Mapping[str, Any], output: Any) -> dict[str, Any]:
    provider = _name_provider(output) or row["provider"]
    shown = {
        "step": row["step"],
        "status": row["status"],
        "degraded": bool(row["degraded"]),
        "attempts": row["attempt"],
        "ms": row["ms"],
    }
    return shown | ({"provider": provider} if provider else {})


def _name_provider(output: Any) -> str | None:
    """Return who did a step's work, by its own output; the journal knows paid calls alone."""
    match output:
        case {"provider": str(name)} | {"insight": {"provider": str(name)}}:
            return name
        case {"embedding_model": str(model)}:
            # Our own model has its number of dimensions in its name.
            return _LEXICAL if model.startswith(f"{_LEXICAL}-") else model
    return None


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    counted = {name: usage.get(name) or 0 for name in _EMPTY_USAGE}
    return counted | {"cost_usd": float(counted["cost_usd"])}


def _value(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value
