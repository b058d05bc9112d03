"""Which provider is asked, and what comes of it when one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pydantic
import pytest

from rkyc import errors
from rkyc.providers.llm.answer import finish_answer
from rkyc.providers.llm.build import LlmOptions, build_llm, internal_options
from rkyc.providers.llm.claude import ClaudeOptions
from rkyc.providers.llm.openai import OpenAIOptions
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import DataClass, LlmAnswer, LlmRequest, Track, Usage
from tests.support.vendor_dialects import Say
from tests.support.vendor_wire import Fail, VendorWire

pytestmark = pytest.mark.anyio

Play = str | errors.WorkerBaseException


class Scripted:
    """A provider that plays what it was given."""

    def __init__(self, name: str, *plays: Play, tokens_first: int = 0) -> None:
        self.name = name
        self.model = f"{name}-1"
        self.asked: list[LlmRequest] = []
        self.is_closed = False
        self._plays = list(plays)
        self._tokens_first = tokens_first

    async def complete(
        self, request: LlmRequest, *, timeout_s: float, on_token: Callable[[str], None] | None = None
    ) -> LlmAnswer:
        self.asked.append(request)
        if on_token is not None:
            for _ in range(self._tokens_first):
                on_token("x")
        play = self._plays.pop(0)
        if isinstance(play, errors.WorkerBaseException):
            raise play
        usage = Usage(tokens_in=10, tokens_out=5, cost_usd=0.25)
        return finish_answer(
            LlmAnswer(play, None, self.name, self.model, usage, "stop", f"req_{len(self.asked)}", 7), request
        )

    async def aclose(self) -> None:
        self.is_closed = True


def request(data_class: DataClass = DataClass.PUBLIC) -> LlmRequest:
    return LlmRequest("signal", "system", "prompt", data_class)


@pytest.mark.parametrize(
    "error",
    [
        errors.LLMProviderError("down", {"provider": "a"}),
        errors.LLMTimeoutError("slow", {"provider": "a"}),
        errors.LLMRateLimitError("limited", {"provider": "a"}),
        errors.LLMAuthError("locked", {"provider": "a"}),
        errors.LLMQuotaError("unpaid", {"provider": "a"}),
        errors.ContentPolicyError("refused", {"provider": "a"}),
    ],
    ids=lambda error: error.error_code,
)
async def test_next_provider_answers(error: errors.WorkerBaseException) -> None:
    first, second = Scripted("a", error), Scripted("b", "yes")
    answer = await Llm(external=[first, second]).complete(request())
    assert answer.provider == "b"
    assert len(first.asked) == len(second.asked) == 1


@pytest.mark.parametrize(
    "error",
    [errors.LLMRequestError("wrong"), errors.LLMParseError("no JSON")],
    ids=lambda error: error.error_code,
)
async def test_request_that_is_wrong_everywhere_is_not_passed_on(error: errors.WorkerBaseException) -> None:
    second = Scripted("b", "yes")
    with pytest.raises(type(error)):
        await Llm(external=[Scripted("a", error), second]).complete(request())
    assert second.asked == []


async def test_of_several_failures_the_one_that_a_retry_cures_is_raised() -> None:
    chain = [
        Scripted("a", errors.LLMAuthError("locked", {"provider": "a"})),
        Scripted("b", errors.LLMRateLimitError("limited", {"provider": "b", "retry_after": 60.0})),
        Scripted("c", errors.LLMRateLimitError("limited", {"provider": "c", "retry_after": 5.0})),
        Scripted("d", errors.ContentPolicyError("refused", {"provider": "d"})),
    ]
    with pytest.raises(errors.LLMRateLimitError) as caught:
        await Llm(external=chain).complete(request())
    assert caught.value.retry_after_s == 5.0
    assert [tried["provider"] for tried in caught.value.details["tried"]] == ["a", "b", "c", "d"]


async def test_of_permanent_failures_the_refusal_is_raised() -> None:
    chain = [
        Scripted("a", errors.LLMAuthError("locked")),
        Scripted("b", errors.ContentPolicyError("refused")),
    ]
    with pytest.raises(errors.ContentPolicyError):
        await Llm(external=chain).complete(request())


@pytest.mark.parametrize("data_class", [DataClass.INTERNAL, DataClass.SEMI_PUBLIC])
async def test_internal_data_never_reaches_the_external_track(data_class: DataClass) -> None:
    outside, inside = Scripted("out", "yes"), Scripted("in", "yes")
    llm = Llm(external=[outside], internal=[inside])
    assert llm.track_for(data_class) is Track.INTERNAL
    with pytest.raises(errors.LLMRequestError, match="external track"):
        await llm.complete(request(data_class), track=Track.EXTERNAL)
    assert (await llm.complete(request(data_class))).provider == "in"
    assert outside.asked == []


async def test_internal_data_is_refused_when_only_the_external_track_stands() -> None:
    outside = Scripted("out", "yes")
    llm = Llm(external=[outside])
    with pytest.raises(errors.LLMRequestError, match="no provider"):
        await llm.complete(request(DataClass.INTERNAL))
    assert outside.asked == []


async def test_internal_data_does_not_fall_over_to_the_external_track() -> None:
    outside, inside = Scripted("out", "yes"), Scripted("in", errors.LLMProviderError("down"))
    with pytest.raises(errors.LLMProviderError):
        await Llm(external=[outside], internal=[inside]).complete(request(DataClass.INTERNAL))
    assert outside.asked == []


async def test_public_data_stays_inside_when_there_is_no_outside() -> None:
    llm = Llm(internal=[Scripted("in", "yes")])
    assert not llm.available(Track.EXTERNAL)
    assert (await llm.complete(request())).provider == "in"
    assert llm.models(Track.INTERNAL) == ("in/in-1",)


async def test_tokens_of_a_failed_provider_are_declared_void() -> None:
    first = Scripted("a", errors.LLMProviderError("cut"), tokens_first=2)
    tokens: list[str] = []
    restarts: list[int] = []
    llm = Llm(external=[first, Scripted("b", "yes", tokens_first=1)])
    await llm.complete(request(), on_token=tokens.append, on_restart=lambda: restarts.append(len(tokens)))
    assert restarts == [2]
    assert len(tokens) == 3


class Verdict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    score: int = pydantic.Field(ge=1, le=5)


async def test_answer_that_fits_is_returned_as_the_model() -> None:
    provider = Scripted("a", '{"score": 3}')
    verdict, answer = await Llm(external=[provider]).complete_json(request(), Verdict)
    assert verdict == Verdict(score=3)
    assert answer.usage.tokens_in == 10
    assert provider.asked[0].schema == Verdict.model_json_schema()


@pytest.mark.parametrize("bad", ['{"score": ', '{"score": 9}', '{"score": 1, "more": 2}', "[]", " "])
async def test_one_repair_is_tried_with_the_fault_named(bad: str) -> None:
    provider = Scripted("a", bad, '{"score": 5}')
    verdict, answer = await Llm(external=[provider]).complete_json(request(), Verdict)
    assert verdict.score == 5
    assert answer.usage == Usage(tokens_in=20, tokens_out=10, cost_usd=0.5)
    assert answer.ms == 14
    repair = provider.asked[1].prompt
    assert repair.startswith("prompt")
    assert bad in repair
    assert "could not be used" in repair


async def test_second_bad_answer_is_final_and_keeps_its_payload_out() -> None:
    provider = Scripted("a", '{"score": 77}', '{"score": "홍길동"}', '{"score": 1}')
    with pytest.raises(errors.LLMParseError) as caught:
        await Llm(external=[provider]).complete_json(request(), Verdict)
    assert len(provider.asked) == 2
    assert not caught.value.retryable
    assert caught.value.details["tokens_in"] == 20
    assert "score" in caught.value.message
    assert "홍길동" not in f"{caught.value.message} {caught.value.details} {caught.value.__cause__}"


async def test_caller_can_stand_between_both_calls() -> None:
    llm = Llm(external=[Scripted("a", "no JSON", '{"score": 2}')])
    journal: list[Any] = []

    async def ask(asked: LlmRequest) -> LlmAnswer:
        journal.append(asked.prompt)
        return await llm.complete(asked)

    verdict, _ = await llm.complete_json(request(), Verdict, ask=ask)
    assert verdict.score == 2
    assert len(journal) == 2


async def test_provider_error_in_the_repair_passes_through() -> None:
    provider = Scripted("a", "no JSON", errors.LLMRateLimitError("limited"))
    with pytest.raises(errors.LLMRateLimitError):
        await Llm(external=[provider]).complete_json(request(), Verdict)


async def test_real_chain_falls_over_on_the_wire() -> None:
    async with VendorWire(Fail(529, "overloaded_error"), Say("from the second")) as wire:
        llm = build_llm(
            LlmOptions(
                external=(
                    ClaudeOptions(api_key="k", base_url=wire.url),
                    OpenAIOptions(api_key="k", base_url=wire.openai_url),
                ),
                internal=(internal_options(base_url=wire.openai_url, model="house"),),
            )
        )
        answer = await llm.complete(request())
        inside = await llm.complete(replace(request(), data_class=DataClass.INTERNAL))
        await llm.aclose()
        assert (answer.provider, answer.text) == ("openai", "from the second")
        assert (inside.provider, inside.model) == ("internal", "house")
        assert [asked.path for asked in wire.asked] == ["/v1/messages"] + ["/v1/chat/completions"] * 2


async def test_close_reaches_every_provider() -> None:
    outside, inside = Scripted("out"), Scripted("in")
    await Llm(external=[outside], internal=[inside]).aclose()
    assert outside.is_closed
    assert inside.is_closed


def test_sum_with_an_unknown_price_is_unknown() -> None:
    assert Usage(1, 2, 0, 0.5).plus(Usage(1, 2, 1, None)) == Usage(2, 4, 1, None)
