"""Perplexity's search on the wire: what is asked, what comes back, and how it fails."""

from __future__ import annotations

import socket
from datetime import date

import pytest

from rkyc import errors
from rkyc.providers.search.build import SearchOptions, build_search
from rkyc.providers.search.perplexity import PerplexityOptions, PerplexitySearch
from rkyc.providers.search.router import Search
from rkyc.providers.search.types import SearchHit, SearchQuery
from tests.support.vendor_wire import Behaviour, Fail, Garbage, Hang, Results, VendorWire

pytestmark = pytest.mark.anyio

KEY = "pplx-very-secret"
QUERY = SearchQuery("한빛정밀 부도", "company", lang="ko", since=date(2026, 3, 9), max_results=50)


def provider_at(wire: VendorWire) -> PerplexitySearch:
    return PerplexitySearch(PerplexityOptions(KEY, wire.url, connect_timeout_s=0.2))


async def test_hits_are_read_and_what_proves_nothing_is_left_out() -> None:
    results = [
        {"url": "https://www.news.example/a", "title": "제목", "snippet": "본문\x00", "date": "2026-11-01"},
        {"url": "https://dart.fss.or.kr/x", "title": "공시", "snippet": "내용", "date": "last week"},
        {"url": "https://fsc.go.kr/y", "title": None, "snippet": "보도자료", "date": None},
        {"url": "javascript:alert(1)", "title": "t", "snippet": "s"},
        {"url": "https://a.example/empty", "title": "t", "snippet": " "},
        {"title": "no address", "snippet": "s"},
        "no object",
    ]
    async with VendorWire(Results({"id": "1", "results": results})) as wire:
        provider = provider_at(wire)
        hits = await provider.search(QUERY, timeout_s=5.0)
        await provider.aclose()
        asked = wire.asked[0]
    assert hits[0] == SearchHit(
        "https://www.news.example/a",
        "제목",
        "본문\ufffd",
        "2026-11-01",
        "news.example",
        "NEWS",
        "ko",
        "perplexity",
    )
    assert [(hit.source_type, hit.published_at) for hit in hits[1:]] == [
        ("DISCLOSURE", None),
        ("POLICY", None),
    ]
    assert hits[2].title == "https://fsc.go.kr/y"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["query"] == QUERY.text
    assert asked.body["max_results"] == 20
    assert asked.body["search_language_filter"] == ["ko"]
    assert asked.body["search_after_date_filter"] == "03/09/2026"


ROWS: list[tuple[Behaviour, type[errors.WorkerBaseException], str, float | None]] = [
    (Fail(400, "bad"), errors.LLMRequestError, "LLM_REQUEST_INVALID", None),
    (Fail(401, "unauthorised"), errors.LLMAuthError, "LLM_AUTH", None),
    (Fail(402), errors.LLMQuotaError, "LLM_QUOTA", None),
    (Fail(403), errors.LLMAuthError, "LLM_AUTH", None),
    (Fail(422), errors.LLMRequestError, "LLM_REQUEST_INVALID", None),
    (Fail(429, headers={"Retry-After": "9"}), errors.SearchRateLimitError, "SEARCH_RATE_LIMIT", 9.0),
    (Fail(429, body="slow down"), errors.SearchRateLimitError, "SEARCH_RATE_LIMIT", 60.0),
    (Fail(429, "insufficient_quota"), errors.LLMQuotaError, "LLM_QUOTA", None),
    (Fail(500), errors.SearchTimeoutError, "SEARCH_TIMEOUT", None),
    (Fail(503), errors.SearchTimeoutError, "SEARCH_TIMEOUT", None),
    (Fail(504), errors.SearchTimeoutError, "SEARCH_TIMEOUT", None),
    (Garbage(), errors.SearchTimeoutError, "SEARCH_TIMEOUT", None),
    (Results({"id": "1"}), errors.SearchTimeoutError, "SEARCH_TIMEOUT", None),
]


@pytest.mark.parametrize(("behaviour", "error", "code", "wait"), ROWS)
async def test_failure_becomes_our_error(
    behaviour: Behaviour, error: type[errors.WorkerBaseException], code: str, wait: float | None
) -> None:
    async with VendorWire(behaviour) as wire:
        provider = provider_at(wire)
        with pytest.raises(errors.WorkerBaseException) as caught:
            await provider.search(QUERY, timeout_s=5.0)
        await provider.aclose()
        assert len(wire.asked) == 1
    assert type(caught.value) is error
    assert caught.value.error_code == code
    assert caught.value.retry_after_s == wait
    told = f"{caught.value.message} {caught.value.details}"
    assert KEY not in told
    assert "한빛정밀" not in told


async def test_hang_ends_at_the_limit() -> None:
    async with VendorWire(Hang()) as wire:
        provider = provider_at(wire)
        with pytest.raises(errors.SearchTimeoutError) as caught:
            await provider.search(QUERY, timeout_s=0.2)
        await provider.aclose()
    assert caught.value.details["timeout_seconds"] == 0.2


async def test_refused_connection_says_connect() -> None:
    with socket.socket() as unlistened:
        unlistened.bind(("127.0.0.1", 0))
        provider = PerplexitySearch(PerplexityOptions(KEY, f"http://127.0.0.1:{unlistened.getsockname()[1]}"))
        with pytest.raises(errors.SearchTimeoutError, match="failed to connect"):
            await provider.search(QUERY, timeout_s=5.0)
        await provider.aclose()


async def test_chain_falls_over_and_ends_with_what_a_retry_cures() -> None:
    found = Results({"id": "1", "results": [{"url": "https://a.example", "title": "t", "snippet": "s"}]})
    async with VendorWire(Fail(401), found, Fail(401), Fail(503)) as wire:
        search = Search([provider_at(wire), provider_at(wire)], timeout_s=5.0)
        assert search.available
        assert len(await search.search(QUERY)) == 1
        with pytest.raises(errors.SearchTimeoutError):
            await search.search(QUERY)
        await search.aclose()


async def test_no_hit_is_an_answer() -> None:
    async with VendorWire() as wire:
        search = build_search(SearchOptions(perplexity=PerplexityOptions(KEY, wire.url)))
        assert await search.search(QUERY) == []
        await search.aclose()


async def test_search_without_a_provider_says_so() -> None:
    search = build_search(SearchOptions())
    assert not search.available
    with pytest.raises(errors.LLMRequestError, match="no provider"):
        await search.search(QUERY)


def test_key_is_in_no_repr() -> None:
    assert KEY not in repr(SearchOptions(perplexity=PerplexityOptions(KEY)))
