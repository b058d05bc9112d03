"""Maps the settings to providers; a part of `app`, loaded only where some step asks for a provider.

It stands apart so that the core runs without the extras that the providers need.
"""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from rkyc.config import Settings
from rkyc.engine.admission import Admission, AdmissionLimits
from rkyc.providers.embedding.build import EmbeddingOptions, build_embedder
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.embedding.openai import OpenAIEmbeddingOptions
from rkyc.providers.llm.build import LlmOptions, VendorOptions, build_llm, internal_options
from rkyc.providers.llm.claude import ClaudeOptions
from rkyc.providers.llm.openai import OpenAIOptions
from rkyc.providers.llm.router import Llm
from rkyc.providers.search.build import SearchOptions, build_search
from rkyc.providers.search.perplexity import PerplexityOptions
from rkyc.providers.search.router import Search
from rkyc.store.pool import Pool


def build_providers(settings: Settings, pool: Pool) -> dict[type, Any]:
    """Return the providers by the type that steps `use`; without a key each is its offline stand-in."""
    return {
        Llm: build_llm(_llm_options(settings), _make_admission(settings, pool)),
        Search: build_search(_search_options(settings)),
        Embedder: build_embedder(_embedding_options(settings)),
    }


def _make_admission(settings: Settings, pool: Pool) -> Admission:
    async def get_pool() -> Pool:
        return pool

    limits = AdmissionLimits(
        requests_per_minute=settings.llm_requests_per_minute,
        tokens_per_minute=settings.llm_tokens_per_minute,
        usd_per_day=settings.llm_usd_per_day,
    )
    return Admission(get_pool, limits=limits)


def _llm_options(settings: Settings) -> LlmOptions:
    connect_s = float(settings.llm_connect_timeout_seconds)
    external: list[VendorOptions] = []
    if key := _reveal(settings.anthropic_api_key):
        external.append(
            ClaudeOptions(
                api_key=key,
                base_url=settings.anthropic_base_url,
                model=settings.anthropic_model,
                connect_timeout_s=connect_s,
            )
        )
    if key := _reveal(settings.openai_api_key):
        external.append(
            OpenAIOptions(
                api_key=key,
                base_url=settings.openai_base_url,
                model=settings.openai_model,
                connect_timeout_s=connect_s,
            )
        )
    internal: list[VendorOptions] = []
    if settings.internal_llm_base_url:
        internal.append(
            internal_options(
                base_url=settings.internal_llm_base_url,
                model=settings.internal_llm_model or "default",
                api_key=_reveal(settings.internal_llm_api_key),
                connect_timeout_s=connect_s,
            )
        )
    return LlmOptions(tuple(external), tuple(internal), timeout_s=float(settings.llm_timeout_seconds))


def _search_options(settings: Settings) -> SearchOptions:
    key = _reveal(settings.perplexity_api_key)
    return SearchOptions(
        PerplexityOptions(api_key=key, base_url=settings.perplexity_base_url) if key else None
    )


def _embedding_options(settings: Settings) -> EmbeddingOptions:
    key = _reveal(settings.openai_api_key)
    openai = (
        OpenAIEmbeddingOptions(api_key=key, base_url=settings.openai_base_url, model=settings.embedding_model)
        if key
        else None
    )
    return EmbeddingOptions(openai, timeout_s=float(settings.embedding_timeout_seconds))


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
