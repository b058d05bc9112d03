"""Finds a company's own name in a text, and tells it from names that only begin alike.

한빛정밀은, 한빛정밀에서는 and (주)한빛정밀 are the company; 한빛정밀화학 and 신한빛정밀 are others. Works on
text in Unicode form NFC. Pure.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

# What may follow a name inside the same run of Hangul: case particles, and what clings to a noun.
_PARTICLES = (
    "에서|에게|으로|까지|부터|보다|처럼|이나|이라는|라는|이라고|라고|이라|이란|이며|이고|이다|였다|께서|조차|마저|"
    "밖에|하고|대로|측|등|은|는|이|가|을|를|의|에|와|과|도|로|만|나|란|인|라|며|고|다|임|들"
)
_TAIL = re.compile(rf"(?:{_PARTICLES})+")
_HANGUL_RUN = re.compile(r"[가-힣]+")
_LEGAL_FORM_KO = r"(?:㈜|\(\s*주\s*\)|（\s*주\s*）|주식회사|유한회사|\(\s*유\s*\))"
_LEGAL_FORM_EN = (
    r"(?:Incorporated|Inc|Corporation|Corp|Company|Co\.?,?\s*Ltd|Co|Limited|Ltd|LLC|L\.L\.C|"
    r"PLC|plc|LP|GmbH|AG|S\.A)"
)
_LEGAL_PREFIX = re.compile(rf"^\s*{_LEGAL_FORM_KO}\s*")
_LEGAL_SUFFIX = re.compile(rf"\s*(?:{_LEGAL_FORM_KO}|[,.]?\s+{_LEGAL_FORM_EN}\.?)\s*$")
_FORM_BEFORE = re.compile(rf"{_LEGAL_FORM_KO}\s*$")
_FORM_AFTER = re.compile(rf"^\s*(?:{_LEGAL_FORM_KO}|,?\s+{_LEGAL_FORM_EN}\b)")
# A business word after a space makes it another company's name: "Hanbit Precision Chemicals".
_OTHER_NAME_NEXT = re.compile(
    r"^\s(?:화학|케미칼|홀딩스|건설|산업|전자|식품|바이오|제약|물산|상사|캐피탈|에너지|테크|엔지니어링|로지스|"
    r"Chemicals?|Holdings?|Construction|Electronics|Foods?|Bio\w*|Pharma\w*|Capital|Energy|Tech\w*|"
    r"Engineering|Logistics|Industries|International|Partners|Group|Bank)(?![A-Za-z])"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A place where a name stands in a text (code points of the NFC text that was searched)."""

    start: int
    end: int
    has_legal_form: bool


@functools.lru_cache(maxsize=1024)
def strip_legal_form(name: str) -> str:
    """Return the name proper: without (주), 주식회사, Co., Ltd. and the like."""
    bare = unicodedata.normalize("NFC", name).strip()
    previous = None
    while bare != previous and bare:
        previous = bare
        bare = _LEGAL_SUFFIX.sub("", _LEGAL_PREFIX.sub("", bare)).strip(" ,")
    return bare or name.strip()


def find_mentions(text: str, name: str) -> list[Mention]:
    """Return where the text names this company and no other."""
    bare = strip_legal_form(name)
    if len(bare) < 2:
        return []
    return [
        mention for match in _pattern(bare).finditer(text) if (mention := _check(text, match)) is not None
    ]


def find_other_names(text: str, name: str) -> list[str]:
    """Return names that begin or end like this company's but are longer: 한빛정밀화학."""
    bare = strip_legal_form(name)
    if len(bare) < 2:
        return []
    others = set()
    for match in _pattern(bare).finditer(text):
        if _check(text, match) is None:
            start, end = match.span()
            while start > 0 and text[start - 1].isalnum():
                start -= 1
            more = re.match(r"\s?\w+", text[end:])
            others.add(text[start : end + (more.end() if more else 0)])
    return sorted(others)


@functools.lru_cache(maxsize=1024)
def _pattern(bare: str) -> re.Pattern[str]:
    words = [re.escape(word) for word in bare.split()]
    return re.compile(r"\s*".join(words) if _is_hangul(bare[-1]) else r"\s+".join(words), re.IGNORECASE)


def _check(text: str, match: re.Match[str]) -> Mention | None:
    start, end = match.span()
    before, after = text[max(0, start - 12) : start], text[end : end + 24]
    form_before = _FORM_BEFORE.search(before) is not None
    if before and before[-1].isalnum() and not form_before:
        return None
    if _is_hangul(text[end - 1]):
        run = _HANGUL_RUN.match(after)
        if run and not _TAIL.fullmatch(run[0]) and not re.match(_LEGAL_FORM_KO, after):
            return None
        if after and (after[0].isdigit() or (after[0].isascii() and after[0].isalpha())):
            return None
    elif after and (after[0].isalnum() and not _is_hangul(after[0])):
        return None
    if _OTHER_NAME_NEXT.match(after):
        return None
    return Mention(start, end, form_before or _FORM_AFTER.match(after) is not None)


def _is_hangul(char: str) -> bool:
    return "가" <= char <= "힣"
