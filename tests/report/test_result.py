"""The shape of result.json, from rows as the store gives them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from rkyc.report.result import build_report_input, build_result

JOB: dict[str, Any] = {
    "job_id": UUID(int=7),
    "pipeline": "kyc",
    "status": "completed",
    "partial": True,
    "pipeline_step": "insight",
    "error_code": None,
    "error_message": None,
    "warnings": '[{"step": "doc_ingest", "items": [{"code": "A", "message": "m", "subject": "f.pdf"}, {"code": "B", "message": "n"}]}]',
    "usage": '{"calls": 2, "tokens_in": 10, "tokens_out": 5, "cost_usd": 0.25}',
}
STEPS = [
    {"step": "snapshot", "status": "completed", "degraded": False, "attempt": 2, "ms": 12, "provider": None},
    {"step": "signal", "status": "completed", "degraded": None, "attempt": 1, "ms": 30, "provider": "claude"},
]
ANALYSIS: dict[str, Any] = {"corp": {"id": 1, "name": "n"}, "signals": [], "insight": None, "documents": []}


def test_warnings_of_all_steps_stand_in_one_list() -> None:
    assert build_result(JOB, STEPS, ANALYSIS, {})["warnings"] == [
        {"code": "A", "message": "m", "step": "doc_ingest", "subject": "f.pdf"},
        {"code": "B", "message": "n", "step": "doc_ingest", "subject": None},
    ]


def test_steps_have_attempts_and_a_provider_only_where_one_was_used() -> None:
    first, second = build_result(JOB, STEPS, ANALYSIS, {})["steps"]
    assert first == {
        "step": "snapshot",
        "status": "completed",
        "degraded": False,
        "attempts": 2,
        "ms": 12,
    }
    assert second["provider"] == "claude"


@pytest.mark.parametrize(
    ("output", "provider"),
    [
        ('{"provider": "rules+claude"}', "rules+claude"),
        ({"insight": {"provider": "template"}}, "template"),
        ({"embedding_model": "lexical-hash-1024"}, "lexical-hash"),
        ({"embedding_model": "text-embedding-3-small"}, "text-embedding-3-small"),
        ({"embedding_model": None}, "claude"),
        (None, "claude"),
    ],
)
def test_provider_is_the_one_that_the_step_names_itself(output: Any, provider: str) -> None:
    (step,) = build_result(JOB, STEPS[1:], ANALYSIS, {"signal": output})["steps"]
    assert step["provider"] == provider


def test_usage_is_counted_even_where_nothing_was_called() -> None:
    assert build_result(JOB, STEPS, ANALYSIS, {})["usage"]["cost_usd"] == 0.25
    empty = build_result({**JOB, "usage": None, "warnings": None}, [], ANALYSIS, {})
    assert empty["usage"] == {"calls": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": 0.0}
    assert empty["warnings"] == []


def test_error_is_there_for_a_failed_job_alone() -> None:
    failed = {
        **JOB,
        "status": "failed",
        "error_code": "LLM_AUTH",
        "error_message": "no",
        "pipeline_step": "signal",
    }
    assert "error" not in build_result(JOB, STEPS, ANALYSIS, {})
    assert build_result(failed, STEPS, ANALYSIS, {})["error"] == {
        "code": "LLM_AUTH",
        "message": "no",
        "step": "signal",
    }


def test_job_that_ended_at_once_is_told_by_what_was_submitted() -> None:
    job = {**JOB, "metadata": '{"corp_name": "가람테크"}', "input": '{"lang": "en", "corp": {}}'}
    result = build_result(job, [], {**ANALYSIS, "corp": None, "lang": "ko"}, {})
    assert (result["corp"], result["lang"]) == ({"id": None, "name": "가람테크"}, "en")
    assert build_result(JOB, [], {**ANALYSIS, "corp": None}, {})["corp"] is None


def test_report_takes_the_language_that_was_asked_for_or_the_job_s_own() -> None:
    evidence = {
        "pages": [{"kind": "URL", "ref": "u", "title": "t", "text": "x", "meta": {}}],
        "figures": [{"concept": "assets", "currency": "KRW", "points": [("FY2024", "5")]}],
        "snapshot": {"a": 1},
        "previous": None,
        "lang": "en",
    }
    now = datetime(2025, 1, 1, tzinfo=UTC)
    report = build_report_input({}, evidence, generated_at=now)
    assert (report.lang, report.pages[0].ref) == ("en", "u")
    assert report.figures[0].points == (("FY2024", "5"),)
    assert build_report_input({}, evidence, lang="ko", generated_at=now).lang == "ko"
