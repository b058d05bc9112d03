"""Writes and judges the insight: a template from the risk signals, and the checks of a model's text.

Every sentence cites what it stands on. Without risk signals the insight says what was looked at and
that nothing was found; it never fills a gap. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rkyc.steps.kyc.grounding import find_ungrounded
from rkyc.steps.kyc.schemas import Insight, Lang, RiskSignalDraft, Section, Sentence
from rkyc.steps.kyc.vocabulary import ChangeKind, ImpactDirection, Level, Stance
from rkyc.steps.kyc.wording import fit, hedge

TEMPLATE = "template"
_SIGNAL = "signal:"
_HEADLINE_CHARS_MAX = 200
_SENTENCE_CHARS_MAX = 600
_SECTION_CHARS_MAX = 100
_CITATIONS_MAX = 12

# The formula of the source system's quality gate, for what this version can know. Its points for peers
# are left out: there is no peer data, and what can't be earned must not be lost either.
QUALITY_MIN = 60.0
COVERAGE_MIN = 0.5
_REFUSED_SENTENCE = 10.0
_COVERAGE_GOAL, _COVERAGE_WEIGHT = 0.8, 25.0
_NO_COUNTER_EVIDENCE, _NO_REGULATION = 15.0, 10.0
_CHECK, _CHECKS_MAX = 2.0, 5

_TEXT = {
    "ko": {
        "risk": "주요 위험 신호",
        "chance": "기회 요인",
        "watch": "추가 관찰 사항",
        "change": "이전 분석과의 차이",
        "checked": "확인한 자료",
        "NEW": "새로 나타난 신호: ",
        "CHANGED": "내용이 달라진 신호: ",
        "UNCHANGED": "이전과 같은 신호: ",
        "GONE": "더 이상 나타나지 않는 신호: ",
        "figures": "재무제표({}) 기준으로 규칙을 점검함.",
        "papers": "제출 서류({})를 확인함.",
        "news": "외부 보도와 공시를 확인함.",
        "record": "등록된 회사 정보를 확인함.",
        "calm": "확인한 자료에서 기준을 넘는 위험 신호는 발견되지 않음.",
        "head_calm": "{}: 확인한 자료에서 위험 신호가 발견되지 않음",
        "head_risk": "{}: {}",
        "head_chance": "{}: 위험 신호 없이 긍정적 신호가 확인됨",
    },
    "en": {
        "risk": "Main risk signals",
        "chance": "Favourable signals",
        "watch": "Also observed",
        "change": "Against the earlier analysis",
        "checked": "What was looked at",
        "NEW": "New: ",
        "CHANGED": "Changed: ",
        "UNCHANGED": "As before: ",
        "GONE": "No longer seen: ",
        "figures": "The rules were applied to the statements ({}).",
        "papers": "The papers ({}) were read.",
        "news": "News and disclosures were looked through.",
        "record": "The company's record was looked at.",
        "calm": "Nothing in what was looked at crosses a threshold for a risk signal.",
        "head_calm": "{}: no risk signal in what was looked at",
        "head_risk": "{}: {}",
        "head_chance": "{}: favourable signals and no risk signal",
    },
}


@dataclass(frozen=True, slots=True)
class Reported:
    """A risk signal of this run with its id and how it stands to the earlier run."""

    id: int
    draft: RiskSignalDraft
    change: ChangeKind
    below_cut: bool

    @property
    def citation(self) -> str:
        return f"{_SIGNAL}{self.id}"

    @property
    def is_risk(self) -> bool:
        return self.draft.direction is ImpactDirection.RISK


@dataclass(frozen=True, slots=True)
class Gone:
    """A risk signal that the earlier run reported and this one does not."""

    id: int
    title: str

    @property
    def citation(self) -> str:
        return f"{_SIGNAL}{self.id}"


@dataclass(frozen=True, slots=True)
class Looked:
    """What the run has looked at, as citations: statement periods, papers with text, events."""

    periods: tuple[str, ...] = ()
    papers: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    has_previous: bool = False

    @property
    def citations(self) -> frozenset[str]:
        period_refs = {f"snapshot:/statements/{period}" for period in self.periods}
        return frozenset({*period_refs, *self.papers, *self.events, "snapshot:/corp"})


def choose_stance(reported: Sequence[Reported]) -> Stance:
    """CAUTION for a grave risk that is no mere hearsay, MONITORING for any risk."""
    risks = [each.draft for each in reported if each.is_risk]
    if any(draft.severity >= 4 and draft.confidence is not Level.LOW for draft in risks):
        return Stance.CAUTION
    if risks:
        return Stance.MONITORING
    return Stance.POSITIVE if reported else Stance.STABLE


def write_template(
    company: str, reported: Sequence[Reported], looked: Looked, lang: Lang, gone: Sequence[Gone] = ()
) -> Insight:
    """Write the insight from titles and summaries that validation has passed."""
    text = _TEXT[lang]
    kept = [each for each in reported if not each.below_cut]
    groups = (
        ("risk", [each for each in kept if each.is_risk]),
        ("chance", [each for each in kept if not each.is_risk]),
        ("watch", [each for each in reported if each.below_cut]),
    )
    sections = [
        Section(title=text[name], sentences=[_sentence(each) for each in group])
        for name, group in groups
        if group
    ]
    # Where all are new there was nothing before to compare with.
    if gone or any(each.change is not ChangeKind.NEW for each in reported):
        sections.append(Section(title=text["change"], sentences=_change_sentences(reported, gone, text)))
    sections.append(Section(title=text["checked"], sentences=_checked_sentences(reported, looked, text)))
    return finish(
        choose_stance(reported), _headline(company, reported, text), sections, reported, looked, TEMPLATE
    )


def finish(
    stance: Stance,
    headline: str,
    sections: Sequence[Section],
    reported: Sequence[Reported],
    looked: Looked,
    provider: str,
    refused: int = 0,
) -> Insight:
    """Put an insight together and give it its coverage and quality; `refused` sentences count against it."""
    cited = {citation for section in sections for each in section.sentences for citation in each.citations}
    coverage = sum(each.citation in cited for each in reported) / len(reported) if reported else 1.0
    return Insight(
        stance=stance,
        headline=fit(headline, _HEADLINE_CHARS_MAX),
        sections=list(sections),
        quality_score=_score(coverage, reported, looked, refused),
        coverage=round(coverage, 4),
        provider=provider,
    )


def check_sections(
    sections: Sequence[Section], reported: Sequence[Reported], looked: Looked
) -> tuple[list[Section], int]:
    """Keep the sentences that cite what exists and tell only its numbers; count the refused ones."""
    known = {each.citation: _told_by(each) for each in reported}
    known |= {citation: [citation] for citation in looked.citations}
    kept: list[Section] = []
    refused = 0
    for section in sections:
        sentences = []
        for sentence in section.sentences:
            checked = _check_sentence(sentence, known)
            if checked is None:
                refused += 1
            else:
                sentences.append(checked)
        if sentences:
            kept.append(Section(title=fit(section.title, _SECTION_CHARS_MAX), sentences=sentences))
    return kept, refused


def is_grounded_headline(headline: str, reported: Sequence[Reported]) -> bool:
    """Say whether a headline tells only numbers of the reported risk signals."""
    return not find_ungrounded(headline, [told for each in reported for told in _told_by(each)])


def _check_sentence(sentence: Sentence, known: Mapping[str, Sequence[str]]) -> Sentence | None:
    if any(citation not in known for citation in sentence.citations):
        return None
    told = [text for citation in sentence.citations for text in known[citation]]
    text = hedge(sentence.text)
    if not text or find_ungrounded(text, told):
        return None
    return Sentence(text=text, citations=sentence.citations)


def _told_by(each: Reported) -> list[str]:
    draft = each.draft
    quotes = [text for evidence in draft.evidence for text in (evidence.quote, evidence.ref)]
    return [draft.title, draft.summary, *quotes]


def _sentence(each: Reported) -> Sentence:
    return Sentence(
        text=fit(f"{each.draft.title}. {each.draft.summary}", _SENTENCE_CHARS_MAX), citations=[each.citation]
    )


def _change_sentences(
    reported: Sequence[Reported], gone: Sequence[Gone], text: Mapping[str, str]
) -> list[Sentence]:
    groups = [
        (change, [(each.citation, each.draft.title) for each in reported if each.change is change])
        for change in (ChangeKind.NEW, ChangeKind.CHANGED, ChangeKind.UNCHANGED)
    ]
    groups.append((ChangeKind.GONE, [(each.citation, each.title) for each in gone]))
    return [
        Sentence(
            text=fit(text[change] + "; ".join(title for _, title in group), _SENTENCE_CHARS_MAX),
            citations=[citation for citation, _ in group],
        )
        for change, group in groups
        if group
    ]


def _checked_sentences(
    reported: Sequence[Reported], looked: Looked, text: Mapping[str, str]
) -> list[Sentence]:
    sentences = []
    figures = [f"snapshot:/statements/{period}" for period in looked.periods]
    if figures:
        told = text["figures"].format(", ".join(looked.periods))
        sentences.append(Sentence(text=fit(told, _SENTENCE_CHARS_MAX), citations=figures[:_CITATIONS_MAX]))
    if looked.papers:
        names = [citation.removeprefix("doc:").rpartition(":")[0] for citation in looked.papers]
        told = text["papers"].format(", ".join(dict.fromkeys(name.rpartition("/")[2] for name in names)))
        papers = list(looked.papers[:_CITATIONS_MAX])
        sentences.append(Sentence(text=fit(told, _SENTENCE_CHARS_MAX), citations=papers))
    if looked.events:
        sentences.append(Sentence(text=text["news"], citations=list(looked.events[:_CITATIONS_MAX])))
    everything = [*figures, *looked.papers, *looked.events][:_CITATIONS_MAX]
    if not everything:
        sentences.append(Sentence(text=text["record"], citations=["snapshot:/corp"]))
    if not any(each.is_risk for each in reported):
        sentences.append(Sentence(text=text["calm"], citations=everything or ["snapshot:/corp"]))
    return sentences


def _headline(company: str, reported: Sequence[Reported], text: Mapping[str, str]) -> str:
    worst = next((each for each in reported if each.is_risk), None)
    if worst is not None:
        return text["head_risk"].format(company, worst.draft.title)
    return text["head_chance" if reported else "head_calm"].format(company)


def _score(coverage: float, reported: Sequence[Reported], looked: Looked, refused: int) -> float:
    """100 less 10 a refused sentence, less what is missing, plus 2 a check that was made (at most 5).

    Counter-evidence is a signal of the other direction, or news that was looked through for it;
    regulation counts as looked at when there were events at all.
    """
    score = 100.0 - _REFUSED_SENTENCE * refused
    score -= max(0.0, _COVERAGE_GOAL - coverage) * _COVERAGE_WEIGHT
    both_ways = len({each.is_risk for each in reported}) > 1
    score -= 0.0 if both_ways or looked.events else _NO_COUNTER_EVIDENCE
    score -= 0.0 if looked.events else _NO_REGULATION
    checks = (
        bool(looked.periods),
        len(looked.periods) >= 3,
        bool(looked.papers),
        bool(looked.events),
        looked.has_previous,
    )
    score += _CHECK * min(_CHECKS_MAX, sum(checks))
    return round(min(100.0, max(0.0, score)), 1)
