"""Warnings in a reader's words: what could not be read or done, and what the reader can do about it.

A code that has no entry is shown with its own message. Codes of documents and errors are compared without
regard to case.
"""

from __future__ import annotations

from dataclasses import dataclass

from rkyc.report.types import Lang

# Code: (what in Korean, what in English, what to do in Korean, what to do in English).
_ADVICE: dict[str, tuple[str, str, str, str]] = {
    "ocr_unavailable": (
        "그림(스캔)으로 된 쪽을 읽지 못했습니다. 문자 인식(OCR)을 쓸 수 없어 그 내용은 분석에 들어 있지 않습니다.",
        "Pages that are pictures (scans) were not read: OCR is not available, so what they say is not in the analysis.",
        "글자가 있는 파일(PDF, DOCX, XLSX)로 다시 제출하거나 원본을 직접 확인하십시오.",
        "Submit a file with text (PDF, DOCX, XLSX) or check the original by eye.",
    ),
    "page_unreadable": (
        "손상된 쪽이 있어 읽지 못했습니다.",
        "A damaged page was not read.",
        "문서를 다시 내보내어 제출하거나 그 쪽을 직접 확인하십시오.",
        "Export the document again, or check that page by eye.",
    ),
    "pages_truncated": (
        "쪽수가 한도를 넘어 앞부분만 읽었습니다.",
        "The document is over the limit of pages; only the first ones were read.",
        "문서를 나누어 제출하십시오.",
        "Split the document and submit it again.",
    ),
    "text_truncated": (
        "글자 수가 한도를 넘어 앞부분만 읽었습니다.",
        "The document is over the limit of characters; only the first part was read.",
        "문서를 나누어 제출하십시오.",
        "Split the document and submit it again.",
    ),
    "text_too_short": (
        "읽을 수 있는 글자가 거의 없는 문서입니다.",
        "The document holds hardly any text.",
        "올바른 파일인지 확인하십시오.",
        "Check that it is the right file.",
    ),
    "hidden_text": (
        "사람 눈에 보이지 않는 글자가 들어 있는 문서입니다.",
        "The document holds text that a reader does not see.",
        "작성 경위를 확인하십시오.",
        "Ask how it was made.",
    ),
    "prompt_injection_suspected": (
        "분석 도구에 지시하려는 듯한 문장이 문서에 들어 있습니다. 지시로 받아들이지 않았습니다.",
        "The document holds sentences that read like orders to an analysis tool; they were not followed.",
        "문서의 출처를 확인하십시오.",
        "Check where the document comes from.",
    ),
    "conflicting_figure": (
        "같은 항목에 서로 다른 값이 있어 먼저 나온 값을 사용했습니다.",
        "One figure has two values; the first one was used.",
        "어느 값이 맞는지 확인하여 다시 제출하십시오.",
        "Find out which is right and submit it again.",
    ),
    "unknown_concept": (
        "알 수 없는 계정과목이 있어 제외했습니다.",
        "An account name is not known; its row was left out.",
        "표준 계정명으로 바꾸어 다시 제출하십시오.",
        "Use a standard account name and submit it again.",
    ),
    "other_currency": (
        "다른 통화로 된 수치가 있어 제외했습니다.",
        "Figures in another currency were left out.",
        "한 통화로 된 재무제표를 제출하십시오.",
        "Submit statements in one currency.",
    ),
    "event_unusable": (
        "읽을 수 없는 기사 기록이 있어 제외했습니다.",
        "A recorded news item could not be read and was left out.",
        "파일의 해당 줄을 고쳐 다시 제출하십시오.",
        "Mend that line of the file and submit it again.",
    ),
    "invalid_file": (
        "파일이 손상되었거나 암호가 걸려 있어 읽지 못했습니다. 그 내용은 분석에 들어 있지 않습니다.",
        "The file is damaged or encrypted and was not read; what it says is not in the analysis.",
        "암호를 풀거나 다시 저장하여 제출하십시오.",
        "Remove the password or save it again, then submit it.",
    ),
    "unsupported_type": (
        "지원하지 않는 형식이어서 읽지 못했습니다. 그 내용은 분석에 들어 있지 않습니다.",
        "The file is of a kind that is not supported and was not read; what it says is not in the analysis.",
        "PDF, DOCX, XLSX, HTML 또는 텍스트로 바꾸어 제출하십시오.",
        "Convert it to PDF, DOCX, XLSX, HTML or plain text and submit it.",
    ),
    "file_too_large": (
        "파일이 너무 커서 읽지 못했습니다. 그 내용은 분석에 들어 있지 않습니다.",
        "The file is too large and was not read; what it says is not in the analysis.",
        "나누어 제출하십시오.",
        "Split it and submit it again.",
    ),
    "embedding_partial_failure": (
        "유사도 검색에 쓰는 값을 일부 만들지 못했습니다. 신호 자체에는 영향이 없습니다.",
        "Some vectors for the search by meaning are missing; the signals themselves are complete.",
        "다시 분석하면 채워집니다.",
        "Another run fills them in.",
    ),
}
# A whole family of errors that mean the same to a reader.
_FAMILIES: tuple[tuple[str, tuple[str, str, str, str]], ...] = (
    (
        "llm_",
        (
            "언어 모델의 답을 받지 못해 그 부분은 규칙과 문장 틀로 대신했습니다.",
            "The language model gave no answer; rules and templates stand in for that part.",
            "모델의 접속 설정을 확인하고 다시 분석하십시오.",
            "Check the access to the model and run it again.",
        ),
    ),
    (
        "search_",
        (
            "뉴스 검색이 답하지 않아 최근 보도가 빠졌을 수 있습니다.",
            "The news search gave no answer; recent reports may be missing.",
            "나중에 다시 분석하십시오.",
            "Run the analysis again later.",
        ),
    ),
    (
        "embedding_",
        (
            "유사 사례를 찾지 못했습니다. 신호 자체에는 영향이 없습니다.",
            "Similar cases could not be looked up; the signals themselves are complete.",
            "나중에 다시 분석하십시오.",
            "Run the analysis again later.",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Advice:
    what: str
    todo: str


def explain_warning(code: str, lang: Lang) -> Advice | None:
    """Return what a warning means and what to do, None for a code without words."""
    key = code.lower()
    found = _ADVICE.get(key) or next((words for start, words in _FAMILIES if key.startswith(start)), None)
    if found is None:
        return None
    place = 0 if lang == "ko" else 1
    return Advice(found[place], found[place + 2])
