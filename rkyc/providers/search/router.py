"""The searches that a step may use: a chain with fall-over, without retries of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rkyc.errors import (
    ContentPolicyError,
    LLMAuthError,
    LLMQuotaError,
    LLMRequestError,
    SearchTimeoutError,
    WorkerBaseException,
)
from rkyc.providers.search.types import SearchHit, SearchProvider, SearchQuery

# Seconds for one query at one provider: the contract of the external step.
SEARCH_TIMEOUT_S_DEFAULT = 10.0

_FALL_OVER = (SearchTimeoutError, LLMAuthError, LLMQuotaError, ContentPolicyError)


class Search:
    """Asks its providers in turn."""

    def __init__(
        self, providers: Sequence[SearchProvider] = (), *, timeout_s: float = SEARCH_TIMEOUT_S_DEFAULT
    ) -> None:
        self._providers = tuple(providers)
        self._timeout_s = timeout_s

    @property
    def available(self) -> bool:
        return bool(self._providers)

    @property
    def names(self) -> tuple[str, ...]:
        """The chain in its order: part of a step's fingerprint."""
        return tuple(provider.name for provider in self._providers)

    async def search(self, query: SearchQuery) -> list[SearchHit]:
        """Return the hits of the first provider that answers; none found is an answer.

        Raises:
            LLMRequestError: there is no provider, or the query is wrong.
            WorkerBaseException: see `SearchProvider.search`; what a retry cures comes first.
        """
        failures: list[WorkerBaseException] = []
        for provider in self._providers:
            try:
                return await provider.search(query, timeout_s=self._timeout_s)
            except _FALL_OVER as error:
                failures.append(error)
        if not failures:
            raise LLMRequestError("search: no provider is set; set a key, or record events in the dossier")
        later = [error for error in failures if error.retryable]
        raise min(later, key=lambda error: error.retry_after_s or 0.0) if later else failures[0]

    async def aclose(self) -> None:
        """Close every provider's connections."""
        for provider in self._providers:
            await provider.aclose()
