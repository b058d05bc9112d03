"""OpenAI, and every server that speaks its chat completions: vLLM, Ollama, llama.cpp, LM Studio.

The same code serves the external track and, with the address of a machine in the house, the
internal one. Always streams, never retries, and bounds every call twice, as `claude.py` does.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from rkyc.providers.llm.answer import finish_answer
from rkyc.providers.llm.errors import cut_short, raise_translated, refused
from rkyc.providers.llm.prices import cost_usd
from rkyc.providers.llm.schema import is_strict_possible, strict_schema
from rkyc.providers.llm.types import LlmAnswer, LlmRequest, OnToken, Usage
from rkyc.providers.sdk import LazySdk, Opened

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_MODEL_DEFAULT = "gpt-6.1-sol"
OPENAI_BASE_URL = "https://api.openai.com/v1"
# Servers in the house often want no key, but the SDK wants a word.
_NO_KEY = "none"


@dataclass(frozen=True, slots=True)
class OpenAIOptions:
    """`compatible` is for servers that are not OpenAI's own: they know `max_tokens` and no effort."""

    api_key: str | None = field(repr=False)
    base_url: str = OPENAI_BASE_URL
    model: str = OPENAI_MODEL_DEFAULT
    name: str = "openai"
    compatible: bool = False
    effort: str | None = None
    connect_timeout_s: float = 10.0
    stall_timeout_s: float | None = None


class OpenAIProvider:
    """One model behind chat completions."""

    def __init__(self, options: OpenAIOptions) -> None:
        self.name = options.name
        self.model = options.model
        self._options = options
        self._sdk: LazySdk[AsyncOpenAI] = LazySdk(
            lambda: open_openai(options.api_key, options.base_url, options.connect_timeout_s)
        )

    async def complete(
        self, request: LlmRequest, *, timeout_s: float, on_token: OnToken | None = None
    ) -> LlmAnswer:
        """Ask once; see `LlmProvider.complete` for what it raises."""
        opened = await self._sdk.get()
        reply = _Reply(self.name, on_token)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                params = self._params(request)
                params["timeout"] = opened.timeout(self._options.stall_timeout_s or timeout_s)
                stream = cast(Any, await opened.client.chat.completions.create(**params))
                async with stream:
                    reply.request_id = stream.response.headers.get("x-request-id")
                    async for chunk in stream:
                        reply.take(chunk)
        except opened.caught as error:
            raise_translated(self.name, error, timeout_s=timeout_s)
        return reply.answer(self.model, request, ms=round((time.monotonic() - begun) * 1000))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.aclose()

    def _params(self, request: LlmRequest) -> dict[str, Any]:
        messages = [{"role": "system", "content": request.system}] if request.system else []
        messages.append({"role": "user", "content": request.prompt})
        params: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        params["max_tokens" if self._options.compatible else "max_completion_tokens"] = request.max_tokens
        if self._options.effort is not None:
            params["reasoning_effort"] = self._options.effort
        if request.schema is not None:
            params["response_format"] = _response_format(request.operation, request.schema)
        return params


class _Reply:
    """What the chunks of one stream add up to."""

    def __init__(self, provider: str, on_token: OnToken | None) -> None:
        self.request_id: str | None = None
        self._provider = provider
        self._on_token = on_token
        self._texts: list[str] = []
        self._is_refused = False
        self._stop_reason: str | None = None
        self._usage: Any = None

    def take(self, chunk: Any) -> None:
        self._usage = getattr(chunk, "usage", None) or self._usage
        for choice in getattr(chunk, "choices", None) or ():
            self._stop_reason = getattr(choice, "finish_reason", None) or self._stop_reason
            delta = getattr(choice, "delta", None)
            self._is_refused = self._is_refused or bool(getattr(delta, "refusal", None))
            if text := getattr(delta, "content", None):
                self._texts.append(text)
                if self._on_token is not None:
                    self._on_token(text)

    def answer(self, model: str, request: LlmRequest, *, ms: int) -> LlmAnswer:
        if self._stop_reason is None:
            raise cut_short(self._provider, request_id=self.request_id)
        usage = _usage(model, self._usage)
        if self._is_refused or self._stop_reason == "content_filter":
            reason = "refusal" if self._is_refused else self._stop_reason
            raise refused(self._provider, reason=reason, usage=usage, request_id=self.request_id)
        answer = LlmAnswer(
            text="".join(self._texts),
            parsed=None,
            provider=self._provider,
            model=model,
            usage=usage,
            stop_reason=self._stop_reason,
            request_id=self.request_id,
            ms=ms,
        )
        return finish_answer(answer, request)


def open_openai(api_key: str | None, base_url: str, connect_timeout_s: float) -> Opened[AsyncOpenAI]:
    """Import the SDK and build its client; key and address are always given, so it reads neither elsewhere."""
    import aiohttp
    import httpx2
    import openai

    client = openai.AsyncOpenAI(
        api_key=api_key or _NO_KEY,
        base_url=base_url,
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(),
    )
    return Opened(
        client=client,
        caught=(
            openai.OpenAIError,
            httpx2.HTTPError,
            httpx2.StreamError,
            httpx2.InvalidURL,
            aiohttp.ClientError,
            TimeoutError,
            OSError,
            ValueError,  # a line of the stream that is no JSON or no UTF-8
        ),
        timeout=lambda stall_s: httpx2.Timeout(stall_s, connect=connect_timeout_s),
    )


def _response_format(operation: str, schema: dict[str, Any]) -> dict[str, Any]:
    # The name may hold letters, digits, _ and - only, 64 at most.
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in operation)
    strict = is_strict_possible(schema)
    shape = {
        "name": name[:64] or "answer",
        "schema": strict_schema(schema) if strict else schema,
        "strict": strict,
    }
    return {"type": "json_schema", "json_schema": shape}


def _usage(model: str, given: Any) -> Usage:
    tokens_in = getattr(given, "prompt_tokens", None) or 0
    tokens_out = getattr(given, "completion_tokens", None) or 0
    split = getattr(given, "prompt_tokens_details", None)
    cached = getattr(split, "cached_tokens", None) or 0
    written = getattr(split, "cache_write_tokens", None) or 0
    cost = cost_usd(
        model,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=cached,
        tokens_cache_written=written,
    )
    return Usage(tokens_in, tokens_out, cached, cost)
