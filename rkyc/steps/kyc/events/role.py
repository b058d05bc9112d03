"""Says what part a company plays in a story: the one it is about, the culprit, the victim, or in passing.

A company that sues, or that was defrauded, is in a bad story without being the bad one. Works on text
of form NFC. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rkyc.steps.kyc.events.names import Mention
from rkyc.steps.kyc.negation import is_negated
from rkyc.steps.kyc.rules.terms import TOPICS
from rkyc.steps.kyc.sentences import Span, split_sentences
from rkyc.steps.kyc.vocabulary import EntityRole, EventType, ImpactDirection

# NAME stands for the company in a sentence that is looked at.
_NAME = "\x00"
# Named neither in the headline nor in the lead, a company is the subject when it comes up this often.
_MENTIONS_OF_A_SUBJECT = 3
_VICTIM = re.compile(
    rf"""
    {_NAME}[^.]{{0,40}}(?:피해를\s?(?:입|당|봤)|피해자|사기를\s?당|속아|도난\s?당|해킹을?\s?당|기술을?\s?(?:빼앗|탈취\s?당|도용\s?당))
  | 피해를?\s?(?:입은|당한|본)\s?{_NAME} | 피해\s?(?:업체|기업|회사)인?\s?{_NAME}
  | {_NAME}(?:을|를)?\s?(?:속인|속여|사칭|협박|상대로\s?(?:한\s?)?[^.]{{0,20}}(?:사기|절도|해킹))
  | {_NAME}(?:에서|에게서|으로부터|로부터|의)[^.]{{0,40}}(?:가로챈|가로챘|빼돌린|빼돌렸|훔친|훔쳤|탈취|유출한|떼인)
  | {_NAME}(?:은|는|이|가)[^.]{{0,60}}(?:을|를)\s?상대로[^.]{{0,60}}(?:소송|고소|고발|가처분|청구)
  | {_NAME}(?:은|는|이|가)[^.]{{0,40}}(?:을|를)\s?(?:사기|횡령|배임|특허|업무방해)[^.]{{0,20}}(?:고소|고발|제소)
  | {_NAME}\W[^.]{{0,40}}\b(?:fell\s+victim|was\s+(?:a\s+|the\s+)?victim|was\s+(?:defrauded|robbed|hacked
  |cheated|swindled))
  | (?:stole|stolen|embezzled|defrauded|swindled|cheated|impersonat\w+
  |hacked)\s+(?:[\w$,.'-]+\s+){{0,6}}(?:from\s+)?{_NAME}
  | {_NAME}(?:'s)?\s+(?:has\s+)?(?:(?:sued|accused)(?!\s+(?:for|by|over|of|in))|sues|accuses
  |filed\s+(?:a\s+)?(?:law)?suit\s+against)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IN_PASSING = re.compile(
    rf"{_NAME}(?:을|를)?\s?(?:비롯|포함|등\s)|{_NAME}[^.]{{0,14}}(?:도\s|명단에|대상에)|such\s+as\s+{_NAME}|"
    rf"including\s+{_NAME}"
)


def find_role(title: str, text: str, mentions: Sequence[Mention]) -> EntityRole:
    """Judge the company's part; `mentions` are places in `title + newline + text`."""
    whole = f"{title}\n{text}"
    sentences = _named_sentences(whole, mentions)
    if not sentences:
        return EntityRole.MENTIONED
    if any(_VICTIM.search(sentence) for sentence in sentences):
        return EntityRole.VICTIM
    telling = [sentence for sentence in sentences if not _IN_PASSING.search(sentence)]
    if any(_accuses(sentence) for sentence in telling):
        return EntityRole.PERPETRATOR
    in_title = any(mention.start < len(title) for mention in mentions)
    lead_end = len(title) + 1 + _first_sentence_end(text)
    in_lead = any(len(title) < mention.start < lead_end for mention in mentions)
    if telling and (in_title or in_lead or len(mentions) >= _MENTIONS_OF_A_SUBJECT):
        return EntityRole.SUBJECT
    return EntityRole.MENTIONED


def mask_mentions(whole: str, span: Span, mentions: Sequence[Mention]) -> str:
    """Return a sentence with the company's name replaced by a mark; without a mark it is not named."""
    parts: list[str] = []
    at = span.start
    for mention in mentions:
        if mention.start >= at and mention.end <= span.end:
            parts += [whole[at : mention.start], _NAME]
            at = mention.end
    return "".join([*parts, whole[at : span.end]])


def is_named(masked_sentence: str) -> bool:
    """Say whether a masked sentence names the company."""
    return _NAME in masked_sentence


def is_victim_sentence(masked_sentence: str) -> bool:
    """Say whether a masked sentence tells of harm done to the company."""
    return _VICTIM.search(masked_sentence) is not None


def is_in_passing(masked_sentence: str) -> bool:
    """Say whether a masked sentence names the company as one of many."""
    return _IN_PASSING.search(masked_sentence) is not None


def _named_sentences(whole: str, mentions: Sequence[Mention]) -> list[str]:
    masked = [mask_mentions(whole, span, mentions) for span in split_sentences(whole)]
    return [sentence for sentence in masked if is_named(sentence)]


def _first_sentence_end(text: str) -> int:
    spans = split_sentences(text)
    return spans[0].end if spans else 0


def _accuses(sentence: str) -> bool:
    for topic in TOPICS:
        if topic.direction is not ImpactDirection.RISK or topic.event_type not in (
            EventType.LEGAL_PROCEEDING,
            EventType.ADVERSE_MEDIA,
        ):
            continue
        match = topic.pattern.search(sentence)
        if match and not is_negated(sentence, *match.span()):
            return True
    return False
