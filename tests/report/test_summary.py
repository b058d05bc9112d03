"""The short text at the end of an analysis."""

from __future__ import annotations

from typing import Any

from rkyc.report.labels import Labels
from rkyc.report.summary import count_changes, render_summary, worst_signals
from tests.support.report_sample import make_signal, quote_value, sample_report, sample_result


def summarise(result: dict[str, Any], lang: str = "ko") -> str:
    return render_summary(sample_report(lang, result=result))


def test_worst_signals_are_risks_by_severity_then_confidence_then_probability() -> None:
    signals = [
        make_signal(1, "low", [], severity=2),
        make_signal(2, "unlikely", [], severity=4, probability="LOW"),
        make_signal(3, "unsure", [], severity=4, confidence="LOW"),
        make_signal(4, "likely", [], severity=4),
        make_signal(5, "chance", [], severity=5, direction="OPPORTUNITY"),
    ]
    assert [one["id"] for one in worst_signals({"signals": signals})] == [4, 2, 3]
    assert [one["id"] for one in worst_signals({"signals": signals}, 1)] == [4]


def test_equal_signals_keep_their_order() -> None:
    signals = [make_signal(number, "t", []) for number in (7, 3, 5)]
    assert [one["id"] for one in worst_signals({"signals": signals})] == [7, 3, 5]


def test_worst_signals_are_of_the_whole_run() -> None:
    result = {"signals": [make_signal(1, "kept", [])], "below_cut": [make_signal(2, "grave", [], severity=5)]}
    assert [one["id"] for one in worst_signals(result)] == [2, 1]


def test_summary_shows_stance_and_worst_signals_with_quotes() -> None:
    lines = summarise(sample_result()).splitlines()
    assert lines[0].startswith("가람테크 주식회사: 주의. 감사인이")
    assert lines[-9] == "1. [5 심각] 계속기업 존속능력에 중요한 불확실성 (X-GOING)"
    assert lines[-8].endswith("중요한 불확실성이 존재함을 나타냅니다.” — 감사보고서_2024.pdf:3")
    assert lines[-5] == "   FY2024 부채총계 43,050,000,000원 (430.5억원) — /statements/FY2024/liabilities"


def test_value_of_the_bank_s_records_is_told_in_words_with_its_file() -> None:
    evidence = {**quote_value("/credit/loan_summary/overdue_days", "38"), "source_file": "bank.json"}
    result = {**sample_result(), "signals": [make_signal(1, "t", [evidence])]}
    assert "   연체일수 38일 — bank.json /credit/loan_summary/overdue_days" in summarise(result)
    assert "   Days overdue 38 days — bank.json" in summarise(result, "en")


def test_summary_says_what_was_not_read_and_what_to_do() -> None:
    text = summarise(sample_result(), "en")
    assert "사업자등록증.png: Pages that are pictures (scans) were not read" in text
    assert "Submit a file with text" in text


def test_summary_of_a_calm_company_names_no_signal() -> None:
    text = summarise({**sample_result(), "signals": [], "below_cut": []}, "en")
    assert text.endswith("No risk signals were found.\n")


def test_summary_of_good_news_alone_says_that_there_is_no_risk() -> None:
    chance = make_signal(1, "order", [], direction="OPPORTUNITY")
    text = summarise({**sample_result(), "signals": [chance], "below_cut": []}, "en")
    assert text.endswith("Signals: 0 risk · 1 other (1 new)\nNone of the signals points to a risk.\n")


def test_changes_are_counted_over_the_whole_run() -> None:
    result = {
        "signals": [make_signal(1, "t", []), make_signal(2, "t", [], change="CHANGED")],
        "below_cut": [make_signal(3, "t", [], change="UNCHANGED")],
        "gone": [make_signal(4, "t", [], change="GONE")],
    }
    assert count_changes(result, Labels("ko")) == "신규 1 · 변경 1 · 유지 1 · 사라짐 1"


def test_summary_of_a_failed_job_says_why() -> None:
    result = {
        "status": "failed",
        "corp": {"name": "Acme"},
        "error": {"code": "LLM_QUOTA", "message": "the quota is spent"},
    }
    assert summarise(result, "en") == (
        "Acme: Failed\nThe analysis did not finish: LLM_QUOTA the quota is spent\n"
    )


def test_documents_cannot_steer_the_terminal() -> None:
    evil = "a\x1b[2J\u202eb\r\nc\x9b31m"
    signal = make_signal(1, evil, [quote_value(evil, evil)], rule_id=evil)
    result = {**sample_result(), "corp": {"name": evil}, "signals": [signal]}
    result["warnings"] = [{"code": evil, "message": evil, "step": evil, "subject": evil}]
    text = summarise({**result, "below_cut": []})
    assert not set(text) & set("\x1b\x9b\r\u202e")
    assert len(text.splitlines()) == 6


def test_long_quote_is_cut() -> None:
    signal = make_signal(1, "t", [{"ref_type": "URL", "ref": "https://host/", "quote": "가" * 400}])
    assert "가…”" in summarise({**sample_result(), "signals": [signal]})
