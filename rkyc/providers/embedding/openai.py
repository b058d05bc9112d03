"""OpenAI's embeddings, or a compatible server's: in batches of 100, as base64 floats.

The errors follow the rule of the résumé system: time-outs, rates, lost connections and failing
servers are retryable; bad input and everything unexpected means no vectors for these texts, and the
work goes on. An unexpected error is logged with its traceback.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from rkyc.errors import EmbeddingPartialFailure, EmbeddingRateLimitError, EmbeddingTimeoutError
from rkyc.providers.embedding.types import Embedding, Vectors, check_texts, normalise
from rkyc.providers.faults import FaultKind, read_fault
from rkyc.providers.llm.openai import OPENAI_BASE_URL, open_openai
from rkyc.providers.llm.prices import cost_usd
from rkyc.providers.llm.types import Usage
from rkyc.providers.sdk import LazySdk
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

if TYPE_CHECKING:
    from openai import AsyncOpenAI

EMBEDDING_MODEL_DEFAULT = "text-embedding-3-small"
# Texts per request: the batch of the source system; the API allows 2,048.
BATCH_MAX = 100
# Source: https://developers.openai.com/api/docs/guides/embeddings
_DIM_BY_MODEL = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072}

# What a body that is not what was promised shows as; a wrong count or width is a ValueError.
_MISSHAPEN = (LookupError, TypeError, AttributeError)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenAIEmbeddingOptions:
    """`dimensions` shortens the vectors; it must be given for a model whose own width is not known."""

    api_key: str | None = field(repr=False)
    base_url: str = OPENAI_BASE_URL
    model: str = EMBEDDING_MODEL_DEFAULT
    dimensions: int | None = None
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.dimensions is None and self.model not in _DIM_BY_MODEL:
            raise ValueError(f"embedding model {self.model}: its dimensions are not known; set them")


class OpenAIEmbedding:
    """One embedding model."""

    name = "openai"

    def __init__(self, options: OpenAIEmbeddingOptions) -> None:
        self.model = options.model
        self.dim = options.dimensions or _DIM_BY_MODEL[options.model]
        self._options = options
        self._sdk: LazySdk[AsyncOpenAI] = LazySdk(
            lambda: open_openai(options.api_key, options.base_url, options.connect_timeout_s)
        )

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> Embedding:
        """Embed all texts; see `EmbeddingProvider.embed`."""
        check_texts(texts)
        parts: list[Vectors] = []
        tokens = 0
        for start in range(0, len(texts), BATCH_MAX):
            vectors, used = await self._embed_batch(texts[start : start + BATCH_MAX], timeout_s)
            parts.append(vectors)
            tokens += used
        usage = Usage(tokens_in=tokens, cost_usd=cost_usd(self.model, tokens_in=tokens, tokens_out=0))
        return Embedding(normalise(np.concatenate(parts)), self.model, usage)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.aclose()

    async def _embed_batch(self, texts: Sequence[str], timeout_s: float) -> tuple[Vectors, int]:
        opened = await self._sdk.get()
        params: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "base64"}
        if self._options.dimensions is not None:
            params["dimensions"] = self._options.dimensions
        try:
            async with asyncio.timeout(timeout_s):
                response = cast(
                    Any, await opened.client.embeddings.create(**params, timeout=opened.timeout(timeout_s))
                )
            vectors = _read_rows(response.data, count=len(texts), dim=self.dim)
            return vectors, getattr(response.usage, "prompt_tokens", 0) or 0
        except opened.caught as error:
            _raise_embedding_error(self.name, error, timeout_s=timeout_s)
        except _MISSHAPEN as error:
            _raise_embedding_error(self.name, error, timeout_s=timeout_s)


def _read_rows(data: Any, *, count: int, dim: int) -> Vectors:
    """Decode the rows into (count, dim), in the order of their index."""
    if len(data) != count:
        raise ValueError(f"{len(data)} vectors came for {count} texts")
    rows = np.zeros((count, dim), dtype=np.float32)
    seen: set[int] = set()
    for item in data:
        value: Any = item.embedding
        # Compatible servers may send a list though base64 was asked for.
        row = np.frombuffer(_decoded(value), dtype="<f4") if isinstance(value, str) else np.asarray(value)
        if row.shape != (dim,) or not np.isfinite(row).all():
            raise ValueError(f"a vector of {row.shape} finite numbers is not ({dim},)")
        rows[item.index] = row
        seen.add(item.index)
    if seen != set(range(count)):
        raise ValueError("the vectors' indexes do not cover the texts")
    return rows


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a vector is no base64") from error


def _raise_embedding_error(provider: str, error: Exception, *, timeout_s: float) -> NoReturn:
    fault = read_fault(provider, error)
    details = fault.details()
    match fault.kind:
        case FaultKind.TIMEOUT:
            details["timeout_seconds"] = timeout_s
            message = f"{provider} embedded nothing within {timeout_s:g} s; a later try may do"
            raise EmbeddingTimeoutError(message, details) from error
        case FaultKind.CONNECT:
            message = f"failed to connect to {provider}, or lost it before its answer ({fault.error})"
            raise EmbeddingTimeoutError(f"{message}; check the address and the network", details) from error
        case FaultKind.SERVER | FaultKind.CUT:
            message = f"{provider} failed with {fault.told()}; a later try may do"
            raise EmbeddingTimeoutError(message, details) from error
        case FaultKind.RATE:
            message = f"{provider} limits the rate: {fault.told()}; wait {fault.retry_after_s:g} s"
            raise EmbeddingRateLimitError(message, details) from error
        case FaultKind.REQUEST:
            message = f"Invalid input: {provider} refused it with {fault.told()}"
            raise EmbeddingPartialFailure(message, details) from error
        case _:
            _log.error(events.PROVIDER_UNEXPECTED, provider=provider, error=fault.error, exc_info=error)
            message = f"Unexpected error: {type(error).__name__}"
            if fault.status is not None:
                message += f" ({provider} answered {fault.told()})"
            raise EmbeddingPartialFailure(message, details) from error
