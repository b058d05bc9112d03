from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.steps.kyc.negation import is_negated


@pytest.mark.parametrize(
    ("sentence", "word", "negated"),
    [
        ("횡령 혐의에 대해 무혐의 처분을 받았다", "횡령", True),
        ("횡령 혐의 없음으로 끝났다", "횡령", True),
        ("부도설은 사실무근이라고 밝혔다", "부도", True),
        ("회사는 부도가 나지 않았다", "부도", True),
        ("가나전자가 낸 소송이 기각됐다", "소송", True),
        ("횡령 혐의를 부인했다", "횡령", False),
        ("대표가 횡령 혐의로 기소됐으며, 회사는 답하지 않았다", "횡령", False),
        ("회사는 14일 부도 처리됐다", "부도", False),
        ("The firm was acquitted of fraud", "fraud", True),
        ("The lawsuit was dismissed", "lawsuit", True),
        ("The company is not bankrupt", "bankrupt", True),
        ("It was not only fined but sued", "fined", False),
        ("The company denied the fraud allegations", "fraud", False),
        ("The company was indicted for fraud", "fraud", False),
    ],
)
def test_denials_are_told_from_reports(sentence: str, word: str, negated: bool) -> None:
    start = sentence.index(word)
    assert is_negated(sentence, start, start + len(word)) is negated


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_sentence_is_judged(before: str, after: str) -> None:
    assert is_negated(f"{before}부도{after}", len(before), len(before) + 2) in (True, False)
