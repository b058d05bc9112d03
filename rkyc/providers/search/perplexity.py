"""Perplexity's Search API: ranked pages, no generated prose.

Plain aiohttp: one POST needs no SDK. Errors become ours here. What a hit is (news, disclosure,
policy) is read off its host; grading the source is the work of the step.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_never
from urllib.parse import urlsplit

import aiohttp
import orjson

from rkyc.errors import (
    ContentPolicyError,
    LLMAuthError,
    LLMQuotaError,
    LLMRequestError,
    SearchRateLimitError,
    SearchTimeoutError,
    WorkerBaseException,
)
from rkyc.providers.faults import Fault, FaultKind, read_fault
from rkyc.providers.search.types import SearchHit, SearchQuery, SourceType

PERPLEXITY_BASE_URL = "https://api.perplexity.ai"
# Results per query. Source: https://docs.perplexity.ai/api-reference/search-post
_RESULTS_MAX = 20
# Bytes of one answer; twenty pages of text stay far below.
_BODY_BYTES_MAX = 16 * 1024 * 1024
# Tokens of text per page: enough for a whole article.
_PAGE_TOKENS_MAX = 2048
_DISCLOSURE_HOSTS = ("dart.fss.or.kr", "kind.krx.co.kr", "sec.gov", "edinet-fsa.go.jp", "hkexnews.hk")
_POLICY_SUFFIXES = (".go.kr", ".gov", ".europa.eu", ".go.jp")


@dataclass(frozen=True, slots=True)
class PerplexityOptions:
    api_key: str = field(repr=False)
    base_url: str = PERPLEXITY_BASE_URL
    connect_timeout_s: float = 10.0


class PerplexitySearch:
    """Asks /search."""

    name = "perplexity"

    def __init__(self, options: PerplexityOptions) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    async def search(self, query: SearchQuery, *, timeout_s: float) -> list[SearchHit]:
        """Search once; see `SearchProvider.search` for what it raises."""
        try:
            async with asyncio.timeout(timeout_s):
                body = await self._post(_body(query))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _search_error(read_fault(self.name, error), timeout_s=timeout_s) from error
        results = body.get("results") if isinstance(body, dict) else None
        if not isinstance(results, list):
            fault = Fault(self.name, FaultKind.BROKEN, "NoResults")
            raise _search_error(fault, timeout_s=timeout_s)
        hits = (_hit(result, query) for result in results)
        return [hit for hit in hits if hit is not None]

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, body: dict[str, Any]) -> Any:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._options.connect_timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        headers = {"Authorization": f"Bearer {self._options.api_key}", "Content-Type": "application/json"}
        url = self._options.base_url.rstrip("/") + "/search"
        async with self._session.post(url, data=orjson.dumps(body), headers=headers) as response:
            raw = await _read_bounded(response.content)
            if response.status >= 400:
                raise _Refused(response.status, _json_or_none(raw), dict(response.headers))
            return orjson.loads(raw)


class _Refused(ValueError):
    """An answer with an error status, in the shape that `read_fault` reads."""

    def __init__(self, status_code: int, body: Any, headers: dict[str, str]) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        self.body = body
        self.response = self
        self.headers = {name.lower(): value for name, value in headers.items()}


async def _read_bounded(content: aiohttp.StreamReader) -> bytes:
    chunks = bytearray()
    async for chunk in content.iter_chunked(64 * 1024):
        chunks += chunk
        if len(chunks) > _BODY_BYTES_MAX:
            raise ValueError(f"the answer is longer than {_BODY_BYTES_MAX} bytes")
    return bytes(chunks)


def _json_or_none(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _body(query: SearchQuery) -> dict[str, Any]:
    body: dict[str, Any] = {
        "query": query.text,
        "max_results": max(1, min(query.max_results, _RESULTS_MAX)),
        "max_tokens_per_page": _PAGE_TOKENS_MAX,
    }
    if query.lang is not None:
        body["search_language_filter"] = [query.lang]
    if query.since is not None:
        body["search_after_date_filter"] = query.since.strftime("%m/%d/%Y")
    return body


def _hit(result: Any, query: SearchQuery) -> SearchHit | None:
    """Read one result; None when it has no address or no text, for then it can prove nothing."""
    if not isinstance(result, dict):
        return None
    url, title, text = (result.get(key) for key in ("url", "title", "snippet"))
    if not isinstance(url, str) or not isinstance(text, str) or not text.strip():
        return None
    host = _host(url)
    if host is None:
        return None
    return SearchHit(
        url=url,
        title=title.replace("\x00", "\ufffd") if isinstance(title, str) else url,
        text=text.replace("\x00", "\ufffd"),
        published_at=_iso_or_none(result.get("date")),
        source=host.removeprefix("www."),
        source_type=_source_type(host),
        lang=query.lang,
        provider=PerplexitySearch.name,
    )


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        return parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:
        return None


def _source_type(host: str) -> SourceType:
    if any(host == known or host.endswith("." + known) for known in _DISCLOSURE_HOSTS):
        return "DISCLOSURE"
    return "POLICY" if host.endswith(_POLICY_SUFFIXES) else "NEWS"


def _iso_or_none(value: Any) -> str | None:
    try:
        datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    return str(value)


def _search_error(fault: Fault, *, timeout_s: float) -> WorkerBaseException:
    details = fault.details()
    match fault.kind:
        case FaultKind.TIMEOUT:
            details["timeout_seconds"] = timeout_s
            message = f"{fault.provider} gave no answer within {timeout_s:g} s; a later try may do"
            return SearchTimeoutError(message, details)
        case FaultKind.CONNECT:
            message = f"failed to connect to {fault.provider}, or lost it before its answer ({fault.error})"
            return SearchTimeoutError(f"{message}; check the address and the network", details)
        case FaultKind.SERVER | FaultKind.CUT | FaultKind.BROKEN:
            message = f"{fault.provider} failed with {fault.told()}; a later try may do"
            return SearchTimeoutError(message, details)
        case FaultKind.RATE:
            message = f"{fault.provider} limits the rate: {fault.told()}; wait {fault.retry_after_s:g} s"
            return SearchRateLimitError(message, details)
        case FaultKind.QUOTA:
            message = f"money or quota is spent at {fault.provider}: {fault.told()}; top up the account"
            return LLMQuotaError(message, details)
        case FaultKind.AUTH:
            return LLMAuthError(f"{fault.provider} refused the key: {fault.told()}; check it", details)
        case FaultKind.POLICY:
            return ContentPolicyError(f"{fault.provider} refused the query: {fault.told()}", details)
        case FaultKind.REQUEST:
            return LLMRequestError(f"{fault.provider} refused the query: {fault.told()}", details)
        case _:
            assert_never(fault.kind)
