"""The short text at the end of an analysis."""

from __future__ import annotations

from rkyc.report.summary import render_summary, worst_signals
from tests.support.report_sample import make_signal, quote_value, sample_result


def test_worst_signals_are_risks_by_severity_then_probability_then_confidence() -> None:
    signals = [
        make_signal(1, "low", [], severity=2),
        make_signal(2, "unlikely", [], severity=4, probability="LOW"),
        make_signal(3, "unsure", [], severity=4, confidence="LOW"),
        make_signal(4, "likely", [], severity=4),
        make_signal(5, "chance", [], severity=5, direction="OPPORTUNITY"),
    ]
    assert [one["id"] for one in worst_signals({"signals": signals})] == [4, 3, 2]
    assert [one["id"] for one in worst_signals({"signals": signals}, 1)] == [4]


def test_equal_signals_keep_their_order() -> None:
    signals = [make_signal(number, "t", []) for number in (7, 3, 5)]
    assert [one["id"] for one in worst_signals({"signals": signals})] == [7, 3, 5]


def test_summary_shows_stance_and_worst_signals_with_quotes() -> None:
    lines = render_summary(sample_result()).splitlines()
    assert lines[0].startswith("가람테크 주식회사: 주의. 감사인이")
    assert lines[-6] == "1. [5 심각] 계속기업 존속능력에 중요한 불확실성 (X-GOING)"
    assert lines[-5].endswith("중요한 불확실성이 존재함을 나타냅니다.” — 감사보고서_2024.pdf:3")
    assert lines[-3] == "   FY2024 부채총계 43,050,000,000 — /statements/FY2024/liabilities"


def test_summary_of_a_calm_company_names_no_signal() -> None:
    text = render_summary({**sample_result(), "signals": []}, "en")
    assert text.endswith("No risk signals were found.\n")


def test_summary_of_a_failed_job_says_why() -> None:
    result = {
        "status": "failed",
        "corp": {"name": "Acme"},
        "error": {"code": "LLM_QUOTA", "message": "the quota is spent"},
    }
    assert render_summary(result, "en") == (
        "Acme: Failed\nThe analysis did not finish: LLM_QUOTA the quota is spent\n"
    )


def test_documents_cannot_steer_the_terminal() -> None:
    evil = "a\x1b[2J\u202eb\r\nc\x9b31m"
    signal = make_signal(1, evil, [quote_value(evil, evil)], rule_id=evil)
    result = {**sample_result(), "corp": {"name": evil}, "signals": [signal]}
    text = render_summary(result)
    assert not set(text) & set("\x1b\x9b\r\u202e")
    assert len(text.splitlines()) == 5


def test_long_quote_is_cut() -> None:
    signal = make_signal(1, "t", [{"ref_type": "URL", "ref": "https://host/", "quote": "가" * 400}])
    assert "가…”" in render_summary({**sample_result(), "signals": [signal]})
