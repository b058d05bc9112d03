"""What a good answer becomes, and what goes over the wire to get it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pydantic
import pytest

from rkyc.errors import LLMRequestError
from rkyc.providers.llm.claude import CLAUDE_MODEL_DEFAULT, ClaudeOptions, ClaudeProvider
from rkyc.providers.llm.openai import OPENAI_MODEL_DEFAULT, OpenAIOptions, OpenAIProvider
from rkyc.providers.llm.types import DataClass, LlmAnswer, LlmProvider, LlmRequest
from tests.support.vendor_dialects import Say
from tests.support.vendor_wire import VendorWire

pytestmark = pytest.mark.anyio


class Finding(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    title: str = pydantic.Field(max_length=50)
    note: str | None = None
    quotes: list[str] = pydantic.Field(default_factory=list)


def request(**changes: Any) -> LlmRequest:
    return LlmRequest("signal.direct", "시스템", "질문: 🙂", DataClass.PUBLIC, **changes)


def both(wire: VendorWire) -> list[LlmProvider]:
    return [
        ClaudeProvider(ClaudeOptions(api_key="k", base_url=wire.url)),
        OpenAIProvider(OpenAIOptions(api_key="k", base_url=wire.openai_url)),
    ]


async def test_text_streams_and_is_counted() -> None:
    text = "부채비율이 387 % 입니다. 😀"
    async with VendorWire(Say(text, pieces=5), Say(text, pieces=5)) as wire:
        for provider in both(wire):
            tokens: list[str] = []
            answer = await provider.complete(request(), timeout_s=5.0, on_token=tokens.append)
            await provider.aclose()
            assert answer.text == "".join(tokens) == text
            assert len(tokens) == 5
            assert answer.parsed is None
            assert (answer.provider, answer.model) == (provider.name, provider.model)
            assert answer.request_id == "req_1"
            assert answer.stop_reason in ("end_turn", "stop")
            assert answer.usage.tokens_in > 0
            assert answer.usage.tokens_out > 0
            assert answer.usage.cost_usd is not None
            assert answer.usage.cost_usd > 0
        assert len(wire.asked) == 2


async def test_requests_carry_key_limits_and_prompt() -> None:
    async with VendorWire() as wire:
        for provider in both(wire):
            await provider.complete(request(max_tokens=123), timeout_s=5.0)
            await provider.aclose()
        claude, openai = wire.asked
    assert claude.headers["authorization"] == "Bearer k"
    assert claude.body["model"] == CLAUDE_MODEL_DEFAULT
    assert claude.body["stream"] is True
    assert claude.body["max_tokens"] == 123
    assert claude.body["system"] == "시스템"
    assert openai.headers["authorization"] == "Bearer k"
    assert openai.body["model"] == OPENAI_MODEL_DEFAULT
    assert openai.body["stream"] is True
    assert openai.body["max_completion_tokens"] == 123
    assert openai.body["messages"][-1] == {"role": "user", "content": "질문: 🙂"}


async def test_schema_goes_out_and_json_comes_back() -> None:
    async with VendorWire() as wire:
        for provider in both(wire):
            answer = await provider.complete(request(schema=Finding.model_json_schema()), timeout_s=5.0)
            await provider.aclose()
            assert Finding.model_validate(answer.parsed) == Finding(title="")
        claude, openai = wire.asked
    assert claude.body["output_config"]["format"]["type"] == "json_schema"
    assert claude.body["output_config"]["format"]["schema"]["additionalProperties"] is False
    shape = openai.body["response_format"]["json_schema"]
    assert shape["strict"] is True
    assert shape["name"] == "signal_direct"
    assert shape["schema"]["required"] == ["title", "note", "quotes"]
    assert "maxLength" not in shape["schema"]["properties"]["title"]


async def test_open_schema_is_sent_without_strict_mode() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    async with VendorWire() as wire:
        provider = OpenAIProvider(OpenAIOptions(api_key="k", base_url=wire.openai_url))
        answer = await provider.complete(request(schema=schema), timeout_s=5.0)
        await provider.aclose()
        assert wire.asked[0].body["response_format"]["json_schema"]["strict"] is False
    assert answer.parsed == {}


async def test_schema_that_claude_can_not_take_is_a_wrong_request() -> None:
    async with VendorWire() as wire:
        provider = ClaudeProvider(ClaudeOptions(api_key="k", base_url=wire.url))
        with pytest.raises(LLMRequestError, match="schema"):
            await provider.complete(request(schema={"title": "anything"}), timeout_s=5.0)
        await provider.aclose()
        assert wire.asked == []


async def test_local_server_is_asked_in_its_own_words() -> None:
    fenced = '```json\n{"title": "a"}\n```'
    async with VendorWire(Say(fenced, usage=False)) as wire:
        options = OpenAIOptions(None, wire.openai_url, "local-model", name="internal", compatible=True)
        provider = OpenAIProvider(options)
        answer = await provider.complete(request(schema=Finding.model_json_schema()), timeout_s=5.0)
        await provider.aclose()
        asked = wire.asked[0]
    assert asked.body["max_tokens"] == 4000
    assert "max_completion_tokens" not in asked.body
    assert answer.parsed == {"title": "a"}
    assert answer.provider == "internal"
    assert answer.usage.cost_usd is None


async def test_concurrent_first_calls_open_one_client() -> None:
    import anyio

    async with VendorWire() as wire:
        provider = ClaudeProvider(ClaudeOptions(api_key="k", base_url=wire.url))
        answers: list[LlmAnswer] = []

        async def call() -> None:
            answers.append(await provider.complete(request(), timeout_s=5.0))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(call)
        await provider.aclose()
        assert len(answers) == len(wire.asked) == 20


async def test_answer_survives_the_journal() -> None:
    async with VendorWire(Say('{"title": "가"}')) as wire:
        provider = ClaudeProvider(ClaudeOptions(api_key="k", base_url=wire.url))
        answer = await provider.complete(request(schema=Finding.model_json_schema()), timeout_s=5.0)
        await provider.aclose()
    stored = json.loads(json.dumps(asdict(answer)))
    assert pydantic.TypeAdapter(LlmAnswer).validate_python(stored) == answer
