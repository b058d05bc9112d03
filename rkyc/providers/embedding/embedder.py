"""The embedding that steps use: one provider with its time limit.

There is no fall-over: vectors of two models can't be compared, so another model is no substitute.
When the provider fails, the step goes on without vectors or is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence

from rkyc.providers.embedding.types import Embedding, EmbeddingProvider

# Seconds for one request of one batch.
EMBEDDING_TIMEOUT_S_DEFAULT = 60.0


class Embedder:
    """Is itself an `EmbeddingProvider`, with a default for the limit."""

    def __init__(
        self, provider: EmbeddingProvider, *, timeout_s: float = EMBEDDING_TIMEOUT_S_DEFAULT
    ) -> None:
        self.name = provider.name
        self.model = provider.model
        self.dim = provider.dim
        self._provider = provider
        self._timeout_s = timeout_s

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """The model: vectors of another can't be compared."""
        return (f"{self.name}/{self.model}/{self.dim}",)

    async def embed(self, texts: Sequence[str], *, timeout_s: float | None = None) -> Embedding:
        """Embed all texts; see `EmbeddingProvider.embed` for what it raises."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return await self._provider.embed(texts, timeout_s=limit_s)

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self._provider.aclose()
