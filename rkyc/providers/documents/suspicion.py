"""Signs that a document speaks to a machine: invisible characters, and orders to a model.

Only warnings come of it: the text is not changed, and no signal is dropped for it. A sentence that
talks *about* such orders is flagged as well; the flag asks a person to look.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rkyc.providers.documents.types import DocumentWarning, Page

# Between letters a zero-width space hides a word from a search; overrides and tags hide whole texts.
# Joiners are left alone: emoji and several scripts need them.
_INVISIBLE = re.compile("(?<=\\w)[\u200b\u2060\ufeff]+(?=\\w)|[\u202d\u202e]|[\U000e0000-\U000e007f]{8,}")
_ZERO_WIDTH = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_ORDER = re.compile(
    r"""
    \b(?:ignore|disregard|forget|override)\b [^.\n]{0,30} \b(?:previous|prior|above|earlier|preceding|all|your)\b
        [^.\n]{0,20} \b(?:instructions?|prompts?|rules|guidelines|directions)\b
  | \bsystem\s+prompt\b
  | \byou\s+are\s+(?:now|no\s+longer)\s+(?:an?|the|in)\b [^.\n]{0,40} \b(?:assistant|model|ai|mode|agent|bot)\b
  | \b(?:ai|language\s+model|assistant|llm)\b [^.\n]{0,40} \b(?:must|should|shall)\b [^.\n]{0,20}
        \b(?:ignore|output|respond|rate|report|classify|answer|not\s+(?:report|mention|flag))\b
  | \b(?:do\s+not|never|don't)\s+(?:report|mention|flag|raise|extract|disclose)\b [^.\n]{0,40}
        \b(?:risks?|signals?|this\s+document|findings?)\b
  | <\|(?:im_start|im_end|system|endoftext)\|> | \[/?INST\]
  | (?:이전|앞|위|기존|지금까지)\s*(?:의|에)?\s*(?:주어진\s*|있던\s*)?(?:모든\s*)?(?:지시|명령|지침|프롬프트|규칙)
        \s*(?:사항|문)?\s*(?:은|는|을|를|들을)?\s*(?:모두|전부|다)?\s*(?:무시|잊|따르지)
  | 모든\s*(?:지시|명령|지침|프롬프트)\s*(?:사항)?\s*(?:을|를)?\s*(?:무시|잊)
  | 시스템\s*프롬프트
  | (?:당신|너)(?:은|는)\s*(?:이제|지금)\s*(?:부터)? [^.\n]{0,40} (?:모델|어시스턴트|비서|인공지능|AI|에이전트)
  | (?:위험|리스크|시그널|신호|부정적)[^.\n]{0,20}(?:보고|표시|언급|기재|추출|탐지)\s*하지\s*(?:마|말)
  | (?:AI|인공지능|언어\s*모델|어시스턴트)[^.\n]{0,30}(?:반드시|무조건)[^.\n]{0,30}(?:하라|하십시오|하세요|답하|출력|평가)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def find_suspicions(pages: Iterable[Page], concealed: str = "") -> tuple[DocumentWarning, ...]:
    """Return at most one warning of each kind, at the first page where it was seen."""
    invisible: dict[int, int] = {}
    orders: dict[int, int] = {}
    for page in pages:
        invisible[page.no] = len(_INVISIBLE.findall(page.text))
        orders[page.no] = count_orders(page.text)
    warnings = []
    if sum(invisible.values()):
        message = f"{sum(invisible.values())} place(s) with invisible characters inside the text"
        warnings.append(DocumentWarning("hidden_text", message, _first(invisible)))
    hidden_orders = count_orders(concealed)
    found = sum(orders.values())
    if found or hidden_orders:
        message = (
            f"{found + hidden_orders} sentence(s) read like orders to a model, {hidden_orders} of them hidden"
        )
        warnings.append(DocumentWarning("prompt_injection_suspected", message, _first(orders)))
    return tuple(warnings)


def count_orders(text: str) -> int:
    """Count sentences that read like instructions to a model, in English or Korean."""
    plain = unicodedata.normalize("NFKC", _ZERO_WIDTH.sub("", text))
    return sum(1 for _ in _ORDER.finditer(plain))


def _first(counts: dict[int, int]) -> int | None:
    return next((no for no, count in counts.items() if count), None)
