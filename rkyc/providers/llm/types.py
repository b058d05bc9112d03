"""What is asked of a language model and what comes back.

Frozen dataclasses of plain values: they are journalled as JSON (`dataclasses.asdict`) and rebuilt.
The data class of a request decides which track may see it; nothing here knows a vendor.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class DataClass(StrEnum):
    """How widely a piece of context may travel. Only PUBLIC may leave the house."""

    PUBLIC = "PUBLIC"
    SEMI_PUBLIC = "SEMI_PUBLIC"
    INTERNAL = "INTERNAL"


class Track(StrEnum):
    """Whose machine answers: a vendor's, or one inside the house."""

    EXTERNAL = "EXTERNAL"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of one call or of several.

    `tokens_in` counts every prompt token, `tokens_cached` those of them that a cache served.
    `cost_usd` is None when the model's price is not known.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    cost_usd: float | None = None

    def plus(self, other: Usage) -> Usage:
        """Add; a sum with an unknown price has an unknown price."""
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            tokens_cached=self.tokens_cached + other.tokens_cached,
            cost_usd=(self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
        )


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One question. With `schema` (a JSON schema) the answer must be JSON of that shape."""

    operation: str
    system: str
    prompt: str
    data_class: DataClass
    schema: dict[str, Any] | None = None
    max_tokens: int = 4000


@dataclass(frozen=True, slots=True)
class LlmAnswer:
    """One answer. `parsed` is the JSON value when the request had a schema; `ms` is wall time."""

    text: str
    parsed: Any | None
    provider: str
    model: str
    usage: Usage
    stop_reason: str | None
    request_id: str | None
    ms: int


OnToken = Callable[[str], None]


class Ticket(Protocol):
    """A call that was let in."""

    def settle(self, tokens: int, usd: float | None) -> None:
        """Say what it used."""
        ...


class Admission(Protocol):
    """Who lets calls in; how the block ends tells how the call did."""

    def admit(self, provider: str, *, tokens: int, usd: float) -> AbstractAsyncContextManager[Ticket]: ...


class LlmProvider(Protocol):
    """One vendor with one model."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    async def complete(
        self, request: LlmRequest, *, timeout_s: float, on_token: OnToken | None = None
    ) -> LlmAnswer:
        """Ask once, without retries; `on_token` gets the text as it arrives.

        Raises:
            LLMProviderError: no answer now, a later try may get one (with its time-out and rate classes).
            LLMAuthError, LLMQuotaError, LLMRequestError: the same call will fail again.
            ContentPolicyError: the model or its filter refused.
            LLMParseError: the answer is empty, or no JSON where a schema was given.
        """
        ...

    async def aclose(self) -> None: ...
