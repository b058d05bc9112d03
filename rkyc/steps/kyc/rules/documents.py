"""Risk signals from papers: doubt about going concern, and papers that contradict one another.

Every audit report tells the auditor's *duty* to look at going concern; that standard sentence, and one
that denies the doubt, make no risk signal. Pages are stored texts; quotes are whole sentences of them.
Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.events.match import Identity, fold
from rkyc.steps.kyc.events.names import find_mentions
from rkyc.steps.kyc.negation import is_negated
from rkyc.steps.kyc.quotes import QUOTE_CHARS_MAX, find_quote
from rkyc.steps.kyc.schemas import SUMMARY_CHARS_MAX, TITLE_CHARS_MAX, EvidenceRef, Lang, RiskSignalDraft
from rkyc.steps.kyc.sentences import Span, clip, split_sentences
from rkyc.steps.kyc.vocabulary import (
    EventType,
    EvidenceType,
    ImpactDirection,
    Level,
    RefType,
    RiskCategory,
    SignalType,
)
from rkyc.steps.kyc.wording import fit, hedge

_DOUBT = re.compile(
    r"""
    계속\s*기업[^.]{0,80}?(?:유의적|중요한|중대한)?\s*(?:의문|불확실성)
  | (?:의문|불확실성)[^.]{0,40}?계속\s*기업
  | (?:감사\s*)?의견을?\s*(?:거절|표명하지\s*(?:않|아니))
  | 의견\s*거절 | 부적정\s*의견 | (?:한정|비적정)\s*의견(?:을|이|으로)
  | 기업\s*회생\s*절차\s*(?:개시|를?\s*신청)
  | substantial\s+doubt[^.]{0,120}?going\s+concern | going\s+concern[^.]{0,120}?substantial\s+doubt
  | material\s+uncertainty[^.]{0,160}?going\s+concern | going\s+concern[^.]{0,120}?(?:in\s+doubt
  |material\s+uncertainty)
  | disclaimer\s+of\s+opinion | do(?:es)?\s+not\s+express\s+an\s+opinion\s+on\s+the | adverse\s+opinion
  | qualified\s+opinion
  | (?:filed|file|filing)[^.]{0,60}?(?:Chapter\s+11|voluntary\s+petition)
    """,
    re.VERBOSE | re.IGNORECASE,
)
# The auditor's duties and conditions, as every report has them: what would be, not what is.
_STANDARD = re.compile(
    r"""
    여부 | 경우에?[는도]?\s | 결론을?\s*내리?(?:며|고|ㅂ니다|립니다) | 책임이\s*있 | 평가하(?:고|며|는|여야)\s | 요구(?:됩|되|하)
  | 해당되는\s*경우 | 초래할\s*수\s*있는\s*사건이나\s*상황과\s*관련
  | \bwhether\b | \bif\s+(?:any|we\s+conclude|such|substantial|conditions) | \bresponsib
  | \bare\s+required\s+to | \bis\s+required\s+to | \bconclude\s+on\b
  | \bfootnotes?\s+must\b | accounting\s+standards?\s+update | \brequires?\s+(?:management|an?\s+entity|us)\b
  | \bunless\b | \bmay\s+cast\s+[^.]{0,80}\band,?\s+if | \bwould\s+be\s+required | \bin\s+the\s+event\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_UNQUALIFIED_ENGLISH = re.compile(r"\bunqualified\s+opinion", re.IGNORECASE)
_PLACES_MAX = 5


@dataclass(frozen=True, slots=True)
class PageView:
    """A stored page: `name` as in the dossier, `page_no` from 1, `text` exactly as stored."""

    name: str
    page_no: int
    text: str
    data_class: DataClass = DataClass.INTERNAL

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.page_no}"


@dataclass(frozen=True, slots=True)
class _Field:
    code: str
    label_ko: str
    label_en: str
    pattern: re.Pattern[str]
    severity: int


# Forms space their labels out (대 표 자) and set the value behind a colon, a bar or a tab.
_FIELDS = (
    _Field(
        "biz_no",
        "사업자등록번호",
        "business number",
        re.compile(r"사\s*업\s*자\s*등\s*록\s*번\s*호\s*[:：|]?\s*(\d{3}-\d{2}-\d{5})(?!\d)"),
        3,
    ),
    _Field(
        "corp_reg_no",
        "법인등록번호",
        "corporate number",
        re.compile(r"법\s*인\s*등\s*록\s*번\s*호\s*[:：|]?\s*(\d{6}-\d{7})(?!\d)"),
        3,
    ),
    _Field(
        "ceo_name",
        "대표자",
        "representative",
        re.compile(r"대\s*표\s*(?:자|이\s*사)\s*(?:성\s*명)?(?:\s*[:：|]\s*|\t\s*)([가-힣]{2,4})(?![가-힣])"),
        2,
    ),
)


def evaluate_documents(pages: Sequence[PageView], company: Identity, lang: Lang) -> list[RiskSignalDraft]:
    """Return the drafts that the papers give: X-GOING once, X-CONFLICT once per field."""
    drafts = [_judge_going_concern(pages, lang)]
    drafts += [_judge_conflict(field, pages, company, lang) for field in _FIELDS]
    return [draft for draft in drafts if draft is not None]


def find_doubts(text: str) -> Iterator[Span]:
    """Yield the sentences of a stored text that state doubt about going concern or a bad audit opinion."""
    for span in split_sentences(text):
        sentence = fold(text[span.start : span.end])
        if _STANDARD.search(sentence) or _UNQUALIFIED_ENGLISH.search(sentence):
            continue
        if any(not is_negated(sentence, *match.span()) for match in _DOUBT.finditer(sentence)):
            yield span


def _judge_going_concern(pages: Sequence[PageView], lang: Lang) -> RiskSignalDraft | None:
    found = [(page, span) for page in pages for span in find_doubts(page.text)][:_PLACES_MAX]
    if not found:
        return None
    # A heading is evidence, but the sentence below it tells more.
    page, span = next((each for each in found if _is_sentence(*each)), found[0])
    told = " ".join(fold(page.text[span.start : span.end]).split())
    lead = "서류에 따르면 " if lang == "ko" else "A paper states: "
    return RiskSignalDraft(
        signal_type=SignalType.DIRECT,
        event_type=EventType.FINANCIAL_STATEMENT_UPDATE,
        category=RiskCategory.FINANCIAL,
        title="계속기업 존속능력 또는 감사의견 관련 우려"
        if lang == "ko"
        else "Going-concern doubt or bad audit opinion",
        summary=fit(hedge(lead + told), SUMMARY_CHARS_MAX),
        direction=ImpactDirection.RISK,
        strength=Level.HIGH,
        confidence=Level.HIGH if len({page.name for page, _ in found}) > 1 else Level.MED,
        severity=5,
        probability=Level.HIGH,
        evidence=[_evidence(page, span, _DOUBT) for page, span in found],
        rule_id="X-GOING",
    )


def _is_sentence(page: PageView, span: Span) -> bool:
    return page.text[span.end - 1] in ".!?。"


def _judge_conflict(
    field: _Field, pages: Sequence[PageView], company: Identity, lang: Lang
) -> RiskSignalDraft | None:
    values = _values(field, pages, company)
    if len(values) < 2 or len({page.name for page, _ in values.values()}) < 2:
        return None
    names = ", ".join(sorted({page.name.rsplit("/", 1)[-1] for page, _ in values.values()}))
    label = field.label_ko if lang == "ko" else field.label_en
    if lang == "ko":
        title, summary = (
            f"서류 간 {label} 불일치",
            f"서류마다 {label} 기재가 다른 것으로 확인됨: {' / '.join(values)}",
        )
    else:
        title, summary = (
            f"Papers disagree on the {label}",
            f"The papers give different values: {' / '.join(values)}",
        )
    return RiskSignalDraft(
        signal_type=SignalType.DIRECT,
        event_type=EventType.KYC_REFRESH,
        category=RiskCategory.OPERATIONAL,
        title=fit(title, TITLE_CHARS_MAX),
        summary=fit(
            f"{summary} ({names})" if not any(c.isdigit() for c in names) else summary, SUMMARY_CHARS_MAX
        ),
        direction=ImpactDirection.RISK,
        strength=Level.MED if field.severity > 2 else Level.LOW,
        confidence=Level.MED,
        severity=field.severity,
        probability=Level.MED,
        evidence=[_evidence(page, span, field.pattern) for page, span in values.values()],
        rule_id="X-CONFLICT",
        period=field.code,
    )


def _values(field: _Field, pages: Sequence[PageView], company: Identity) -> dict[str, tuple[PageView, Span]]:
    """Return each value with the first place that gives it, of pages that name the company.

    A page with several values for one field tells of several companies and decides nothing.
    """
    seen: defaultdict[str, list[tuple[PageView, Span]]] = defaultdict(list)
    for page in pages:
        folded = fold(page.text)
        found = {match[1] for match in field.pattern.finditer(folded)}
        if len(found) != 1 or not any(find_mentions(folded, name) for name in company.names):
            continue
        value = found.pop()
        match = find_quote(page.text, value)
        if match is not None:
            seen[value].append((page, _line_of(page.text, match.char_start, match.char_end)))
    return {value: places[0] for value, places in seen.items()}


def _line_of(text: str, start: int, end: int) -> Span:
    begin = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    stops = [at for at in (text.find("\n", end), text.find("\r", end)) if at >= 0]
    return clip(text, Span(begin, min(stops, default=len(text))), QUOTE_CHARS_MAX, Span(start, end))


def _evidence(page: PageView, span: Span, pattern: re.Pattern[str]) -> EvidenceRef:
    word = pattern.search(fold(page.text[span.start : span.end]))
    at = find_quote(page.text[span.start : span.end], word[0]) if word else None
    focus = (
        Span(span.start + at.char_start, span.start + at.char_end) if at else Span(span.start, span.start + 1)
    )
    if focus.end - focus.start > QUOTE_CHARS_MAX:
        focus = Span(focus.start, focus.start + 1)
    place = clip(page.text, span, QUOTE_CHARS_MAX, focus)
    return EvidenceRef(
        evidence_type=EvidenceType.DOC,
        ref_type=RefType.DOC_PAGE,
        ref=page.ref,
        quote=page.text[place.start : place.end],
        char_start=place.start,
        char_end=place.end,
        source_file=page.name,
    )
