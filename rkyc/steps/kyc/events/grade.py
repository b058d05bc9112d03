"""Grades a source: A disclosures and authorities, B large media, C the rest."""

from __future__ import annotations

from urllib.parse import urlsplit

from rkyc.steps.kyc.vocabulary import SourceGrade, SourceType

_OFFICIAL_HOSTS = (
    "dart.fss.or.kr", "kind.krx.co.kr", "fss.or.kr", "fsc.go.kr", "ftc.go.kr", "moef.go.kr", "bok.or.kr",
    "scourt.go.kr",
    "sec.gov", "justice.gov", "ftc.gov", "federalregister.gov", "europa.eu", "gov.uk", "edinet-fsa.go.jp",
)  # fmt: skip
_OFFICIAL_SUFFIXES = (".go.kr", ".gov", ".gov.uk", ".mil.kr")
_MAJOR_HOSTS = (
    "yna.co.kr", "yonhapnews.co.kr", "hankyung.com", "mk.co.kr", "sedaily.com", "chosun.com",
    "joongang.co.kr", "donga.com",
    "hani.co.kr", "khan.co.kr", "mt.co.kr", "edaily.co.kr", "fnnews.com", "kbs.co.kr", "imbc.com",
    "sbs.co.kr", "ytn.co.kr",
    "newsis.com", "asiae.co.kr", "heraldcorp.com", "etnews.com", "koreaherald.com", "koreatimes.co.kr",
    "reuters.com",
    "bloomberg.com", "ft.com", "wsj.com", "nytimes.com", "apnews.com", "bbc.co.uk", "bbc.com", "cnbc.com",
    "economist.com",
    "nikkei.com", "theguardian.com", "washingtonpost.com",
)  # fmt: skip
_MAJOR_NAMES = frozenset(
    [
        "연합뉴스",
        "한국경제",
        "매일경제",
        "서울경제",
        "조선일보",
        "중앙일보",
        "동아일보",
        "한겨레",
        "경향신문",
        "머니투데이",
        "이데일리",
        "파이낸셜뉴스",
        "KBS",
        "MBC",
        "SBS",
        "YTN",
        "뉴시스",
        "아시아경제",
        "헤럴드경제",
        "전자신문",
        "Reuters",
        "Bloomberg",
        "AP",
        "AFP",
        "BBC",
        "CNBC",
        "Nikkei",
    ]
) | {
    "Financial Times",
    "Wall Street Journal",
    "The New York Times",
    "Associated Press",
    "The Economist",
    "Korea Herald",
}


def grade_source(url: str, source: str | None, source_type: SourceType) -> SourceGrade:
    """Grade by what the record says it is, then by host, then by the name of the medium."""
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    if source_type in (SourceType.DISCLOSURE, SourceType.POLICY) or _is_of(host, _OFFICIAL_HOSTS):
        return SourceGrade.A
    if host.endswith(_OFFICIAL_SUFFIXES):
        return SourceGrade.A
    if _is_of(host, _MAJOR_HOSTS) or (source or "").strip() in _MAJOR_NAMES:
        return SourceGrade.B
    return SourceGrade.C


def source_owner(url: str) -> str:
    """Return who stands behind a url (the registered domain): two of its pages are one source."""
    labels = (urlsplit(url).hostname or url).removeprefix("www.").split(".")
    keep = 3 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2
    return ".".join(labels[-keep:])


def _is_of(host: str, hosts: tuple[str, ...]) -> bool:
    return any(host == known or host.endswith("." + known) for known in hosts)
