"""The insight's citations lead to where the report shows what they name."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import html

from rkyc.report.html import render_html
from rkyc.report.markdown import render_markdown
from tests.support.report_sample import AUDIT, NEWS, UNCITED, make_signal, sample_report, sample_result


def cite(*citations: object) -> dict[str, Any]:
    result = sample_result()
    result["insight"]["sections"] = [
        {"title": "s", "sentences": [{"text": "t", "citations": list(citations)}]}
    ]
    return result


def link_of(result: dict[str, Any]) -> tuple[Any, Any]:
    """Return the citation's link and what it leads to."""
    root = html.document_fromstring(render_html(sample_report(result=result)).encode())
    (link,) = root.xpath("//section[@id='insight']//a[contains(@class, 'cite')]")
    (place,) = root.xpath(f"//*[@id='{link.get('href')[1:]}']")
    return link, place


@pytest.mark.parametrize("cited", [902, "902", "signal:902"])
def test_risk_signal_leads_to_its_card(cited: object) -> None:
    link, place = link_of(cite(cited))
    assert (link.text, place.get("id"), place.tag) == ("2", "signal-2", "article")


def test_period_leads_to_its_column_of_the_figures() -> None:
    link, place = link_of(cite("snapshot:/statements/FY2023"))
    assert (link.text, place.tag, place.text) == ("재무제표 FY2023", "th", "FY2023")


def test_figure_leads_to_its_cell() -> None:
    link, place = link_of(cite("snapshot:/statements/FY2024/equity"))
    assert (link.text, place.tag, place.text) == ("FY2024 자본총계", "td", "11,250,000,000")


def test_other_value_leads_to_its_row() -> None:
    link, place = link_of(cite("snapshot:/credit/loan_summary/total_exposure_krw"))
    assert (link.text, place.tag) == ("총여신", "tr")
    assert "8,200,000,000원 (82억원)" in " ".join("".join(place.itertext()).split())


def test_object_is_told_by_its_members() -> None:
    _, place = link_of(cite("snapshot:/credit/loan_summary"))
    assert "총여신 8,200,000,000원, 연체 여부 예" in "".join(place.itertext())


@pytest.mark.parametrize("page", [AUDIT, UNCITED], ids=["quoted", "only told"])
def test_page_leads_to_its_text(page: Any) -> None:
    link, place = link_of(cite(f"doc:{page.ref}"))
    name, _, number = page.ref.rpartition(":")
    assert link.text == f"{name} {number}쪽"
    assert page.text in "".join(place.itertext())


def test_news_leads_to_its_text() -> None:
    link, place = link_of(cite(f"url:{NEWS.ref}"))
    assert link.text == "news.example.com"
    assert NEWS.text in "".join(place.itertext())


@pytest.mark.parametrize(
    "cited", [4711, "signal:4711", "snapshot:/nowhere", "doc:no.pdf:1", "url:https://no.example", "what:ever"]
)
def test_what_the_report_does_not_hold_is_no_link(cited: object) -> None:
    root = html.document_fromstring(render_html(sample_report(result=cite(cited))).encode())
    (mark,) = root.xpath("//span[@class='cite none']")
    assert mark.text.endswith("?")


def test_signal_that_is_gone_is_listed_and_can_be_cited() -> None:
    gone = make_signal(950, "연체 38일", [], change="GONE", summary="연체금액 640,000,000원")
    result = {**cite(950), "gone": [gone]}
    link, place = link_of(result)
    assert link.text == "7"
    assert place.xpath("ancestor-or-self::li[@class='gone']")
    assert "더 이상 나타나지 않는 신호 (1건)" in render_markdown(sample_report(result=result))
    root = html.document_fromstring(render_html(sample_report(result=result)).encode())
    assert "사라짐 1" in "".join(root.xpath("//dl[@class='key']")[0].itertext())
