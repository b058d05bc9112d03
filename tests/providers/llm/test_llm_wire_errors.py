"""Each way in which a vendor can fail, on the wire, through the real SDKs: class, code, wait, one request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from rkyc import errors
from rkyc.providers.llm.claude import ClaudeOptions, ClaudeProvider
from rkyc.providers.llm.openai import OpenAIOptions, OpenAIProvider
from rkyc.providers.llm.types import DataClass, LlmProvider, LlmRequest
from tests.support.vendor_dialects import Say
from tests.support.vendor_wire import (
    Behaviour,
    Cut,
    Fail,
    FailInStream,
    Garbage,
    Hang,
    Trickle,
    VendorWire,
)

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret-key"
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


def claude(wire: VendorWire, **changes: Any) -> LlmProvider:
    return ClaudeProvider(ClaudeOptions(api_key=KEY, base_url=wire.url, **changes))


def openai(wire: VendorWire, **changes: Any) -> LlmProvider:
    return OpenAIProvider(OpenAIOptions(api_key=KEY, base_url=wire.openai_url, **changes))


VENDORS = [pytest.param(claude, id="claude"), pytest.param(openai, id="openai")]
Make = Callable[..., LlmProvider]


@dataclass(frozen=True)
class Row:
    behaviour: Behaviour
    error: type[errors.WorkerBaseException]
    code: str
    retry_after_s: float | None = None
    only: str | None = None
    schema: dict[str, Any] | None = None


ROWS = {
    "400": Row(Fail(400, "invalid_request_error"), errors.LLMRequestError, "LLM_REQUEST_INVALID"),
    "400 content filter": Row(
        Fail(400, "invalid_request_error", message="Output blocked by content filtering policy"),
        errors.ContentPolicyError,
        "CONTENT_POLICY",
    ),
    "400 content policy code": Row(
        Fail(400, "content_policy_violation"), errors.ContentPolicyError, "CONTENT_POLICY", only="openai"
    ),
    "400 no credit": Row(
        Fail(400, "invalid_request_error", message="Your credit balance is too low to access the API"),
        errors.LLMQuotaError,
        "LLM_QUOTA",
    ),
    "401": Row(Fail(401, "authentication_error"), errors.LLMAuthError, "LLM_AUTH"),
    "402": Row(Fail(402, "billing_error"), errors.LLMQuotaError, "LLM_QUOTA"),
    "403": Row(Fail(403, "permission_error"), errors.LLMAuthError, "LLM_AUTH"),
    "404": Row(Fail(404, "not_found_error"), errors.LLMRequestError, "LLM_REQUEST_INVALID"),
    "408": Row(Fail(408), errors.LLMTimeoutError, "LLM_TIMEOUT"),
    "409": Row(Fail(409, "conflict_error"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "413": Row(Fail(413, "request_too_large"), errors.LLMRequestError, "LLM_REQUEST_INVALID"),
    "422": Row(Fail(422), errors.LLMRequestError, "LLM_REQUEST_INVALID"),
    "425": Row(Fail(425), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "429 with retry-after": Row(
        Fail(429, "rate_limit_error", headers={"retry-after": "7"}),
        errors.LLMRateLimitError,
        "LLM_RATE_LIMIT",
        7.0,
    ),
    "429 with a wait of days": Row(
        Fail(429, "rate_limit_error", headers={"retry-after": "172800"}),
        errors.LLMRateLimitError,
        "LLM_RATE_LIMIT",
        172_800.0,
    ),
    "429 with retry-after-ms": Row(
        Fail(429, "rate_limit_error", headers={"retry-after-ms": "1500"}),
        errors.LLMRateLimitError,
        "LLM_RATE_LIMIT",
        1.5,
    ),
    "429 with a date gone by": Row(
        Fail(429, "rate_limit_error", headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        errors.LLMRateLimitError,
        "LLM_RATE_LIMIT",
        0.0,
    ),
    "429 without": Row(Fail(429, "rate_limit_error"), errors.LLMRateLimitError, "LLM_RATE_LIMIT", 60.0),
    "429 insufficient quota": Row(Fail(429, "insufficient_quota"), errors.LLMQuotaError, "LLM_QUOTA"),
    "429 no JSON": Row(Fail(429, body="<html>slow</html>"), errors.LLMRateLimitError, "LLM_RATE_LIMIT", 60.0),
    "500": Row(Fail(500, "api_error"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "502 no JSON": Row(Fail(502, body="<html>bad</html>"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "503": Row(Fail(503), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "503 with retry-after": Row(
        Fail(503, headers={"retry-after": "3"}), errors.LLMProviderError, "LLM_PROVIDER_ERROR", 3.0
    ),
    "504": Row(Fail(504, "timeout_error"), errors.LLMTimeoutError, "LLM_TIMEOUT"),
    "529": Row(Fail(529, "overloaded_error"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "in stream: overloaded": Row(
        FailInStream("overloaded_error"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"
    ),
    "in stream: api error": Row(FailInStream("api_error"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "in stream: server error": Row(
        FailInStream("server_error"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"
    ),
    "in stream: rate": Row(
        FailInStream("rate_limit_error"), errors.LLMRateLimitError, "LLM_RATE_LIMIT", 60.0
    ),
    "in stream: time-out": Row(FailInStream("timeout_error"), errors.LLMTimeoutError, "LLM_TIMEOUT"),
    "in stream: invalid": Row(
        FailInStream("invalid_request_error"), errors.LLMRequestError, "LLM_REQUEST_INVALID"
    ),
    "in stream: a word never seen": Row(
        FailInStream("odd_error"), errors.LLMProviderError, "LLM_PROVIDER_ERROR"
    ),
    "in stream: a local server's number": Row(
        FailInStream("BadRequestError", numeric=400),
        errors.LLMRequestError,
        "LLM_REQUEST_INVALID",
        only="openai",
    ),
    "cut": Row(Cut(), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "cut without a trace": Row(Cut(politely=True), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "no JSON in the stream": Row(Garbage(), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "no UTF-8 in the stream": Row(Garbage(b'"\xff\xfe"'), errors.LLMProviderError, "LLM_PROVIDER_ERROR"),
    "refusal": Row(
        Say("I can't", stop="refusal"), errors.ContentPolicyError, "CONTENT_POLICY", only="claude"
    ),
    "content filter": Row(
        Say("half", stop="content_filter"), errors.ContentPolicyError, "CONTENT_POLICY", only="openai"
    ),
    "refusal in the delta": Row(
        Say("", refusal="I can't"), errors.ContentPolicyError, "CONTENT_POLICY", only="openai"
    ),
    "empty answer": Row(Say(""), errors.LLMParseError, "LLM_PARSE_ERROR"),
    "invalid JSON": Row(Say('{"title": '), errors.LLMParseError, "LLM_PARSE_ERROR", schema=SCHEMA),
    "JSON cut at the limit": Row(
        Say('{"title": "a', stop="max_tokens"), errors.LLMParseError, "LLM_PARSE_ERROR", schema=SCHEMA
    ),
}
CASES = [
    pytest.param(make, row, id=f"{vendor}: {name}")
    for name, row in ROWS.items()
    for vendor, make in (("claude", claude), ("openai", openai))
    if row.only in (None, vendor)
]


def ask(schema: dict[str, Any] | None = None) -> LlmRequest:
    return LlmRequest(
        "signal",
        "You are terse.",
        "the confidential prompt",
        DataClass.PUBLIC,
        schema=schema,
        max_tokens=64_000,
    )


@pytest.mark.parametrize(("make", "row"), CASES)
async def test_vendor_failure_becomes_our_error(make: Make, row: Row) -> None:
    async with VendorWire(row.behaviour) as wire:
        provider = make(wire)
        with pytest.raises(errors.WorkerBaseException) as caught:
            await provider.complete(ask(row.schema), timeout_s=5.0)
        await provider.aclose()
        assert len(wire.asked) == 1
    error = caught.value
    assert type(error) is row.error
    assert error.error_code == row.code
    assert error.retryable is issubclass(row.error, errors.RetryableException)
    assert error.retry_after_s == row.retry_after_s
    assert error.details["provider"] == provider.name
    if isinstance(row.behaviour, Fail):
        assert error.details["status"] == row.behaviour.status
        assert error.details["request_id"] == "req_1"
    told = f"{error.message} {error.details}"
    assert KEY not in told
    assert "confidential" not in told


@pytest.mark.parametrize("make", VENDORS)
@pytest.mark.parametrize("behaviour", [Hang(), Hang(after=2), Trickle()], ids=["before", "midway", "trickle"])
async def test_call_ends_at_its_own_deadline(make: Make, behaviour: Behaviour) -> None:
    async with VendorWire(behaviour) as wire:
        provider = make(wire, stall_timeout_s=60.0)
        with pytest.raises(errors.LLMTimeoutError) as caught:
            await provider.complete(ask(), timeout_s=0.3)
        await provider.aclose()
        assert len(wire.asked) == 1
    assert caught.value.details["timeout_seconds"] == 0.3
    assert caught.value.details["original_error"] == "TimeoutError"


@pytest.mark.parametrize("make", VENDORS)
@pytest.mark.parametrize("behaviour", [Hang(), Hang(after=2)], ids=["before", "midway"])
async def test_silence_ends_at_the_clients_limit(make: Make, behaviour: Behaviour) -> None:
    async with VendorWire(behaviour) as wire:
        provider = make(wire, stall_timeout_s=0.2)
        with pytest.raises(errors.LLMTimeoutError) as caught:
            await provider.complete(ask(), timeout_s=120.0)
        await provider.aclose()
        assert len(wire.asked) == 1
    assert caught.value.details["timeout_seconds"] == 120.0
    assert caught.value.details["original_error"] != "TimeoutError"


@pytest.mark.parametrize("make", VENDORS)
async def test_refused_connection_is_retryable_and_says_connect(make: Make) -> None:
    wire = VendorWire()
    with socket.socket() as unlistened:
        unlistened.bind(("127.0.0.1", 0))
        wire.url = f"http://127.0.0.1:{unlistened.getsockname()[1]}"
        provider = make(wire)
        with pytest.raises(errors.LLMProviderError, match="failed to connect") as caught:
            await provider.complete(ask(), timeout_s=5.0)
        await provider.aclose()
    assert type(caught.value) is errors.LLMProviderError
    assert caught.value.retryable


@pytest.mark.parametrize("make", VENDORS)
async def test_address_that_swallows_connections_ends_at_the_connect_limit(make: Make) -> None:
    # A full backlog of a listener that never accepts: the kernel drops the next SYN.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        wire = VendorWire()
        wire.url = f"http://127.0.0.1:{address[1]}"
        provider = make(wire, connect_timeout_s=0.2)
        with pytest.raises(errors.LLMTimeoutError, match="failed to connect"):
            await provider.complete(ask(), timeout_s=120.0)
        await provider.aclose()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("make", VENDORS)
async def test_cancel_is_not_an_error_of_the_vendor(make: Make) -> None:
    async with VendorWire(Trickle(), Say("next")) as wire:
        provider = make(wire)
        first_token = anyio.Event()
        call = asyncio.create_task(
            provider.complete(ask(), timeout_s=60.0, on_token=lambda _: first_token.set())
        )
        await first_token.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await provider.complete(ask(), timeout_s=5.0)).text == "next"
        await provider.aclose()


def test_keys_are_in_no_repr() -> None:
    assert KEY not in repr(ClaudeOptions(api_key=KEY))
    assert KEY not in repr(OpenAIOptions(api_key=KEY))
