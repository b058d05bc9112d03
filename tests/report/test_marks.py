"""A mark wraps exactly its quote, whatever the text and however the quotes overlap."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from rkyc.report.marks import Span, clean, escape_visible, mark_text, split_anchors

# Characters that make offsets, parsers or escaping go wrong.
AWKWARD = "a<>&\"'\r\n\t 가각" + unicodedata.normalize("NFD", "각") + "👩‍👩‍👧🏭\u200b\ufeff\u202e\u00a0é"
TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])), min_size=1
)


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(TEXTS)
    edges = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(edges, edges).filter(lambda pair: pair[0] != pair[1]), max_size=6))
    spans = [Span(f"quote-{n}", str(n), *sorted(pair)) for n, pair in enumerate(pairs)]
    return text, spans


def parse(marked: str) -> etree._Element:
    # As XML: an unclosed or crossing tag, or an unescaped character, fails.
    return etree.fromstring(f"<div>{marked}</div>".encode(), etree.XMLParser(huge_tree=True))


def quote_of(root: etree._Element, anchor: str) -> str:
    """Join the text of the marks of one quote; a mark inside another of the same name does not occur."""
    return "".join("".join(mark.itertext()) for mark in root.iterfind(f".//mark[@data-quote='{anchor}']"))


@settings(deadline=None)
@given(marked_texts())
@example(("ab\r\ncd", [Span("quote-0", "0", 1, 4), Span("quote-1", "1", 3, 6)]))
def test_marks_wrap_exactly_their_quotes(case: tuple[str, list[Span]]) -> None:
    text, spans = case
    root = parse(mark_text(text, spans))
    assert "".join(root.itertext()) == clean(text)
    for span in spans:
        assert quote_of(root, span.anchor) == clean(text)[span.start : span.end]
        assert len(root.findall(f".//mark[@id='{span.anchor}']")) == 1


@settings(deadline=None)
@given(marked_texts())
def test_only_crossing_quotes_are_split(case: tuple[str, list[Span]]) -> None:
    text, spans = case
    root = parse(mark_text(text, spans))
    split = {one.anchor for one in spans if len(root.findall(f".//mark[@data-quote='{one.anchor}']")) > 1}
    assert split <= set(split_anchors(spans))


def test_nested_and_equal_quotes_stay_whole() -> None:
    spans = [Span("quote-a", "a", 0, 6), Span("quote-b", "b", 2, 4), Span("quote-c", "c", 0, 6)]
    assert split_anchors(spans) == []
    assert mark_text("abcdef", spans).count("<mark ") == 3


def test_markup_in_a_text_is_escaped() -> None:
    marked = mark_text("<script>\"&'", [Span("quote-a", "1a", 0, 8)])
    assert "<script" not in marked
    assert "".join(parse(marked).itertext()) == "<script>\"&'"


def test_carriage_returns_survive_the_parser() -> None:
    assert "".join(parse(escape_visible("a\r\nb\rc")).itertext()) == "a\r\nb\rc"


def test_lone_carriage_return_is_shown() -> None:
    shown = [one.get("class") for one in parse(escape_visible("a\r\nb\rc")).iter("span")]
    assert shown == ["cr", "cr lone"]


def test_hidden_characters_are_named_but_emoji_stay_whole() -> None:
    assert [one.get("data-code") for one in parse(escape_visible("pay\u200bme\u202e")).iter("span")] == [
        "U+200B",
        "U+202E",
    ]
    assert "<span" not in escape_visible("👩‍👩‍👧")


def test_what_html_cannot_carry_is_replaced_one_for_one() -> None:
    assert clean("a\x00b\ud800c\x1bd\te\r\n") == "a\ufffdb\ufffdc\ufffdd\te\r\n"
