"""What is searched for and what is found. A query holds PUBLIC words only: it goes to a vendor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, Protocol

QueryKind = Literal["company", "industry", "policy"]
SourceType = Literal["NEWS", "DISCLOSURE", "POLICY", "REPORT"]
SOURCE_TYPES: Final[tuple[SourceType, ...]] = ("NEWS", "DISCLOSURE", "POLICY", "REPORT")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """`lang` is an ISO 639-1 code; `since` is the first day of publication that counts."""

    text: str
    kind: QueryKind
    lang: str | None = None
    since: date | None = None
    max_results: int = 10


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One found page. `published_at` is an ISO date or instant; `source` names who published it."""

    url: str
    title: str
    text: str
    published_at: str | None
    source: str | None
    source_type: SourceType
    lang: str | None
    provider: str


class SearchProvider(Protocol):
    """One search engine."""

    @property
    def name(self) -> str: ...

    async def search(self, query: SearchQuery, *, timeout_s: float) -> list[SearchHit]:
        """Search once, without retries; the engine's own order.

        Raises:
            SearchTimeoutError: no answer now (with its rate class), a later try may get one.
            LLMAuthError, LLMQuotaError, LLMRequestError: the same call will fail again.
        """
        ...

    async def aclose(self) -> None: ...
