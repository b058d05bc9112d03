"""The Markdown report holds the same content, and data can't break its structure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rkyc.report.markdown import escape_line, escape_quote, render_markdown
from tests.support.report_sample import (
    AUDIT,
    NEWS,
    make_signal,
    quote_in,
    sample_report,
    sample_result,
)

HOSTILE = [
    "# heading",
    "- item",
    "1. item",
    "12) item",
    "> quote",
    "---",
    "===",
    "```\ncode",
    "    indented",
    "<script>alert(1)</script>",
    "[text](javascript:alert(1))",
    "![image](https://host/x.png)",
    "<https://host/>",
    "a | b\n--- | ---",
    "**bold** _em_ `code` ~~gone~~",
    "&lt;b&gt; &#x3c;",
    "line\r\nline\u2028line",
    "[ref]: https://host/",
    "\\",
]


def parse(text: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def kinds(tokens: list[Token]) -> list[str]:
    return [one.type for token in tokens for one in (token, *(token.children or []))]


def visible_text(tokens: list[Token]) -> str:
    inline = (child for token in tokens for child in token.children or [])
    return "".join("\n" if one.type in ("softbreak", "hardbreak") else one.content for one in inline)


def structure(result: dict[str, Any]) -> list[str]:
    return [
        kind for kind in kinds(parse(render_markdown(sample_report(result=result)))) if kind != "text_special"
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_line_renders_as_itself(text: str) -> None:
    (opening, inline, closing) = parse(escape_line(text))
    assert (opening.type, closing.type) == ("paragraph_open", "paragraph_close")
    assert {child.type for child in inline.children or []} <= {"text", "text_special"}
    assert visible_text([inline]) == " ".join(text.splitlines()).strip()


@settings(deadline=None)
@given(
    st.text(
        alphabet=st.one_of(st.sampled_from("`*_[]<>&|~$#!-+=:1.)( \\\n\r\t가"), st.characters()), max_size=30
    )
)
def test_any_line_is_one_plain_paragraph(text: str) -> None:
    tokens = parse(escape_line(text))
    assert set(kinds(tokens)) <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}


@settings(deadline=None)
@given(st.text(alphabet="`*_[]<>&|#!-+=:1.)( \\\n\r가", max_size=40))
def test_any_quote_stays_inside_its_block_quote(text: str) -> None:
    tokens = parse("\n".join(["before", "", *escape_quote(text), "", "after"]))
    depth_zero = [token.type for token in tokens if token.type != "inline" and token.level == 0]
    assert depth_zero == [
        *("paragraph_open", "paragraph_close"),
        *("blockquote_open", "blockquote_close"),
        *("paragraph_open", "paragraph_close"),
    ]
    assert set(kinds(tokens)) <= {
        *("paragraph_open", "inline", "paragraph_close", "text", "text_special"),
        *("blockquote_open", "blockquote_close", "hardbreak", "softbreak"),
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_leave_the_structure_as_it_was(text: str) -> None:
    plain, hostile = sample_result(), sample_result()
    for result, word in ((plain, "x"), (hostile, text)):
        result["corp"]["name"] = word
        result["warnings"][0]["message"] = word
        result["insight"]["headline"] = word
        result["insight"]["sections"][0]["title"] = word
        result["insight"]["sections"][0]["sentences"][0]["text"] = word
        result["signals"][0]["title"] = result["signals"][0]["summary"] = word
        result["dropped"][0]["detail"] = result["documents"][0]["name"] = word
    assert structure(hostile) == structure(plain)


def test_quote_is_a_block_quote_with_its_source() -> None:
    text = render_markdown(sample_report("en"))
    assert "> 순손실이 41억원 발생하였고\n>\n> — 3a: 감사보고서\\_2024.pdf:3, exact, source grade A" in text


def test_quote_over_a_line_break_keeps_it() -> None:
    quote = "계속기업 관련 중요한 불확실성\r\n재무제표에 대한 주석 2"
    result = {"signals": [make_signal(1, "t", [quote_in(AUDIT, quote)])]}
    tokens = parse(render_markdown(sample_report(result=result)))
    assert quote.replace("\r\n", "\n") in visible_text(tokens)


def test_only_web_addresses_become_links() -> None:
    pages = (
        NEWS,
        replace(NEWS, ref="javascript:alert(1)"),
        replace(NEWS, ref="https://host/a_(b)?x=1&y=[2]"),
    )
    signals = [make_signal(n, "t", [quote_in(page, "협력사")]) for n, page in enumerate(pages)]
    tokens = parse(render_markdown(sample_report(result={"signals": signals}, pages=pages)))
    links = [one.attrs["href"] for token in tokens for one in token.children or [] if one.type == "link_open"]
    assert links == [NEWS.ref, "https://host/a_%28b%29?x=1&y=%5B2%5D"]


def test_everything_of_the_result_is_there() -> None:
    tokens = parse(render_markdown(sample_report()))
    text = visible_text(tokens)
    result = sample_result()
    for signal in [*result["signals"], *result["below_cut"]]:
        assert signal["title"] in text
        assert signal["summary"] in text
    for expected in (
        "유상증자 추진",
        "QUOTE_NOT_FOUND",
        "사업자등록증.png",
        "OCR_UNAVAILABLE",
        "43,050,000,000",
        "382.7",
    ):
        assert expected in text
    assert kinds(tokens).count("table_open") == 4


def test_calm_and_failed_results_say_so() -> None:
    calm = {**sample_result(), "signals": [], "below_cut": []}
    assert "No risk signals were found." in render_markdown(sample_report("en", result=calm))
    failed = {"status": "failed", "error": {"code": "STEP_TIMEOUT", "message": "too long"}}
    text = render_markdown(sample_report("en", result=failed))
    assert "**The analysis did not finish**\n\n- STEP\\_TIMEOUT · too long\n- No step was completed." in text
