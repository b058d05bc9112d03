"""From options to the embedding: pure construction. Without a vendor the lexical one stands in."""

from __future__ import annotations

from dataclasses import dataclass

from rkyc.providers.embedding.embedder import EMBEDDING_TIMEOUT_S_DEFAULT, Embedder
from rkyc.providers.embedding.lexical import LexicalEmbedding
from rkyc.providers.embedding.openai import OpenAIEmbedding, OpenAIEmbeddingOptions


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """Without `openai` the offline embedding is used."""

    openai: OpenAIEmbeddingOptions | None = None
    timeout_s: float = EMBEDDING_TIMEOUT_S_DEFAULT


def build_embedder(options: EmbeddingOptions) -> Embedder:
    """Build the one embedding of this process."""
    provider = OpenAIEmbedding(options.openai) if options.openai is not None else LexicalEmbedding()
    return Embedder(provider, timeout_s=options.timeout_s)
