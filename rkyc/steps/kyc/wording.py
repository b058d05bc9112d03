"""Rewrites absolute, certain and urgent words into hedged ones.

What a risk signal or an insight says is what sources report, never a certainty or an order to act.
Deterministic: the same text gives the same answer, and a second pass changes nothing. Quotes of
sources are never passed through here.
"""

from __future__ import annotations

import re

_KOREAN: tuple[tuple[str, str], ...] = (
    (r"반드시\s?", ""),
    (r"무조건(?:적으로|적인|적)?\s?", ""),
    (r"절대(?:적으로|로)?(?![가-힣])\s?", ""),
    (r"(?:틀림|의심할\s?여지)(?:이)?\s?없이\s?", ""),
    (r"틀림없(?:다|음)", "가능성이 있다"),
    (r"확실(?:히|하게)\s?", ""),
    (r"확실시(?:된다|됨|되고\s?있다)", "가능성이 거론된다"),
    (r"확실(?:하다|함)", "가능성이 있다"),
    (r"확실한\s?", "가능한 "),
    (r"분명(?:히|하게)\s?", ""),
    (r"명백(?:히|하게)\s?", ""),
    (r"불가피하(?:다|게)", "가능성이 있다"),
    (r"불가피한\s?", "가능한 "),
    (r"(?:즉시|즉각|당장|긴급히|시급히|서둘러)(?:적으로|적인)?\s?", ""),
    (r"(?:긴급|시급)(?:한|하게|하다)\s?", ""),
    (r"부도가\s?날\s?것(?:이다|입니다)", "부도 가능성이 있다"),
    (r"(?:할|될)\s?수밖에\s?없(?:다|음)", "할 가능성이 있다"),
    (r"100\s?%\s?(?:확실|보장)\w*\s?", ""),
)
_ENGLISH: tuple[tuple[str, str], ...] = (
    (
        r"\b(?:definitely|certainly|undoubtedly|unquestionably|absolutely|inevitably|obviously|clearly)\b\s?",
        "",
    ),
    (r"\bwithout\s+(?:a\s+)?doubt\b\s?", ""),
    (r"\b(?:immediately|urgently|at\s+once|right\s+away)\b\s?", ""),
    (r"\burgent\b", "notable"),
    (r"\b(?:is|are)\s+(?:certain|guaranteed|sure|bound)\s+to\b", "may"),
    (r"\bwill\s+(?:always|never|surely)\b", "may"),
    (r"\binevitable\b", "possible"),
    (r"\bguaranteed\b", "reported"),
    (r"\bmust\b", "may need to"),
)
_RULES = tuple((re.compile(pattern, re.IGNORECASE), hedged) for pattern, hedged in (*_KOREAN, *_ENGLISH))
_SPACES = re.compile(r"[ \t]{2,}")


def find_forbidden(text: str) -> list[str]:
    """Return the forbidden words of a text as they are written there."""
    return [match[0].strip() for pattern, _ in _RULES for match in pattern.finditer(text)]


def hedge(text: str) -> str:
    """Return the text in hedged words; unchanged when it holds no forbidden one."""
    hedged = text
    # Taking a word out can bring two halves of another together; the text shrinks or settles each time.
    for _ in range(8):
        before = hedged
        for pattern, words in _RULES:
            hedged = pattern.sub(words, hedged)
        if hedged == before:
            break
    if hedged == text:
        return text
    return _SPACES.sub(" ", hedged).strip()


def fit(text: str, chars_max: int) -> str:
    """Shorten a text to its limit at a word's end, with an ellipsis."""
    if len(text) <= chars_max:
        return text
    cut = text[: chars_max - 1]
    space = cut.rfind(" ")
    if space >= chars_max * 2 // 3:
        cut = cut[:space]
    # A number must not lose its last digits: half a number is another number.
    while cut and (cut[-1].isdigit() or cut[-1] in ".,"):
        cut = cut[:-1]
    return cut.rstrip(" ,.") + "…"
