"""Groups the copies of one story, so that thirty prints of a wire report are one event.

Two texts belong together when they share enough runs of characters (copies, excerpts, light edits),
or, where the words differ (another language, a disclosure beside the news), when they tell of the same
topic and the same sums within a few days. Pure; the order of the input does not matter.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from rkyc.steps.kyc.numbers import find_quantities
from rkyc.steps.kyc.rules.terms import TOPICS

_SHINGLE_CHARS = 5
_TEXT_CHARS_MAX = 4000
# Shares of equal runs: of both texts, and of the shorter one when it is an excerpt.
_JACCARD_MIN = 0.4
_CONTAINED_MIN = 0.6
_CONTAINED_RUNS_MIN = 40
_DAYS_MAX = timedelta(days=14)
# A run that occurs in this many texts is a standing phrase and says nothing.
_COMMON_MAX = 60
# Sums below this are counts and days, too common to tell stories apart.
_AMOUNT_MIN = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Story:
    """`subject` keeps stories about different companies apart when only topic and sums agree."""

    title: str
    text: str
    published_at: datetime | None = None
    subject: str = ""


def cluster_stories(stories: Sequence[Story]) -> list[int]:
    """Return a cluster number per story, in the same order; numbers grow from 0 by first member."""
    runs = [_shingles(story) for story in stories]
    parents = list(range(len(stories)))
    for left, right, shared in _pairs_with_shared_runs(runs):
        if _are_near(stories[left], stories[right]) and _are_copies(runs[left], runs[right], shared):
            _join(parents, left, right)
    for group in _same_facts(stories):
        for other in group[1:]:
            if _are_near(stories[group[0]], stories[other]):
                _join(parents, group[0], other)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(_root(parents, index), len(numbers)) for index in range(len(stories))]


def _shingles(story: Story) -> frozenset[str]:
    text = unicodedata.normalize("NFC", f"{story.title} {story.text}"[:_TEXT_CHARS_MAX]).casefold()
    chars = "".join(char for char in text if char.isalnum())
    return frozenset(chars[i : i + _SHINGLE_CHARS] for i in range(max(1, len(chars) - _SHINGLE_CHARS + 1)))


def _pairs_with_shared_runs(runs: Sequence[frozenset[str]]) -> list[tuple[int, int, int]]:
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for index, shingles in enumerate(runs):
        for shingle in shingles:
            holders[shingle].append(index)
    counts: defaultdict[tuple[int, int], int] = defaultdict(int)
    for indexes in holders.values():
        for pair in _pairs(indexes):
            counts[pair] += 1
    return [(left, right, shared) for (left, right), shared in sorted(counts.items())]


def _pairs(indexes: Sequence[int]) -> Iterable[tuple[int, int]]:
    if len(indexes) > _COMMON_MAX:
        # Texts that are equal through and through must still meet: chain them.
        return itertools.pairwise(indexes)
    return itertools.combinations(indexes, 2)


def _are_copies(left: frozenset[str], right: frozenset[str], shared: int) -> bool:
    shorter = min(len(left), len(right))
    if shared / (len(left) + len(right) - shared) >= _JACCARD_MIN:
        return True
    return shorter >= _CONTAINED_RUNS_MIN and shared / shorter >= _CONTAINED_MIN


def _are_near(left: Story, right: Story) -> bool:
    if left.published_at is None or right.published_at is None:
        return True
    return abs(left.published_at - right.published_at) <= _DAYS_MAX


def _same_facts(stories: Sequence[Story]) -> list[list[int]]:
    groups: defaultdict[tuple[str, str, Decimal], list[int]] = defaultdict(list)
    for index, story in enumerate(stories):
        whole = unicodedata.normalize("NFC", f"{story.title}\n{story.text}"[:_TEXT_CHARS_MAX])
        topic = next((topic.id for topic in TOPICS if topic.pattern.search(whole)), None)
        if topic is None or not story.subject:
            continue
        for quantity in find_quantities(whole):
            if quantity.unit in ("KRW", "USD") and quantity.value >= _AMOUNT_MIN:
                groups[(story.subject, topic, quantity.value)].append(index)
    return [sorted(set(group)) for group in groups.values() if len(set(group)) > 1]


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def _join(parents: list[int], left: int, right: int) -> None:
    roots = sorted((_root(parents, left), _root(parents, right)))
    parents[roots[1]] = roots[0]
