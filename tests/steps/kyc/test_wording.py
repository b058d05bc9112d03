from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.steps.kyc.wording import find_forbidden, fit, hedge


@pytest.mark.parametrize(
    ("text", "hedged"),
    [
        ("회사는 반드시 부도가 날 것이다", "회사는 부도 가능성이 있다"),
        ("즉시 회수하라", "회수하라"),
        (
            "The firm will never recover and must be wound up immediately",
            "The firm may recover and may need to be wound up",
        ),
        ("보도에 따르면 손실이 났다", "보도에 따르면 손실이 났다"),
        ("절대평가 기준", "절대평가 기준"),
    ],
)
def test_certain_words_become_hedged(text: str, hedged: str) -> None:
    assert hedge(text) == hedged


_WORDS = st.lists(
    st.sampled_from(
        [
            "반드시",
            "확실히",
            "즉시",
            "must",
            "definitely",
            "손실",
            "가능성",
            "urgent",
            "is certain to",
            "fail",
            " ",
        ]
    )
)


@given(_WORDS.map(" ".join))
def test_nothing_forbidden_remains_and_a_second_pass_changes_nothing(text: str) -> None:
    hedged = hedge(text)
    assert find_forbidden(hedged) == []
    assert hedge(hedged) == hedged


@given(st.text(max_size=300), st.integers(10, 200))
def test_fitted_text_keeps_its_limit(text: str, chars_max: int) -> None:
    assert len(fit(text, chars_max)) <= chars_max


def test_fitted_text_never_shows_half_a_number() -> None:
    assert "1,23" not in fit("가나다라마바사아 1,234,567원 손실이 났다", 14)
