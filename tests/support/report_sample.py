"""A realistic result of the risk analysis, written by hand: a Korean maker of car parts in trouble.

`sample_report()` has a bit of everything a report shows: quotes that overlap, an emoji, decomposed
Hangul, CRLF, a snapshot value, a value that only the listing shows, an event, a failed document, a
degraded step. Offsets are counted here from the texts, so a text may be edited freely.
"""

from __future__ import annotations

import copy
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rkyc.report.types import FigureSeries, ReportInput, SourcePage

AUDIT = SourcePage(
    kind="DOC_PAGE",
    ref="감사보고서_2024.pdf:3",
    title="감사보고서_2024.pdf, 3쪽",
    text=(
        "독립된 감사인의 감사보고서\r\n\r\n주식회사 가람테크 주주 및 이사회 귀중\r\n\r\n"
        "계속기업 관련 중요한 불확실성\r\n"
        "재무제표에 대한 주석 2에 주의를 기울여야 할 필요가 있습니다. 동 주석은 2024년 12월 31일로 종료되는 "
        "보고기간에 순손실이 41억원 발생하였고, 재무제표일 현재로 기업의 유동부채가 유동자산보다 97억원 더 많음을 "
        "나타내고 있습니다. 이러한 사건이나 상황은 계속기업으로서의 존속능력에 유의적 의문을 제기할 만한 중요한 "
        "불확실성이 존재함을 나타냅니다.\r\n\r\n"
        "재무제표에 대한 경영진의 책임\r\n"
        "경영진은 한국채택국제회계기준에 따라 재무제표를 작성하고 공정하게 표시할 책임이 있습니다.\r\n"
    ),
    meta={"doc_type": "FIN_STATEMENT"},
)
MINUTES = SourcePage(
    kind="DOC_PAGE",
    ref="이사회의사록.docx:1",
    title="이사회의사록.docx, 1쪽",
    text=(
        "이사회 의사록 🏭\n\n일시: 2024년 11월 4일\n안건: "
        + unicodedata.normalize("NFD", "대표이사 변경의 건")
        + "\n\n의장은 일신상의 사유로 사임한 김도현 대표이사의 후임으로 박서준 이사를 선임할 것을 제안하고, "
        "출석이사 전원의 찬성으로 가결하다.\n"
    ),
)
NEWS = SourcePage(
    kind="URL",
    ref="https://news.example.com/economy/2024/1118?id=77&view=full",
    title="가람테크, 완성차 납품 물량 40% 감소… 협력사 대금 지급 지연",
    text=(
        "자동차 부품업체 가람테크가 주력 고객사의 생산 조정으로 4분기 납품 물량이 40% 줄었다고 밝혔다. "
        "일부 협력사는 9월분 대금을 아직 받지 못했다고 말했다. 회사는 “연내 순차적으로 지급할 계획”이라고 설명했다."
    ),
    meta={"source": "예시경제", "published_at": "2024-11-18", "grade": "B", "cluster_size": "4"},
)
UNCITED = SourcePage(kind="DOC_PAGE", ref="정관.pdf:1", title="정관.pdf, 1쪽", text="제1조 (상호)")

PERIODS = ("FY2021", "FY2022", "FY2023", "FY2024")
_AMOUNTS: dict[str, tuple[str, ...]] = {
    "revenue": ("61250000000", "58400000000", "52310000000", "43870000000"),
    "operating_income": ("3120000000", "1450000000", "-380000000", "-2960000000"),
    "net_income": ("2240000000", "610000000", "-1270000000", "-4100000000"),
    "assets": ("58900000000", "59700000000", "58200000000", "54300000000"),
    "liabilities": ("36400000000", "38100000000", "39900000000", "43050000000"),
    "equity": ("22500000000", "21600000000", "18300000000", "11250000000"),
    "current_assets": ("24100000000", "23600000000", "21000000000", "16800000000"),
    "current_liabilities": ("19800000000", "21300000000", "23700000000", "26500000000"),
    "interest_expense": ("1180000000", "1420000000", "1690000000", "1874500000"),
}


def sample_figures() -> tuple[FigureSeries, ...]:
    return tuple(
        FigureSeries(concept, "", "KRW", tuple(zip(PERIODS, values, strict=True)))
        for concept, values in _AMOUNTS.items()
    )


def sample_snapshot() -> dict[str, Any]:
    statements = {
        period: {concept: int(values[index]) for concept, values in _AMOUNTS.items()}
        for index, period in enumerate(PERIODS)
    }
    return {
        "schema_version": "1.0",
        "corp": {"name": "가람테크 주식회사", "kyc_status": {"last_updated": "2023-02-10"}},
        "credit": {"loan_summary": {"total_exposure_krw": 8200000000, "overdue_flag": True}},
        "statements": statements,
        "currencies": dict.fromkeys(PERIODS, "KRW"),
    }


def quote_in(page: SourcePage, quote: str, **fields: Any) -> dict[str, Any]:
    """Return evidence that quotes the first place of `quote` in the page."""
    start = page.text.index(quote)
    return {
        "evidence_type": "EXTERNAL" if page.kind == "URL" else "DOC",
        "ref_type": page.kind,
        "ref": page.ref,
        "quote": quote,
        "char_start": start,
        "char_end": start + len(quote),
        "check": "EXACT",
        **fields,
    }


def quote_value(pointer: str, quote: str) -> dict[str, Any]:
    """Return evidence that quotes a snapshot value."""
    return {
        "evidence_type": "INTERNAL_FIELD",
        "ref_type": "SNAPSHOT_KEYPATH",
        "ref": pointer,
        "quote": quote,
        "check": "EXACT",
    }


def make_signal(signal_id: int, title: str, evidence: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """Return a signal in the shape of `result.json`, a severe financial risk unless told otherwise."""
    return {
        "id": signal_id,
        "signal_type": "DIRECT",
        "event_type": "FINANCIAL_STATEMENT_UPDATE",
        "category": "FINANCIAL",
        "title": title,
        "summary": title,
        "direction": "RISK",
        "strength": "HIGH",
        "confidence": "HIGH",
        "severity": 4,
        "probability": "HIGH",
        "rule_id": None,
        "status": "NEW",
        "needs_review": False,
        "change": "NEW",
        "signature": f"{signal_id:064x}",
        "evidence": evidence,
        **fields,
    }


def sample_result() -> dict[str, Any]:
    """Return a fresh result; callers may change it."""
    return copy.deepcopy(_RESULT)


def sample_report(lang: str = "ko", **changes: Any) -> ReportInput:
    """Return the whole input of a report, with `changes` to its fields."""
    report = ReportInput(
        result=sample_result(),
        pages=(AUDIT, MINUTES, NEWS, UNCITED),
        figures=sample_figures(),
        lang="en" if lang == "en" else "ko",
        generated_at=datetime(2025, 3, 4, 23, 30, tzinfo=UTC),
        snapshot=sample_snapshot(),
    )
    return replace(report, **changes)


_GOING = "계속기업으로서의 존속능력에 유의적 의문을 제기할 만한 중요한 불확실성이 존재함을 나타냅니다."
_EXCESS = "기업의 유동부채가 유동자산보다 97억원 더 많음을 나타내고 있습니다. 이러한 사건이나 상황은 계속기업으로서의 존속능력"
_LOSS = "순손실이 41억원 발생하였고"

_SIGNALS = [
    make_signal(
        901,
        "계속기업 존속능력에 중요한 불확실성",
        [quote_in(AUDIT, _GOING, source_grade="A"), quote_in(AUDIT, _EXCESS, source_grade="A")],
        summary="감사인은 순손실과 유동성 부족을 들어 계속기업 관련 중요한 불확실성이 있다고 기재하였다.",
        severity=5,
        rule_id="X-GOING",
    ),
    make_signal(
        902,
        "부채비율 382.7%로 상승",
        [
            quote_value("/statements/FY2024/liabilities", "43050000000"),
            quote_value("/statements/FY2024/equity", "11250000000"),
        ],
        summary="2024년 부채비율은 382.7%로, 전년 218.0%에서 크게 높아졌다.",
        rule_id="F-DEBT",
        change="CHANGED",
        derived=[
            {
                "text": "382.7%",
                "formula": "ratio_pct",
                "operands": ["/statements/FY2024/liabilities", "/statements/FY2024/equity"],
            }
        ],
    ),
    make_signal(
        903,
        "2년 연속 당기순손실",
        [
            quote_in(AUDIT, _LOSS, source_grade="A"),
            quote_value("/statements/FY2023/net_income", "-1270000000"),
        ],
        summary="2023년 12억 7천만원, 2024년 41억원의 당기순손실을 기록하였다.",
        rule_id="F-LOSS",
        change="UNCHANGED",
    ),
    make_signal(
        904,
        "대출 연체 발생",
        [quote_value("/credit/loan_summary/overdue_flag", "true")],
        summary="내부 여신 자료에서 연체 표시가 새로 확인되었다.",
        event_type="OVERDUE_FLAG_ON",
        rule_id="D-OVERDUE",
    ),
    make_signal(
        905,
        "납품 물량 감소와 협력사 대금 지급 지연 보도",
        [
            quote_in(NEWS, "4분기 납품 물량이 40% 줄었다고 밝혔다", source_grade="B"),
            quote_in(NEWS, "일부 협력사는 9월분 대금을 아직 받지 못했다고 말했다.", source_grade="B"),
        ],
        summary="주력 고객사의 생산 조정으로 납품 물량이 줄고, 일부 협력사 대금 지급이 늦어지고 있다고 보도되었다.",
        category="OPERATIONAL",
        event_type="ADVERSE_MEDIA",
        severity=3,
        confidence="MED",
        probability="MED",
        strength="MED",
        needs_review=True,
        review_reasons=["출처가 하나뿐인 보도"],
    ),
]
_BELOW = [
    make_signal(
        906,
        "대표이사 변경",
        [
            quote_in(MINUTES, unicodedata.normalize("NFD", "대표이사 변경의 건")),
            quote_in(MINUTES, "이사회 의사록 🏭\n\n일시"),
        ],
        summary="이사회가 대표이사의 사임에 따라 후임을 선임하였다.",
        event_type="GOVERNANCE_CHANGE",
        category="OPERATIONAL",
        direction="NEUTRAL",
        severity=2,
        strength="LOW",
        confidence="MED",
        probability="LOW",
        rule_id="G-CEO",
    )
]
_RESULT: dict[str, Any] = {
    "job_id": "0193b2c4-7d1e-7c43-9a55-2f1b8e6c0d11",
    "pipeline": "kyc",
    "status": "completed",
    "partial": True,
    "warnings": [
        {
            "code": "OCR_UNAVAILABLE",
            "message": "문자 인식 기능이 없어 스캔 문서를 읽지 못했습니다.",
            "step": "doc_ingest",
            "subject": "사업자등록증.png",
        }
    ],
    "corp": {"id": 12, "name": "가람테크 주식회사"},
    "steps": [
        {"step": "snapshot", "status": "completed", "degraded": False, "attempts": 1, "ms": 84},
        {"step": "doc_ingest", "status": "completed", "degraded": False, "attempts": 1, "ms": 2310},
        {
            "step": "external",
            "status": "completed",
            "degraded": True,
            "attempts": 1,
            "ms": 120,
            "provider": "recorded",
        },
        {
            "step": "context",
            "status": "completed",
            "degraded": False,
            "attempts": 1,
            "ms": 65,
            "provider": "lexical-hash",
        },
        {
            "step": "signal",
            "status": "completed",
            "degraded": False,
            "attempts": 2,
            "ms": 410,
            "provider": "rules",
        },
        {"step": "validation", "status": "completed", "degraded": False, "attempts": 1, "ms": 98},
        {
            "step": "index",
            "status": "completed",
            "degraded": False,
            "attempts": 1,
            "ms": 73,
            "provider": "lexical-hash",
        },
        {
            "step": "insight",
            "status": "completed",
            "degraded": False,
            "attempts": 1,
            "ms": 31,
            "provider": "templates",
        },
    ],
    "signals": _SIGNALS,
    "below_cut": _BELOW,
    "dropped": [
        {
            "title": "유상증자 추진",
            "reason": "QUOTE_NOT_FOUND",
            "detail": "인용문이 원문에 없습니다.",
        }
    ],
    "insight": {
        "stance": "CAUTION",
        "headline": "감사인이 계속기업 불확실성을 기재했고 부채비율과 유동성이 함께 악화되었습니다.",
        "sections": [
            {
                "title": "재무 건전성",
                "sentences": [
                    {
                        "text": "감사보고서는 계속기업 관련 중요한 불확실성을 기재하였습니다.",
                        "citations": [901],
                    },
                    {
                        "text": "부채비율은 382.7%로 높아졌고 당기순손실이 2년 이어졌습니다.",
                        "citations": [902, 903],
                    },
                    {"text": "내부 여신 자료에서는 연체가 확인됩니다.", "citations": [904]},
                ],
            },
            {
                "title": "영업과 지배구조",
                "sentences": [
                    {
                        "text": "납품 물량이 줄고 협력사 대금 지급이 늦어진다는 보도가 있습니다.",
                        "citations": [905],
                    },
                    {"text": "대표이사가 바뀌었습니다.", "citations": [906]},
                ],
            },
        ],
        "quality_score": 86.5,
        "coverage": 1.0,
    },
    "documents": [
        {"name": "감사보고서_2024.pdf", "status": "DONE", "pages": 12, "ocr_pages": 0, "warnings": []},
        {"name": "이사회의사록.docx", "status": "DONE", "pages": 1, "ocr_pages": 0, "warnings": []},
        {
            "name": "사업자등록증.png",
            "status": "FAILED",
            "pages": 1,
            "ocr_pages": 0,
            "warnings": ["ocr_unavailable"],
        },
    ],
    "usage": {"calls": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": 0},
}
