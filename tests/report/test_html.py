"""The HTML report as a reader's browser and an attacker's document see it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree, html

from rkyc.report.html import render_html
from rkyc.report.types import FigureSeries, ReportInput, SourcePage
from tests.support.report_sample import (
    AUDIT,
    NEWS,
    UNCITED,
    make_signal,
    quote_in,
    quote_value,
    sample_report,
    sample_result,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)",
    "</style><img src=x onerror=alert(1)>",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7*7 }}{% raw %}",
    "]]><!--",
    "a\x00b\x1b[31m",
]


def parse(text: str) -> Any:
    return html.document_fromstring(text.encode())


def ids_of(root: Any) -> list[str]:
    return [str(one) for one in root.xpath("//@id")]


def texts(root: Any, path: str) -> list[str]:
    return [" ".join("".join(one.itertext()).split()) for one in root.xpath(path)]


def bare_report(result: dict[str, Any]) -> ReportInput:
    return ReportInput(result, (), (), "en", datetime(2025, 1, 1, tzinfo=UTC), {})


def poison(value: Any, text: str) -> Any:
    """Return the result with every free text replaced; codes that steer the report stay."""
    steering = {"ref_type", "direction", "status", "step", "pipeline"}
    match value:
        case dict():
            return {key: one if key in steering else poison(one, text) for key, one in value.items()}
        case list():
            return [poison(one, text) for one in value]
        case str():
            return text
        case _:
            return value


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_report_is_well_formed(lang: str) -> None:
    text = render_html(sample_report(lang))
    etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False))
    assert text.startswith("<!DOCTYPE html>")
    assert parse(text).get("lang") == lang


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_every_inner_link_has_its_target(lang: str) -> None:
    root = parse(render_html(sample_report(lang)))
    ids = ids_of(root)
    assert len(ids) == len(set(ids))
    targets = {one.removeprefix("#") for one in root.xpath("//a/@href") if one.startswith("#")}
    assert targets <= set(ids)
    referenced = " ".join(root.xpath("//@aria-labelledby")).split()
    assert set(referenced) <= set(ids)


def test_title_of_a_signal_leads_to_the_sentence_it_came_from() -> None:
    report = sample_report()
    root = parse(render_html(report))
    for number, signal in enumerate(report.result["signals"], start=1):
        (target,) = root.xpath(f"//h3[@id='signal-{number}-title']/a/@href")
        (place,) = root.xpath(f"//*[@id='{target[1:]}']")
        quote = signal["evidence"][0]["quote"]
        shown = "".join(place.itertext())
        assert quote in shown.replace(",", "") if place.tag in ("td", "tr") else quote.startswith(shown)


def test_each_quote_is_marked_in_the_page_it_comes_from() -> None:
    report = sample_report()
    root = parse(render_html(report))
    signals = [*report.result["signals"], *report.result["below_cut"]]
    for number, signal in enumerate(signals, start=1):
        for letter, evidence in zip("abc", signal["evidence"], strict=False):
            if evidence["ref_type"] == "SNAPSHOT_KEYPATH":
                continue
            marks = root.xpath(f"//mark[@data-quote='quote-{number}{letter}']")
            assert "".join("".join(one.itertext()) for one in marks) == evidence["quote"]
            assert evidence["ref"] in "".join(marks[0].xpath("ancestor::article")[0].itertext())


def test_cited_pages_are_embedded_in_full_and_others_not() -> None:
    root = parse(render_html(sample_report()))
    bodies = ["".join(one.itertext()) for one in root.xpath("//*[@class='page-text']")]
    assert AUDIT.text in bodies
    assert NEWS.text in bodies
    assert UNCITED.text not in bodies


def test_report_asks_for_nothing_and_runs_nothing() -> None:
    text = render_html(sample_report())
    root = parse(text)
    (policy,) = root.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not root.xpath("//script|//link|//iframe|//object|//embed|//img|//form|//@src")
    assert not re.search(r"url\(|@import", root.xpath("//style")[0].text)


def test_outside_links_are_web_links_without_referrer() -> None:
    root = parse(render_html(sample_report()))
    outside = [one for one in root.iter("a") if not one.get("href").startswith("#")]
    assert {one.get("href") for one in outside} == {NEWS.ref}
    assert {one.get("rel") for one in outside} == {"noreferrer noopener"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    plain = sample_report()
    pages = tuple(replace(one, title=text, ref=text, text=text * 2, meta={text: text}) for one in plain.pages)
    figures = (FigureSeries(text, text, text, ((text, text), ("FY2024", text))),)
    hostile = ReportInput(poison(plain.result, text), pages, figures, "ko", plain.generated_at, {text: text})
    root = parse(render_html(hostile))
    assert not root.xpath("//script|//img|//svg[@onload]|//*[@onmouseover or @onfocus or @onerror]")
    assert not [one for one in root.xpath("//@href") if not one.startswith(("#", "http"))]
    assert len(root.xpath("//style")) == len(root.xpath("//title[parent::head]")) == 1
    assert "49" not in texts(root, "//h1")[0]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_gives_a_document_with_sound_links(title: str, url: str) -> None:
    page = replace(NEWS, ref=url, title=title)
    signal = make_signal(1, title, [quote_in(page, "협력사", ref=url)])
    report = replace(bare_report({**sample_result(), "signals": [signal], "below_cut": []}), pages=(page,))
    root = parse(render_html(report))
    ids = set(ids_of(root))
    for href in root.xpath("//a/@href"):
        assert href[1:] in ids if href.startswith("#") else re.match(r"https?://", href, re.IGNORECASE)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "java\tscript:x", "data:text/html,x", "//host/x", "http://a b", " https://a"],
)
def test_other_schemes_are_shown_as_text(url: str) -> None:
    page = replace(NEWS, ref=url)
    signal = make_signal(1, "t", [quote_in(page, "협력사")])
    root = parse(render_html(replace(bare_report({"signals": [signal]}), pages=(page,))))
    assert [one for one in root.xpath("//a/@href") if not one.startswith("#")] == []
    assert root.xpath("//a[@href='#quote-1a']")


def test_misplaced_quote_is_reported_and_never_marked() -> None:
    evidence = quote_in(AUDIT, "순손실이")
    evidence["char_start"] += 1
    evidence["char_end"] += 1
    report = replace(bare_report({"signals": [make_signal(1, "t", [evidence])]}), pages=(AUDIT,))
    root = parse(render_html(report))
    assert not root.xpath("//mark")
    assert texts(root, "//*[@class='unconfirmed']") == [
        "the quote could not be confirmed at its place in the source"
    ]
    assert "0 of 1" in texts(root, "//dl[@class='key']")[0]


def test_quote_of_a_page_that_is_not_there_is_shown_without_a_link() -> None:
    report = bare_report({"signals": [make_signal(1, "t", [quote_in(AUDIT, "순손실이")])]})
    root = parse(render_html(report))
    assert texts(root, "//p[contains(@class,'quote-link')]/q") == ["순손실이"]
    assert texts(root, "//*[@class='unconfirmed']") == ["the source text is not part of this report"]


def test_snapshot_value_opens_its_cell_or_its_row() -> None:
    root = parse(render_html(sample_report()))
    (cell,) = root.xpath("//article[@id='signal-2']//a[@class='quote-link'][1]/@href")[:1]
    assert root.xpath(f"//td[@id='{cell[1:]}']")[0].text == "43,050,000,000"
    (row,) = root.xpath("//article[@id='signal-4']//a[@class='quote-link']/@href")
    assert "/credit/loan_summary/overdue_flag" in texts(root, f"//tr[@id='{row[1:]}']")[0]


def test_snapshot_value_that_says_otherwise_is_reported() -> None:
    evidence = quote_value("/statements/FY2024/equity", "99")
    report = sample_report("en", result={"signals": [make_signal(1, "t", [evidence])]})
    assert texts(parse(render_html(report)), "//*[@class='unconfirmed']") == [
        "the quote could not be confirmed at its place in the source"
    ]


def test_citation_of_an_unknown_signal_is_no_link() -> None:
    result = sample_result()
    result["insight"]["sections"][0]["sentences"][0]["citations"] = [4711]
    root = parse(render_html(sample_report(result=result)))
    assert texts(root, "//span[@class='cite none']") == ["4711?"]


def test_worst_three_come_first_and_all_follow() -> None:
    root = parse(render_html(sample_report()))
    assert texts(root, "//ol[@class='worst']//h4") == [
        "계속기업 존속능력에 중요한 불확실성",
        "부채비율 382.7%로 상승",
        "2년 연속 당기순손실",
    ]
    assert len(root.xpath("//article[@class='card'][not(ancestor::details)]")) == 5
    assert len(root.xpath("//details[@id='below-cut']//article")) == 1


def test_severity_and_stance_are_said_in_words() -> None:
    root = parse(render_html(sample_report()))
    assert texts(root, "//article[@id='signal-1']//*[@class='severity']") == ["5 심각"]
    assert texts(root, "//p[@class='stance']") == ["종합 의견 주의"]


def test_time_is_shown_in_seoul() -> None:
    assert "2025-03-05 08:30 KST" in render_html(sample_report())


def test_footer_says_when_no_language_model_took_part() -> None:
    foot = texts(parse(render_html(sample_report("en"))), "//footer")[0]
    assert "No language model took part" in foot
    result = sample_result()
    result["steps"][4]["provider"] = "anthropic:claude+rules"
    foot = texts(parse(render_html(sample_report("en", result=result))), "//footer")[0]
    assert "anthropic:claude" in foot
    assert "No language model" not in foot
    assert "Parts were made by rules" in foot


def test_calm_company_says_so_without_filler() -> None:
    result = {**sample_result(), "signals": [], "below_cut": [], "dropped": [], "documents": []}
    root = parse(render_html(sample_report("en", result=result, pages=())))
    assert "No risk signals were found." in texts(root, "//*[@class='calm']")[0]
    assert not root.xpath("//article|//details")
    assert "No documents were supplied." in texts(root, "//section[@id='documents']")[0]
    assert "No news or disclosure is cited." in texts(root, "//section[@id='sources']")[0]


def test_failed_job_shows_its_error_and_what_was_done() -> None:
    result = {
        **sample_result(),
        "status": "failed",
        "error": {"code": "LLM_QUOTA", "message": "the quota is spent", "step": "signal"},
        "signals": [],
        "insight": None,
    }
    result["steps"] = [*result["steps"][:2], {"step": "signal", "status": "failed"}]
    (notice,) = texts(parse(render_html(sample_report("en", result=result))), "//section[@class='notice']")
    assert "Signal extraction · LLM_QUOTA · the quota is spent" in notice
    assert "Completed steps: Snapshot, Documents" in notice


def test_what_was_not_reached_is_not_called_calm() -> None:
    for status in ("failed", "running", "cancelled"):
        root = parse(render_html(bare_report({"status": status})))
        for part in ("signals", "insight", "figures", "documents", "sources"):
            assert "The analysis did not get this far." in texts(root, f"//section[@id='{part}']")[0]
        assert not root.xpath("//*[@class='calm']")


def test_cancelled_job_is_said_to_be_cancelled() -> None:
    (notice,) = texts(parse(render_html(bare_report({"status": "cancelled"}))), "//section[@class='notice']")
    assert "The job was cancelled." in notice


def test_banner_says_what_was_not_read_and_what_to_do() -> None:
    (notice,) = texts(parse(render_html(sample_report("en"))), "//section[@class='notice']")
    assert "Analysed in part" in notice
    assert "사업자등록증.png – Pages that are pictures (scans) were not read" in notice
    assert "What to do: Submit a file with text (PDF, DOCX, XLSX)" in notice


@pytest.mark.parametrize("result", [{}, {"status": "running"}, {"status": "cancelled", "corp": None}])
def test_empty_results_still_give_a_report(result: dict[str, Any]) -> None:
    etree.fromstring(render_html(bare_report(result)).encode())


def test_same_input_gives_the_same_bytes() -> None:
    assert render_html(sample_report()) == render_html(sample_report())


def test_long_page_renders_in_reasonable_time() -> None:
    page = SourcePage("DOC_PAGE", "long.pdf:1", "long", "매출이 줄었다.\r\n" * 20_000)
    quotes = [quote_in(page, "매출이 줄었다.") for _ in range(40)]
    report = replace(bare_report({"signals": [make_signal(1, "t", quotes)]}), pages=(page,))
    assert len(parse(render_html(report)).xpath("//mark")) == 40
