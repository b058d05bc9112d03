from __future__ import annotations

import pytest

from rkyc.steps.kyc.events.match import Identity
from rkyc.steps.kyc.rules.documents import PageView, evaluate_documents

DAON = Identity(name="다온금속 주식회사", biz_no="999-81-11112")


def rule_ids(*pages: PageView) -> list[str | None]:
    return [draft.rule_id for draft in evaluate_documents(pages, DAON, "ko")]


@pytest.mark.parametrize(
    "text",
    [
        "이러한 상황은 계속기업으로서의 존속능력에 유의적 의문을 제기할 만한 중요한 불확실성이 존재함을 나타냅니다.",
        "우리는 재무제표에 대하여 의견을 표명하지 않습니다.",
        "감사인은 의견거절을 표명하였다.",
        "우리는 재무제표에 대하여 한정의견을 표명합니다.",
        (
            "These conditions raise substantial doubt about the Company's ability to continue as a going "
            "concern."
        ),
        (
            "A material uncertainty exists that may cast significant doubt on the ability to continue as a "
            "going concern."
        ),
        "On March 29 the Company filed voluntary petitions under Chapter 11.",
    ],
)
def test_stated_doubt_is_found_with_its_sentence(text: str) -> None:
    page = PageView("documents/report.pdf", 2, "머리말입니다.\r\n\r\n" + text + "\r\n\r\n맺음말입니다.")
    (draft,) = evaluate_documents([page], DAON, "ko")
    (evidence,) = draft.evidence
    assert (draft.rule_id, evidence.ref, evidence.quote) == ("X-GOING", "documents/report.pdf:2", text)
    assert page.text[evidence.char_start : evidence.char_end] == text


@pytest.mark.parametrize(
    "text",
    [
        (
            "계속기업으로서의 존속능력에 대하여 유의적 의문을 초래할 수 있는 사건이나 상황과 관련된\r\n중요한 불확실성이 존재하는지 "
            "여부에 대하여 결론을 내립니다."
        ),
        "중요한 불확실성이 존재한다고 결론을 내리는 경우 감사보고서에 주의를 환기시킬 것이 요구됩니다. 계속기업 전제로 작성됩니다.",
        "계속기업 가정에 중요한 불확실성은 존재하지 않습니다.",
        "경영진은 계속기업을 전제로 재무제표를 작성할 책임이 있습니다.",
        (
            "We conclude on whether a material uncertainty exists that may cast significant doubt on going "
            "concern."
        ),
        (
            "If we conclude that a material uncertainty related to going concern exists, we are required "
            "to draw attention."
        ),
        "There is no substantial doubt about the Company's ability to continue as a going concern.",
        "We issued an unqualified opinion.",
    ],
)
def test_standard_sentences_of_an_audit_report_stay_silent(text: str) -> None:
    assert rule_ids(PageView("documents/report.pdf", 1, text)) == []


def _paper(name: str, text: str) -> PageView:
    return PageView(f"documents/{name}", 1, f"상호\t다온금속 주식회사\n{text}\n")


def test_two_papers_that_disagree_are_a_conflict() -> None:
    pages = (
        _paper("a.docx", "사업자등록번호\t999-81-11112"),
        _paper("b.docx", "사업자등록번호: 999-81-22223"),
    )
    (draft,) = evaluate_documents(pages, DAON, "ko")
    assert draft.rule_id == "X-CONFLICT"
    assert {evidence.ref for evidence in draft.evidence} == {"documents/a.docx:1", "documents/b.docx:1"}
    for page, evidence in zip(pages, draft.evidence, strict=True):
        assert page.text[evidence.char_start : evidence.char_end] == evidence.quote


def test_papers_that_agree_or_tell_of_others_are_none() -> None:
    same = (_paper("a.docx", "대표이사\t남도일"), _paper("b.docx", "대표이사 : 남도일"))
    assert rule_ids(*same) == []
    other = PageView("documents/c.docx", 1, "상호\t가나전자\n사업자등록번호\t123-45-67890")
    assert rule_ids(_paper("a.docx", "사업자등록번호\t999-81-11112"), other) == []
    both = _paper("d.docx", "사업자등록번호\t999-81-11112\n거래처 사업자등록번호\t123-45-67890")
    assert rule_ids(_paper("a.docx", "사업자등록번호\t999-81-11112"), both) == []
