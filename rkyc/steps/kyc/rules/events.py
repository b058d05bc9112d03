"""Risk signals from events: what the sources say about the company, its industry and its rules.

One risk signal per story, with every certain source of it as evidence; a quote is the whole sentence
that holds the word. A sentence counts when it names the company and does not deny the word, nor tell
of harm done *to* the company. A rumour keeps the lowest confidence and goes to a person. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rkyc.steps.kyc.events.grade import source_owner
from rkyc.steps.kyc.events.industries import industry_pattern
from rkyc.steps.kyc.events.match import SCORE_MIN, Identity, find_company, fold
from rkyc.steps.kyc.events.names import strip_legal_form
from rkyc.steps.kyc.events.role import is_in_passing, is_named, is_victim_sentence, mask_mentions
from rkyc.steps.kyc.negation import is_negated
from rkyc.steps.kyc.quotes import QUOTE_CHARS_MAX, find_quote
from rkyc.steps.kyc.rules.terms import RUMOUR, TOPICS, Topic
from rkyc.steps.kyc.schemas import SUMMARY_CHARS_MAX, TITLE_CHARS_MAX, EvidenceRef, Lang, RiskSignalDraft
from rkyc.steps.kyc.sentences import Span, clip, split_sentences
from rkyc.steps.kyc.vocabulary import (
    EntityRole,
    EvidenceType,
    Level,
    MatchBasis,
    RefType,
    SignalType,
    SourceGrade,
)
from rkyc.steps.kyc.wording import fit, hedge

_BY_NAME = frozenset({MatchBasis.REGISTRATION_NO, MatchBasis.NAME, MatchBasis.ALIAS})
_SOURCES_MAX = 10
_RUMOUR_SEVERITY_MAX = 3


@dataclass(frozen=True, slots=True)
class EventView:
    """A stored event as the rules see it; `text` exactly as stored."""

    url: str
    title: str
    text: str
    grade: SourceGrade
    cluster_no: int
    score: float
    basis: MatchBasis
    role: EntityRole
    source: str | None = None
    published_at: datetime | None = None
    lang: str | None = None
    source_file: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A word of a topic in a sentence: the span is the sentence's, in the stored text."""

    topic: Topic
    span: Span
    is_rumour: bool = False
    in_title: bool = False


def evaluate_events(events: Sequence[EventView], company: Identity, lang: Lang) -> list[RiskSignalDraft]:
    """Return the drafts that the events give, one per story at most."""
    stories: defaultdict[int, list[EventView]] = defaultdict(list)
    for event in events:
        stories[event.cluster_no].append(event)
    drafts = [_judge_story(stories[number], company, lang) for number in sorted(stories)]
    return [draft for draft in drafts if draft is not None]


def find_company_hits(event: EventView, company: Identity) -> list[Hit]:
    """Return the words that the event says about the company itself."""
    if event.role is EntityRole.VICTIM or event.role is EntityRole.MENTIONED:
        return []
    hits: list[Hit] = []
    spans = split_sentences(event.text)
    is_rumoured = RUMOUR.search(fold(event.title)) is not None
    for index, span in enumerate(spans):
        sentence = _mask(event.text[span.start : span.end], company)
        named = is_named(sentence)
        follows = index > 0 and not named and is_named(_mask(_slice(event.text, spans[index - 1]), company))
        if not (named or follows) or is_victim_sentence(sentence) or is_in_passing(sentence):
            continue
        for topic in TOPICS:
            if topic.signal_type is not SignalType.DIRECT or (follows and topic.extreme):
                continue
            if _tells(topic, sentence):
                rumour = is_rumoured or RUMOUR.search(sentence) is not None
                hits.append(Hit(topic, span, rumour, topic.pattern.search(fold(event.title)) is not None))
    return hits


def find_industry_hits(event: EventView, company: Identity) -> list[Hit]:
    """Return the words that the event says about the company's industry or its rules."""
    words = industry_pattern(company.industry_code)
    if words is None:
        return []
    title = fold(event.title)
    hits: list[Hit] = []
    for span in split_sentences(event.text):
        sentence = fold(event.text[span.start : span.end])
        for topic in TOPICS:
            if topic.signal_type is SignalType.DIRECT or not _tells(topic, sentence):
                continue
            if words.search(sentence) or words.search(title):
                hits.append(Hit(topic, span, in_title=topic.pattern.search(title) is not None))
    return hits


def _judge_story(members: Sequence[EventView], company: Identity, lang: Lang) -> RiskSignalDraft | None:
    # A story without a certain source is drafted too: validation drops it with its reason, so that a
    # person sees that there was something, and with which score.
    certain = [event for event in members if event.score >= SCORE_MIN] or list(members)
    direct = [(event, find_company_hits(event, company)) for event in certain if event.basis in _BY_NAME]
    if any(hits for _, hits in direct):
        return _draft(_gravest(direct), direct, company, lang)
    wider = [(event, find_industry_hits(event, company)) for event in certain if event.basis not in _BY_NAME]
    if any(hits for _, hits in wider):
        return _draft(_most_told(wider), wider, company, lang)
    return None


def _gravest(found: Sequence[tuple[EventView, list[Hit]]]) -> Topic:
    topics = {hit.topic.id for _, hits in found for hit in hits}
    # What the headline tells is what the story is about; the gravest word may be an aside.
    titled = {hit.topic.id for _, hits in found for hit in hits if hit.in_title}
    return next(topic for topic in TOPICS if topic.id in (titled or topics))


def _most_told(found: Sequence[tuple[EventView, list[Hit]]]) -> Topic:
    weight: defaultdict[str, int] = defaultdict(int)
    for _, hits in found:
        for hit in hits:
            weight[hit.topic.id] += 3 if hit.in_title else 1
    best = max(weight.values())
    return next(topic for topic in TOPICS if weight.get(topic.id) == best)


def _draft(
    topic: Topic, found: Sequence[tuple[EventView, list[Hit]]], company: Identity, lang: Lang
) -> RiskSignalDraft:
    sources = [(event, hit) for event, hits in found for hit in [_first(hits, topic)] if hit is not None]
    sources.sort(
        key=lambda pair: (pair[0].grade, pair[0].lang != lang, pair[0].published_at is None, pair[0].url)
    )
    sources = sources[:_SOURCES_MAX]
    is_rumour = all(hit.is_rumour for _, hit in sources)
    confidence = Level.LOW if is_rumour else _confidence([event for event, _ in sources])
    told, told_hit = next(
        ((event, hit) for event, hit in sources if event.lang == lang and hit.is_rumour == is_rumour),
        sources[0],
    )
    return RiskSignalDraft(
        signal_type=topic.signal_type,
        event_type=topic.event_type,
        category=topic.category,
        title=_title(topic, company, lang, is_rumour),
        summary=_summary(_slice(told.text, told_hit.span), lang, is_rumour),
        direction=topic.direction,
        strength=Level.LOW if is_rumour else topic.strength,
        confidence=confidence,
        severity=min(topic.severity, _RUMOUR_SEVERITY_MAX) if is_rumour else topic.severity,
        probability=Level.LOW if is_rumour else topic.probability,
        evidence=[_evidence(event, hit) for event, hit in sources],
        rule_id=topic.id,
        period=_first_day([event for event, _ in sources]),
        needs_review=is_rumour,
        review_reasons=["RUMOUR"] if is_rumour else [],
    )


def _first_day(events: Sequence[EventView]) -> str | None:
    """The day on which the story was first told: tells it from a later story of the same kind."""
    days = [event.published_at.date().isoformat() for event in events if event.published_at is not None]
    return min(days, default=None)


def _confidence(events: Sequence[EventView]) -> Level:
    owners = {source_owner(event.url) for event in events}
    if all(event.grade is SourceGrade.C for event in events):
        return Level.LOW
    return Level.HIGH if len(owners) > 1 else Level.MED


def _title(topic: Topic, company: Identity, lang: Lang, is_rumour: bool) -> str:
    name = strip_legal_form(company.name if lang == "ko" else company.name_en or company.name)
    is_wider = topic.signal_type is not SignalType.DIRECT
    if lang == "ko":
        tail = f"{' 업종' if is_wider else ''} {topic.label_ko} {'소문(미확인)' if is_rumour else '보도'}"
    else:
        tail = f"{' industry' if is_wider else ''}: {topic.label_en}{' (rumour)' if is_rumour else ''}"
    return fit(name, max(8, TITLE_CHARS_MAX - len(tail))) + tail


def _summary(sentence: str, lang: Lang, is_rumour: bool) -> str:
    words = " ".join(fold(sentence).split())
    if lang == "ko":
        lead = "확인되지 않은 소문으로 전해짐: " if is_rumour else "보도에 따르면 "
    else:
        lead = "Told as a rumour, unconfirmed: " if is_rumour else "Sources report: "
    return fit(hedge(lead + words), SUMMARY_CHARS_MAX)


def _evidence(event: EventView, hit: Hit) -> EvidenceRef:
    focus = find_quote(_slice(event.text, hit.span), _word(event, hit))
    at = Span(hit.span.start, hit.span.start + 1)
    if focus is not None:
        at = Span(hit.span.start + focus.char_start, hit.span.start + focus.char_end)
    span = clip(event.text, hit.span, QUOTE_CHARS_MAX, at)
    return EvidenceRef(
        evidence_type=EvidenceType.EXTERNAL,
        ref_type=RefType.URL,
        ref=event.url,
        quote=event.text[span.start : span.end],
        char_start=span.start,
        char_end=span.end,
        source_grade=event.grade,
        published_at=event.published_at,
        source_file=event.source_file,
    )


def _word(event: EventView, hit: Hit) -> str:
    match = hit.topic.pattern.search(fold(_slice(event.text, hit.span)))
    return match[0] if match else ""


def _first(hits: Sequence[Hit], topic: Topic) -> Hit | None:
    return next((hit for hit in hits if hit.topic is topic), None)


def _tells(topic: Topic, sentence: str) -> bool:
    return any(not is_negated(sentence, *match.span()) for match in topic.pattern.finditer(sentence))


def _mask(sentence: str, company: Identity) -> str:
    folded = fold(sentence)
    return mask_mentions(folded, Span(0, len(folded)), find_company(folded, company))


def _slice(text: str, span: Span) -> str:
    return text[span.start : span.end]
