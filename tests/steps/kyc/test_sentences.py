from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.steps.kyc.sentences import Span, clip, split_sentences


def _texts(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("매출이 줄었다. 손실이 났다.", ["매출이 줄었다.", "손실이 났다."]),
        ("매출이 줄었다.한편 손실이 났다.", ["매출이 줄었다.", "한편 손실이 났다."]),
        (
            "Sales fell 3.5 percent. Acme Co., Ltd. was sued.",
            ["Sales fell 3.5 percent.", "Acme Co., Ltd. was sued."],
        ),
        ("감사보고서\r\n회사는 손실이 났다.\r\n\r\n끝", ["감사보고서", "회사는 손실이 났다.", "끝"]),
        (
            "이 회사는 보고기간 종료일 현재 유동부채가 유동자산을 크게\r\n초과하고 있다. 끝.",
            ["이 회사는 보고기간 종료일 현재 유동부채가 유동자산을 크게\r\n초과하고 있다.", "끝."],
        ),
        ('그는 "부도는 없다." 라고 말했다!', ['그는 "부도는 없다."', "라고 말했다!"]),
        ("1. 개요는 다음과 같다. 2. 결론", ["1. 개요는 다음과 같다.", "2. 결론"]),
        ("2024. 3. 5. 법원이 결정했다.", ["2024. 3. 5. 법원이 결정했다."]),
        ("", []),
    ],
)
def test_text_is_cut_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert _texts(text) == sentences


@given(st.text(alphabet="가다. \r\n!🙂ᄒ\u1161a1", max_size=200))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    assert "".join("".join(_texts(text)).split()) == "".join(text.split())


@given(st.text(alphabet="가나 다", min_size=1, max_size=900), st.data())
def test_clip_keeps_its_focus_within_the_limit(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, min(len(text), start + 50)))
    span = clip(text, Span(0, len(text)), 400, Span(start, end))
    assert span.end - span.start <= 400
    assert span.start <= start
    assert span.end >= end
