"""Claude, through the anthropic SDK.

Always streams (the SDK refuses a long answer that is not), never retries (the engine does), and
bounds every call twice: the SDK's limit on silence and our own on the whole. Schema-bound answers
use the API's structured output. An in-stream error comes as a status error with status 200.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from rkyc.errors import LLMRequestError
from rkyc.providers.llm.answer import finish_answer
from rkyc.providers.llm.errors import cut_short, raise_translated, refused
from rkyc.providers.llm.prices import cost_usd
from rkyc.providers.llm.types import LlmAnswer, LlmRequest, OnToken, Usage
from rkyc.providers.sdk import LazySdk, Opened

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

CLAUDE_MODEL_DEFAULT = "claude-sonnet-5-5"
CLAUDE_BASE_URL = "https://api.anthropic.com"


@dataclass(frozen=True, slots=True)
class ClaudeOptions:
    """`effort` None leaves the model its own; `stall_timeout_s` None bounds silence by the call's limit."""

    api_key: str = field(repr=False)
    base_url: str = CLAUDE_BASE_URL
    model: str = CLAUDE_MODEL_DEFAULT
    effort: str | None = "medium"
    connect_timeout_s: float = 10.0
    stall_timeout_s: float | None = None


class ClaudeProvider:
    """One Claude model."""

    name = "claude"

    def __init__(self, options: ClaudeOptions) -> None:
        self.model = options.model
        self._options = options
        self._sdk: LazySdk[AsyncAnthropic] = LazySdk(lambda: _open_client(options))

    async def complete(
        self, request: LlmRequest, *, timeout_s: float, on_token: OnToken | None = None
    ) -> LlmAnswer:
        """Ask once; see `LlmProvider.complete` for what it raises."""
        opened = await self._sdk.get()
        reply = _Reply(on_token)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                params = self._params(request)
                params["timeout"] = opened.timeout(self._options.stall_timeout_s or timeout_s)
                stream = cast(Any, await opened.client.messages.create(**params))
                async with stream:
                    reply.request_id = stream.response.headers.get("request-id")
                    async for event in stream:
                        reply.take(event)
        except opened.caught as error:
            raise_translated(self.name, error, timeout_s=timeout_s)
        return reply.answer(self.model, request, ms=round((time.monotonic() - begun) * 1000))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.aclose()

    def _params(self, request: LlmRequest) -> dict[str, Any]:
        params: dict[str, Any] = {
            "model": self.model,
            "max_tokens": request.max_tokens,
            "messages": [{"role": "user", "content": request.prompt}],
            "stream": True,
        }
        if request.system:
            params["system"] = request.system
        config: dict[str, Any] = {}
        if self._options.effort is not None:
            config["effort"] = self._options.effort
        if request.schema is not None:
            config["format"] = {"type": "json_schema", "schema": _accepted_schema(request.schema)}
        if config:
            params["output_config"] = config
        return params


class _Reply:
    """What the events of one stream add up to."""

    def __init__(self, on_token: OnToken | None) -> None:
        self.request_id: str | None = None
        self._on_token = on_token
        self._texts: list[str] = []
        self._stop_reason: str | None = None
        self._plain = self._cached = self._written = self._out = 0

    def take(self, event: Any) -> None:
        match getattr(event, "type", None):
            case "message_start":
                self._count(event.message.usage)
            case "content_block_delta" if event.delta.type == "text_delta":
                self._texts.append(event.delta.text)
                if self._on_token is not None:
                    self._on_token(event.delta.text)
            case "message_delta":
                self._stop_reason = event.delta.stop_reason
                self._count(event.usage)

    def answer(self, model: str, request: LlmRequest, *, ms: int) -> LlmAnswer:
        if self._stop_reason is None:
            raise cut_short(ClaudeProvider.name, request_id=self.request_id)
        usage = self._usage(model)
        if self._stop_reason == "refusal":
            raise refused(
                ClaudeProvider.name, reason=self._stop_reason, usage=usage, request_id=self.request_id
            )
        answer = LlmAnswer(
            text="".join(self._texts),
            parsed=None,
            provider=ClaudeProvider.name,
            model=model,
            usage=usage,
            stop_reason=self._stop_reason,
            request_id=self.request_id,
            ms=ms,
        )
        return finish_answer(answer, request)

    def _count(self, usage: Any) -> None:
        # Each event tells running totals, and the later one may leave the prompt's out.
        self._plain = getattr(usage, "input_tokens", None) or self._plain
        self._cached = getattr(usage, "cache_read_input_tokens", None) or self._cached
        self._written = getattr(usage, "cache_creation_input_tokens", None) or self._written
        self._out = getattr(usage, "output_tokens", None) or self._out

    def _usage(self, model: str) -> Usage:
        tokens_in = self._plain + self._cached + self._written
        cost = cost_usd(
            model,
            tokens_in=tokens_in,
            tokens_out=self._out,
            tokens_cached=self._cached,
            tokens_cache_written=self._written,
        )
        return Usage(tokens_in, self._out, self._cached, cost)


def _open_client(options: ClaudeOptions) -> Opened[AsyncAnthropic]:
    """Import the SDK and build its client; key and address are always given, so it reads neither elsewhere."""
    import aiohttp
    import anthropic
    import httpx2

    client = anthropic.AsyncAnthropic(
        api_key=options.api_key,
        base_url=options.base_url,
        max_retries=0,
        http_client=anthropic.DefaultAioHttpClient(),
    )
    return Opened(
        client=client,
        caught=(
            anthropic.AnthropicError,
            httpx2.HTTPError,
            httpx2.StreamError,
            httpx2.InvalidURL,
            aiohttp.ClientError,
            TimeoutError,
            OSError,
            ValueError,  # a line of the stream that is no JSON or no UTF-8
        ),
        timeout=lambda stall_s: httpx2.Timeout(stall_s, connect=options.connect_timeout_s),
    )


def _accepted_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Rewrite a schema into what the API accepts; limits that it knows not become part of the description."""
    # Loaded already: the client was opened before the first request was written.
    from anthropic import transform_schema

    try:
        return transform_schema(schema)
    except ValueError as error:
        raise LLMRequestError(
            f"the answer's schema can't be sent to Claude: {error}", {"provider": ClaudeProvider.name}
        ) from error
