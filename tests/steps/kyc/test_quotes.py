from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.steps.kyc.quotes import find_quote

_PIECES = st.sampled_from(
    [
        "한빛정밀은 ",
        "전년 대비 ",
        "부채비율이 ",
        "🏭",
        "👩‍🔧",
        "\r\n",
        "\n",
        "\u200b",
        "12.5%",
        " 1,200억 원 ",
        "loss of ",
        "going concern",
        "é",
        "。",
        " ",
    ]
)
_TEXTS = st.lists(_PIECES, min_size=1, max_size=30).map("".join)


@given(_TEXTS, st.data(), st.booleans())
def test_found_quote_is_what_stands_at_its_offsets(text: str, data: st.DataObject, decomposed: bool) -> None:
    if decomposed:
        text = unicodedata.normalize("NFD", text)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    match = find_quote(text, text[start:end])
    if match is not None:
        assert text[match.char_start : match.char_end] == match.quote


@given(_TEXTS, _TEXTS, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"]))
def test_quote_is_found_whatever_the_unicode_form(before: str, after: str, stored: str, asked: str) -> None:
    sentence = "📉 감사인은 계속기업으로서의 존속능력에 유의적 의문을 제기하였다"
    text = unicodedata.normalize(stored, before + " " + sentence + "\r\n" + after)
    match = find_quote(text, unicodedata.normalize(asked, sentence))
    assert match is not None
    assert match.check == ("EXACT" if stored == asked else "NORMALISED")
    assert unicodedata.normalize("NFC", text[match.char_start : match.char_end]) == sentence


@given(st.lists(st.sampled_from([" ", "\r\n", "  ", "\u200b", "\t"]), min_size=4, max_size=4))
def test_white_space_and_zero_width_do_not_hide_a_quote(gaps: list[str]) -> None:
    words = ["매출액이", "전년보다", "23.4%", "감소한", "것으로"]
    text = "😀 앞 문장. " + "".join(w + g for w, g in zip(words, [*gaps, ""], strict=True)) + " 뒤"
    match = find_quote(text, " ".join(words))
    assert match is not None
    assert text[match.char_start : match.char_end].startswith("매출액이")
    assert text[match.char_start : match.char_end].endswith("것으로")


def test_quote_with_a_typing_error_is_fuzzy_and_keeps_the_source_words() -> None:
    source = (
        "The auditor expressed substantial doubt about the company's ability to continue as a going concern."
    )
    text = "Intro 🙂.\r\n" + source + " More text follows here."
    match = find_quote(text, source.replace("substantial", "substancial"))
    assert match is not None
    assert match.check == "FUZZY"
    assert match.quote == source
    assert match.similarity >= 0.95


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("부채는 31,200억 원이다", "1,200억 원"),
        ("부채는 1,200억 원이다", "1,2"),
        ("ratio of 113.5 percent", "13.5 percent"),
        ("회사는 정상 영업 중이다", "회사는 부도가 났다"),
        ("", "무엇"),
        ("무엇", "  "),
        ("nowhere to go", "now here"),
        # Not the number that the source tells.
        (
            "operating loss widened to 4,512 million won in the year that ended",
            "operating loss widened to 4,513 million won in the year that ended",
        ),
    ],
)
def test_what_the_source_does_not_hold_is_not_found(text: str, quote: str) -> None:
    assert find_quote(text, quote) is None


def test_quote_never_cuts_a_decomposed_syllable() -> None:
    text = unicodedata.normalize("NFD", "한국")
    assert find_quote(text, unicodedata.normalize("NFD", "하")) is None


@given(st.text(alphabet="가나다라abc.", min_size=60, max_size=120), st.data())
def test_one_edit_in_sixty_characters_is_still_found(text: str, data: st.DataObject) -> None:
    quote = text.strip()
    at = data.draw(st.integers(1, len(quote) - 2))
    changed = quote[:at] + "힣" + quote[at + 1 :]
    match = find_quote("앞말 " + text + " 뒷말", changed)
    assert match is not None
    assert match.check == "FUZZY"


def test_long_document_is_searched_quickly() -> None:
    text = "이 문단은 특별한 내용이 없는 문장으로 이루어져 있다. " * 3000
    quote = (
        "감사의견은 한정의견이며 그 근거는 매출채권의 회수가능성에 대한 충분한 증거를 얻지 못하였기 때문이다"
    )
    assert find_quote(text, quote) is None
