"""Judges one found text: is it about the company, its industry, or none of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from rkyc.steps.kyc.events.grade import grade_source
from rkyc.steps.kyc.events.industries import industry_pattern
from rkyc.steps.kyc.events.match import Identity, Match, fold, match_company
from rkyc.steps.kyc.events.role import find_role
from rkyc.steps.kyc.rules.terms import TOPICS, Topic
from rkyc.steps.kyc.vocabulary import EntityRole, EventClass, MatchBasis, SignalType, SourceGrade, SourceType

# Below this the text contradicts what is known of the company: a namesake.
_NAMESAKE_SCORE = 0.35
# How sure it is that a text concerns the industry: its word in the headline, or in the text alone.
_INDUSTRY_IN_TITLE, _INDUSTRY_IN_TEXT = 0.85, 0.7
_CLASS_OF_TOPIC = {
    "E-INSOLVENCY": EventClass.FINANCIAL_CHANGE,
    "E-DELISTING": EventClass.FINANCIAL_CHANGE,
    "E-AUDIT": EventClass.FINANCIAL_CHANGE,
    "E-WAGES": EventClass.FINANCIAL_CHANGE,
    "E-CREDIT": EventClass.FINANCIAL_CHANGE,
    "E-CRIME": EventClass.REGULATION,
    "E-PROBE": EventClass.REGULATION,
    "E-LAWSUIT": EventClass.REGULATION,
    "E-ACCIDENT": EventClass.SUPPLY_DISRUPTION,
    "E-OWNER": EventClass.GOVERNANCE,
    "E-GOVERNANCE": EventClass.GOVERNANCE,
    "E-POLICY": EventClass.POLICY_CHANGE,
    "E-INDUSTRY": EventClass.MARKET_SHIFT,
    "O-BUSINESS": EventClass.INVESTMENT_MA,
}
_TRACKING = ("utm_", "fbclid", "gclid", "igshid")


@dataclass(frozen=True, slots=True)
class Judged:
    """`drop_reason` says why a text is not kept; else the rest says what it has to do with the company.

    `subject` is equal for texts that may tell of the same facts.
    """

    grade: SourceGrade
    event_class: EventClass
    subject: str
    score: float = 0.0
    basis: MatchBasis = MatchBasis.NAME
    role: EntityRole = EntityRole.MENTIONED
    reasons: tuple[str, ...] = ()
    drop_reason: str | None = None


def judge_hit(
    *, url: str, title: str, text: str, source: str | None, source_type: SourceType, company: Identity
) -> Judged:
    """Judge a text as it was found."""
    title, text = fold(title), fold(text)
    grade = grade_source(url, source, source_type)
    match = match_company(title, text, company)
    topics = [topic for topic in TOPICS if topic.pattern.search(f"{title}\n{text}")]
    event_class = _CLASS_OF_TOPIC.get(topics[0].id, EventClass.OTHER) if topics else EventClass.OTHER
    wider = _judge_industry(title, text, topics, match, company)
    role = find_role(title, text, match.mentions)
    if match.basis is not None and match.score < _NAMESAKE_SCORE:
        return Judged(
            grade, event_class, "namesake", match.score, reasons=match.reasons, drop_reason="NAMESAKE"
        )
    if match.basis is not None and not (role is EntityRole.MENTIONED and wider is not None):
        subject = "company" if match.is_certain else "uncertain"
        return Judged(grade, event_class, subject, match.score, match.basis, role, match.reasons)
    if wider is not None:
        score, reasons = wider
        basis = MatchBasis.INDUSTRY_CODE
        return Judged(
            grade, event_class, "industry", score, basis, EntityRole.MENTIONED, (*reasons, *match.reasons)
        )
    reason = "OTHER_COMPANY" if match.other_names else "NOT_RELATED"
    return Judged(grade, event_class, "other", reasons=match.reasons, drop_reason=reason)


def canonical_url(url: str) -> str:
    """Return a url without what only tells who clicked where: two of the same page are equal."""
    parts = urlsplit(url.strip())
    query = [(key, value) for key, value in parse_qsl(parts.query, True) if not key.startswith(_TRACKING)]
    host = parts.netloc.lower().removeprefix("www.")
    return urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/") or "/", urlencode(query), ""))


def _judge_industry(
    title: str, text: str, topics: list[Topic], match: Match, company: Identity
) -> tuple[float, tuple[str, ...]] | None:
    """Return score and reasons when the text tells of the industry or its rules, without another's name."""
    words = industry_pattern(company.industry_code)
    wider = [topic for topic in topics if topic.signal_type is not SignalType.DIRECT]
    # Another company in the headline makes it that company's story, not the industry's.
    if words is None or not wider or any(name in title for name in match.other_names):
        return None
    in_title = words.search(title)
    found = in_title or words.search(text)
    if found is None:
        return None
    score = _INDUSTRY_IN_TITLE if in_title else _INDUSTRY_IN_TEXT
    return score, (f"INDUSTRY_WORD: {found[0]}", f"TOPIC: {wider[0].id}")
