"""Recorded events: good records stand whatever their neighbours are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rkyc.providers.search.recorded import RecordedSearch
from rkyc.providers.search.types import SearchQuery

pytestmark = pytest.mark.anyio


def record(**changes: Any) -> dict[str, Any]:
    return {"url": "https://news.example/1", "title": "제목", "text": "본문 😀"} | changes


def as_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


async def test_records_answer_every_query() -> None:
    full = record(
        published_at="2026-10-01T09:00:00+09:00", source="연합", source_type="DISCLOSURE", lang="ko"
    )
    search = RecordedSearch({"events/a.json": as_bytes([full, record()])})
    hits = await search.search(SearchQuery("anything", "policy", max_results=1), timeout_s=1.0)
    assert search.warnings == []
    assert len(hits) == 2
    assert (hits[0].source_type, hits[0].published_at, hits[0].source, hits[0].lang) == (
        "DISCLOSURE",
        "2026-10-01T09:00:00+09:00",
        "연합",
        "ko",
    )
    assert (hits[1].source_type, hits[1].published_at, hits[1].provider) == ("NEWS", None, "recorded")


@pytest.mark.parametrize(
    "whole",
    [record(), [record()], {"events": [record()]}, {"id": "1", "results": [record()]}],
    ids=["object", "list", "events", "results"],
)
def test_json_file_may_hold_one_or_many(whole: Any) -> None:
    search = RecordedSearch({"a.json": as_bytes(whole)})
    assert len(search.hits) == 1
    assert search.warnings == []


def test_bad_lines_are_named_and_lose_no_other() -> None:
    lines = [
        b"\xef\xbb\xbf" + as_bytes(record(url="https://news.example/1")),
        b"{broken",
        b"",
        b'{"url": "https://news.example/2", "title": "\xff", "text": "t"}',
        as_bytes("a text"),
        as_bytes(record(url="ftp://news.example")),
        as_bytes(record(text=" ")),
        as_bytes(record(title=7)),
        b'{"url": "https://news.example/3", "title": "\\ud800", "text": "t"}',
        as_bytes(record(url="https://news.example/4", text="널\x00문자")),
    ]
    search = RecordedSearch({"events/news.jsonl": b"\r\n".join(lines)})
    assert [hit.url for hit in search.hits] == ["https://news.example/1", "https://news.example/4"]
    assert search.hits[1].text == "널\ufffd문자"
    assert [warning.line for warning in search.warnings] == [2, 4, 5, 6, 7, 8, 9]
    assert {warning.file for warning in search.warnings} == {"events/news.jsonl"}


def test_odd_optional_fields_cost_a_warning_but_not_the_record() -> None:
    search = RecordedSearch({"a.json": as_bytes([record(source_type="BLOG", published_at="어제", source=3)])})
    assert len(search.hits) == 1
    hit = search.hits[0]
    assert (hit.source_type, hit.published_at, hit.source) == ("NEWS", None, None)
    assert [warning.line for warning in search.warnings] == [1, 1]


def test_broken_file_leaves_the_other_files() -> None:
    search = RecordedSearch({"a.json": b"[{", "b.json": as_bytes([record()]), "c.json": b""})
    assert len(search.hits) == 1
    assert [(warning.file, warning.line) for warning in search.warnings] == [("a.json", 0), ("c.json", 0)]
