"""Says whether a text is about *this* company, how sure that is, and why.

A registration number decides. A name needs company: the chief executive, the place, the industry or
the other-language name beside it; what contradicts (another number, another chief executive, another
trade) lowers the score. Below `SCORE_MIN` a person has to look, and no risk signal stands on it alone.
Pure; reasons are codes with what was seen, for people.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from rkyc.steps.kyc.events.industries import industry_pattern, other_industries
from rkyc.steps.kyc.events.names import Mention, find_mentions, find_other_names, strip_legal_form
from rkyc.steps.kyc.events.regions import find_cities, find_places
from rkyc.steps.kyc.vocabulary import MatchBasis

SCORE_MIN = 0.7
# Worth of each observation; a name alone stays below the mark, a name with one fact beside it reaches it.
_NAME, _ALIAS = 0.6, 0.55
_GAIN = {
    "LEGAL_FORM": 0.1,
    "CEO": 0.25,
    "PLACE": 0.15,
    "INDUSTRY": 0.15,
    "OTHER_LANGUAGE_NAME": 0.15,
    "LISTED_CODE": 0.25,
}
_LOSS = {"OTHER_REGISTRATION_NO": 0.4, "OTHER_CEO": 0.35, "OTHER_INDUSTRY": 0.25, "OTHER_PLACE": 0.2}

_BIZ_NO = re.compile(r"(?<!\d)\d{3}-\d{2}-\d{5}(?!\d)")
_CORP_REG_NO = re.compile(r"(?<!\d)\d{6}-\d{7}(?!\d)")
_CEO_AFTER = re.compile(
    r"^\s*[은는이가의]?\s*[(（]?\s*(?:대표이사|대표자|대표|CEO)\s*[:：]?\s*(?P<name>[가-힣]{2,4})(?=[,)）·\s]|$)"
)
_NEW_CEO = re.compile(r"신임|선임|취임|내정|교체|사임|appoint|new CEO", re.IGNORECASE)
_NOT_A_PERSON = frozenset(
    [
        "제품",
        "기업",
        "상품",
        "업체",
        "브랜드",
        "사업",
        "품목",
        "주자",
        "모델",
        "공장",
        "사례",
        "회의",
        "이사",
        "측은",
        "측이",
        "메뉴",
        "변경",
        "교체",
        "선임",
        "사임",
    ]
)
_TRADE_BEFORE = re.compile(
    r"[^.\n]{0,40}(?:업체|기업|회사|전문점|제조사|메이커|유통사|상사|maker|company|firm|retailer)\s*(?:인\s*)?$"
)
_TRADE_AFTER = re.compile(
    r"^[^.]{0,12}?,?\s+an?\s+[^.,]{0,60}?(?:maker|company|firm|retailer|producer|operator)[^.,]{0,40}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of the company that a text may be about. `places` come from its own papers."""

    name: str
    name_en: str | None = None
    aliases: tuple[str, ...] = ()
    biz_no: str | None = None
    corp_reg_no: str | None = None
    industry_code: str | None = None
    ceo_name: str | None = None
    listed_code: str | None = None
    places: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """All names without legal forms, the main ones first, none twice."""
        given = (self.name, self.name_en or "", *self.aliases)
        return tuple(dict.fromkeys(strip_legal_form(name) for name in given if name.strip()))


@dataclass(frozen=True, slots=True)
class Match:
    """`score` 0-1; `basis` is None when the company does not occur at all."""

    score: float
    basis: MatchBasis | None
    reasons: tuple[str, ...] = ()
    mentions: tuple[Mention, ...] = field(default=(), repr=False)
    other_names: tuple[str, ...] = ()

    @property
    def is_certain(self) -> bool:
        return self.basis is not None and self.score >= SCORE_MIN


def match_company(title: str, text: str, company: Identity) -> Match:
    """Judge a title and a text, both of form NFC; mentions are places in `title + newline + text`."""
    whole = f"{title}\n{text}"
    mentions, basis, reasons = _find_names(whole, company)
    others = tuple(sorted({other for name in company.names for other in find_other_names(whole, name)}))
    number = _own_number(whole, company)
    if number:
        return Match(1.0, MatchBasis.REGISTRATION_NO, (number, *reasons), mentions, others)
    if not mentions:
        seen = (f"OTHER_NAME: {', '.join(others)}",) if others else ()
        return Match(0.0, None, seen, (), others)
    score = _ALIAS if basis is MatchBasis.ALIAS else _NAME
    for code, seen_text in (*_supports(whole, mentions, company), *_conflicts(whole, mentions, company)):
        score += _GAIN.get(code, 0.0) - _LOSS.get(code, 0.0)
        reasons = (*reasons, f"{code}: {seen_text}")
    return Match(round(min(0.99, max(0.0, score)), 2), basis, reasons, mentions, others)


def find_company(text: str, company: Identity) -> tuple[Mention, ...]:
    """Return where a text of form NFC names the company, by any of its names."""
    return _find_names(text, company)[0]


def fold(text: str) -> str:
    """Return the form of a text in which it is analysed (NFC)."""
    return unicodedata.normalize("NFC", text)


def _find_names(whole: str, company: Identity) -> tuple[tuple[Mention, ...], MatchBasis, tuple[str, ...]]:
    main = [strip_legal_form(name) for name in (company.name, company.name_en or "") if name.strip()]
    found: dict[int, Mention] = {}
    reasons: list[str] = []
    basis = MatchBasis.ALIAS
    for name in company.names:
        mentions = find_mentions(whole, name)
        if mentions:
            is_main = any(name.casefold() == other.casefold() for other in main)
            basis = MatchBasis.NAME if is_main else basis
            reasons.append(f"{'NAME' if is_main else 'ALIAS'}: {name}")
        for mention in mentions:
            longest = found.get(mention.start, mention)
            found[mention.start] = max(longest, mention, key=lambda each: each.end)
    return tuple(found[start] for start in sorted(found)), basis, tuple(reasons)


def _own_number(whole: str, company: Identity) -> str | None:
    digits = {re.sub(r"\D", "", found) for found in (*_BIZ_NO.findall(whole), *_CORP_REG_NO.findall(whole))}
    for label, number in (("BIZ_NO", company.biz_no), ("CORP_REG_NO", company.corp_reg_no)):
        if number and re.sub(r"\D", "", number) in digits:
            return f"{label}: {number}"
    return None


def _supports(whole: str, mentions: tuple[Mention, ...], company: Identity) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if any(mention.has_legal_form for mention in mentions):
        found.append(("LEGAL_FORM", "the name with its legal form"))
    if company.ceo_name and fold(company.ceo_name) in whole:
        found.append(("CEO", company.ceo_name))
    cities = find_cities(whole) & company.places
    if cities:
        found.append(("PLACE", ", ".join(sorted(cities))))
    rest = _without_mentions(whole, mentions)
    words = industry_pattern(company.industry_code)
    trade = words.search(rest) if words else None
    if trade:
        found.append(("INDUSTRY", trade[0]))
    if company.name_en and find_mentions(whole, company.name) and find_mentions(whole, company.name_en):
        found.append(("OTHER_LANGUAGE_NAME", company.name_en))
    if company.listed_code and re.search(rf"(?<!\w){re.escape(company.listed_code)}(?!\w)", whole):
        found.append(("LISTED_CODE", company.listed_code))
    return found


def _conflicts(whole: str, mentions: tuple[Mention, ...], company: Identity) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    numbers = _BIZ_NO.findall(whole) if company.biz_no else []
    if numbers:
        found.append(("OTHER_REGISTRATION_NO", numbers[0]))
    for mention in mentions:
        after, before = (
            whole[mention.end : mention.end + 80],
            whole[max(0, mention.start - 50) : mention.start],
        )
        ceo = _CEO_AFTER.match(after)
        if ceo and _is_other_ceo(ceo["name"], whole, company) and not _NEW_CEO.search(after):
            found.append(("OTHER_CEO", ceo["name"]))
        described = _TRADE_BEFORE.search(before) or _TRADE_AFTER.match(after)
        if described:
            found.extend(_other_trade(described[0], company))
    unique: dict[str, str] = {}
    for code, seen in found:
        unique.setdefault(code, seen)
    return list(unique.items())


def _is_other_ceo(name: str, whole: str, company: Identity) -> bool:
    if not company.ceo_name or name in _NOT_A_PERSON:
        return False
    return fold(company.ceo_name) not in whole


def _other_trade(description: str, company: Identity) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    own, other = (
        industry_pattern(company.industry_code),
        other_industries(company.industry_code).search(description),
    )
    if own and other and not own.search(description):
        found.append(("OTHER_INDUSTRY", other[0]))
    places = find_places(description)
    if company.places and places and not places & company.places:
        found.append(("OTHER_PLACE", ", ".join(sorted(places))))
    return found


def _without_mentions(whole: str, mentions: tuple[Mention, ...]) -> str:
    chars = list(whole)
    for mention in mentions:
        chars[mention.start : mention.end] = " " * (mention.end - mention.start)
    return "".join(chars)
