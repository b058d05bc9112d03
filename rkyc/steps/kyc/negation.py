"""Says whether a sentence denies what one of its words tells: 무혐의, 사실무근, acquitted.

A denial by the accused (부인했다, denies) is no negation: the accusation stands and is told as reported.
Works on text in Unicode form NFC. Pure.
"""

from __future__ import annotations

import re

# What follows the word, in Korean; the clause ends at a comma or a contrast.
_AFTER_KO = re.compile(
    r"""
    ^(?: [^.,;\n]{0,24}?
         (?: 무혐의 | 혐의[가는]?\s?없 | 혐의를?\s?벗 | 사실\s?무근 | 사실이?\s?아니 | 무죄 | 불기소 | 불송치 | 기각 | 각하
           | 취하 | 철회 | 종결 | 해소 | 해제 | 모면 | 벗어나 | 벗어났 | 졸업 | 면했 | 면한 | 막았 | 예방 | 방지 | 대비 | 훈련 )
      | [^.,;\n]{0,12}?
         (?: 없다 | 없었 | 없음 | 없는 | 없이 | 없습 | 아니다 | 아니라 | 아닌 | 아니며 | 아님 | 아닙
           | 지\s?않 | 지\s?아니 ) )
    """,
    re.VERBOSE,
)
_BEFORE_KO = re.compile(r"(?:무혐의|허위|가짜|사실무근인)\s?\S{0,6}\s?$")
_BEFORE_EN = re.compile(
    r"""\b(?:not?(?!\s+only)|never|without|neither|nor|denied\s+a|cleared\s+of|acquitted\s+of|avoid(?:s|ed
    |ing)?|averted|ruled\s+out
    |false|unfounded|dismiss(?:es|ed|ing)|dropp(?:ed|ing)|withdr(?:ew|awn)|isn't|wasn't|didn't|doesn't
    |hasn't|haven't
    |emerg(?:ed|es|ing)\s+from|exit(?:ed|s)?|settled|prevent(?:s|ed|ing
    |ion\s+of)?)\b(?:\s+[\w'$-]+){0,4}\s*$""",
    re.VERBOSE | re.IGNORECASE,
)
_AFTER_EN = re.compile(
    r"""^[^.;\n]{0,40}?\b(?:(?:was|were|is|are|been|be)\s+)?(?:dismissed|dropped|withdrawn|thrown\s+out
    |unfounded|cleared
    |acquitted|overturned|found\s+not\s+guilty|without\s+merit|ruled\s+out|quashed)\b""",
    re.VERBOSE | re.IGNORECASE,
)


def is_negated(sentence: str, start: int, end: int) -> bool:
    """Say whether the word at `start`-`end` is denied within its clause."""
    before, after = sentence[max(0, start - 60) : start], sentence[end : end + 60]
    if _AFTER_KO.search(after) or _AFTER_EN.search(after):
        return True
    return _BEFORE_EN.search(before) is not None or _BEFORE_KO.search(before) is not None
