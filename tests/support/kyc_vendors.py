"""What the scripted vendors answer about Hanbit Precision, and answers that never come.

The answers are honest: their quotes stand in the dossier, so validation keeps what they say.
"""

from __future__ import annotations

from typing import Any

# Longer than any test: an answer that a killed process never sees.
NEVER_S = 3600.0

# What a word of a request tells about who is asking.
DIRECT = "Find what happened to the company itself"
INSIGHT = "You write a short risk insight"
INDUSTRY_SEARCH = "업황"

_LAWSUIT = {
    "event_type": "LEGAL_PROCEEDING",
    "category": "LEGAL",
    "title": "거래처의 손해배상 청구 소송 보도",
    "summary": "완성차 1차 협력사가 손해배상 청구 소송을 제기한 것으로 보도됨",
    "direction": "RISK",
    "strength": "MED",
    "confidence": "MED",
    "severity": 3,
    "probability": "MED",
    "evidence": [
        {
            "ref": "https://gyeongin-industry.example/2025/03/11/gaon-hanbit",
            "quote": "손해배상 청구 소송을 제기했다",
        }
    ],
}
_FOUND = {
    "url": "https://found.example/news/41",
    "title": "한빛정밀, 안산공장 설비 교체 착수",
    "snippet": "자동차 부품 제조업체 한빛정밀(대표 서도윤)은 안산공장의 열처리 설비를 교체한다고 밝혔다.",
    "date": "2025-03-20",
}
_INSIGHT = {
    "stance": "CAUTION",
    "headline": "여러 위험 신호가 함께 나타난 것으로 보임",
    "sections": [
        {
            "title": "주요 위험 신호",
            "sentences": [{"text": "재무 부담이 커진 것으로 나타남.", "citations": ["$TAKEN"]}],
        }
    ],
}


def script_of(*hanging: tuple[str, str]) -> dict[str, Any]:
    """Return a script; `hanging` are (kind, words): the first request of that kind with them hangs."""
    script: dict[str, Any] = {
        "rules": [
            {"match": INSIGHT, "take": r"signal:\d+", "answer": _INSIGHT},
            {"match": "gaon-hanbit", "answer": {"signals": [_LAWSUIT]}},
            {"match": "", "answer": {"signals": []}},
        ],
        "searches": [{"match": "한빛정밀", "results": [_FOUND]}],
        "embeddings": [],
    }
    for kind, words in hanging:
        script[kind].insert(0, {"match": words, "latency_s": NEVER_S, "once": True, "answer": {}})
    return script
