"""Two tracks of language models, each a chain with fall-over.

INTERNAL and SEMI_PUBLIC data go to the internal track and nowhere else, whatever a caller says: that
is checked here, at the last door. Within a track the next provider is asked when one is down, slow,
limited, unpaid, locked or refuses the content; a request that is wrong is wrong everywhere and is
not passed on. Nothing is retried here: the engine does that, for all providers alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pydantic

from rkyc.errors import (
    ContentPolicyError,
    LLMAuthError,
    LLMParseError,
    LLMProviderError,
    LLMQuotaError,
    LLMRequestError,
    WorkerBaseException,
)
from rkyc.providers.llm.answer import parse_error, unusable_answer
from rkyc.providers.llm.prices import price_of
from rkyc.providers.llm.types import Admission, DataClass, LlmAnswer, LlmProvider, LlmRequest, OnToken, Track

# Seconds for one call of one provider.
LLM_TIMEOUT_S_DEFAULT = 120.0
# A low estimate for English, a high one for Korean; what was used is settled afterwards.
_CHARS_PER_TOKEN = 3
# How much of an unusable answer is sent back for its repair, in characters.
_REPAIR_ECHO_MAX = 12_000
# How many of its faults are named in the repair.
_REPAIR_FAULTS_MAX = 10

_FALL_OVER = (LLMProviderError, LLMAuthError, LLMQuotaError, ContentPolicyError)

Model = TypeVar("Model", bound=pydantic.BaseModel)
Ask = Callable[[LlmRequest], Awaitable[LlmAnswer]]


class Llm:
    """The language models that a step may use."""

    def __init__(
        self,
        *,
        external: Sequence[LlmProvider] = (),
        internal: Sequence[LlmProvider] = (),
        timeout_s: float = LLM_TIMEOUT_S_DEFAULT,
        admission: Admission | None = None,
    ) -> None:
        self._chains = {Track.EXTERNAL: tuple(external), Track.INTERNAL: tuple(internal)}
        self._timeout_s = timeout_s
        self._admission = admission

    def available(self, track: Track) -> bool:
        """Tell whether the track has a provider."""
        return bool(self._chains[track])

    def models(self, track: Track) -> tuple[str, ...]:
        """Name the track's chain in its order, as `provider/model`: part of a step's fingerprint."""
        return tuple(f"{provider.name}/{provider.model}" for provider in self._chains[track])

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """The models of both tracks: with others, a step's answers no longer stand."""
        return tuple(f"{track}={model}" for track in Track for model in self.models(track))

    def track_for(self, data_class: DataClass) -> Track:
        """Choose the track: only PUBLIC data may go outside, and stays inside when there is no outside."""
        if data_class is DataClass.PUBLIC and self.available(Track.EXTERNAL):
            return Track.EXTERNAL
        return Track.INTERNAL

    async def complete(
        self,
        request: LlmRequest,
        *,
        track: Track | None = None,
        on_token: OnToken | None = None,
        on_restart: Callable[[], None] | None = None,
    ) -> LlmAnswer:
        """Ask the track's providers in turn until one answers.

        `on_restart` is called when a provider failed after it had given tokens: what `on_token` got
        so far is void.

        Raises:
            LLMRequestError: the data may not go to this track, or the track has no provider.
            WorkerBaseException: see `LlmProvider.complete`; of several failures the one that helps
                most, with all of them in `details["tried"]`.
        """
        track = track or self.track_for(request.data_class)
        self._refuse_leak(request, track)
        failures: list[WorkerBaseException] = []
        for provider in self._chains[track]:
            tokens = _Counted(on_token)
            try:
                return await self._ask(provider, request, tokens if on_token is not None else None)
            except _FALL_OVER as error:
                failures.append(error)
                if tokens.count and on_restart is not None:
                    on_restart()
        raise _most_useful(failures)

    async def _ask(self, provider: LlmProvider, request: LlmRequest, on_token: OnToken | None) -> LlmAnswer:
        """Ask one provider, when it may be asked."""
        if self._admission is None:
            return await provider.complete(request, timeout_s=self._timeout_s, on_token=on_token)
        tokens, usd = _estimate(provider.model, request)
        async with self._admission.admit(provider.name, tokens=tokens, usd=usd) as ticket:
            answer = await provider.complete(request, timeout_s=self._timeout_s, on_token=on_token)
            ticket.settle(answer.usage.tokens_in + answer.usage.tokens_out, answer.usage.cost_usd)
        return answer

    async def complete_json(
        self,
        request: LlmRequest,
        model: type[Model],
        *,
        track: Track | None = None,
        on_token: OnToken | None = None,
        ask: Ask | None = None,
    ) -> tuple[Model, LlmAnswer]:
        """Ask for an answer of the model's shape, with one repair attempt when it does not fit.

        `ask` replaces `complete` for both calls, for a step that journals each of them. The answer's
        usage and milliseconds count both.

        Raises:
            LLMParseError: the repaired answer does not fit either.
            WorkerBaseException: as `complete`.
        """
        if request.schema is None:
            request = replace(request, schema=model.model_json_schema())
        ask = ask or (lambda asked: self.complete(asked, track=track, on_token=on_token))
        answer, fitted, faults = await _try_fit(ask, request, model)
        if fitted is not None:
            return fitted, answer
        repair = replace(request, prompt=_repair_prompt(request.prompt, answer.text, faults))
        second, fitted, faults = await _try_fit(ask, repair, model)
        both = replace(second, usage=answer.usage.plus(second.usage), ms=answer.ms + second.ms)
        if fitted is None:
            raise parse_error(both, f"after one repair attempt, {faults}")
        return fitted, both

    async def aclose(self) -> None:
        """Close every provider's connections."""
        for chain in self._chains.values():
            for provider in chain:
                await provider.aclose()

    def _refuse_leak(self, request: LlmRequest, track: Track) -> None:
        if track is Track.EXTERNAL and request.data_class is not DataClass.PUBLIC:
            raise LLMRequestError(
                f"{request.operation}: {request.data_class} data may not go to the external track; "
                "ask the internal track, or leave that data out",
                {"data_class": request.data_class.value, "track": track.value},
            )
        if not self.available(track):
            raise LLMRequestError(
                f"{request.operation}: the {track.lower()} track has no provider; "
                "set its key or address, or use the rules alone",
                {"track": track.value},
            )


def _estimate(model: str, request: LlmRequest) -> tuple[int, float]:
    """Return tokens and USD that a call may take: all that it may answer, since nobody knows better."""
    tokens_in = (len(request.system) + len(request.prompt)) // _CHARS_PER_TOKEN
    price = price_of(model)
    if price is None:
        return tokens_in + request.max_tokens, 0.0
    usd = (tokens_in * price.tokens_in + request.max_tokens * price.tokens_out) / 1e6
    return tokens_in + request.max_tokens, usd


class _Counted:
    """Passes tokens on and remembers that there were some."""

    def __init__(self, on_token: OnToken | None) -> None:
        self.count = 0
        self._on_token = on_token

    def __call__(self, text: str) -> None:
        self.count += 1
        if self._on_token is not None:
            self._on_token(text)


def _most_useful(failures: Sequence[WorkerBaseException]) -> WorkerBaseException:
    """Pick what a retry can cure, with the shortest wait; else what tells most about the request."""
    later = [error for error in failures if error.retryable]
    if later:
        chosen = min(later, key=lambda error: error.retry_after_s or 0.0)
    else:
        order = (ContentPolicyError, LLMQuotaError, LLMAuthError)
        chosen = min(
            failures, key=lambda error: order.index(type(error)) if type(error) in order else len(order)
        )
    if len(failures) > 1:
        chosen.details["tried"] = [
            {"provider": error.details.get("provider"), "error_code": error.error_code} for error in failures
        ]
    return chosen


async def _try_fit(ask: Ask, request: LlmRequest, model: type[Model]) -> tuple[LlmAnswer, Model | None, str]:
    """Ask and validate; the faults are told without the values, which may be personal data."""
    try:
        answer = await ask(request)
    except LLMParseError as error:
        answer_or_none = unusable_answer(error)
        if answer_or_none is None:
            raise
        return answer_or_none, None, str(error.__cause__)
    try:
        return answer, model.model_validate(answer.parsed), ""
    except pydantic.ValidationError as error:
        return answer, None, "it does not fit the schema: " + "; ".join(_faults(error))


def _faults(error: pydantic.ValidationError) -> list[str]:
    listed: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in listed[:_REPAIR_FAULTS_MAX]]
    more = len(listed) - len(told)
    return [*told, f"and {more} more"] if more > 0 else told


def _repair_prompt(prompt: str, text: str, faults: str) -> str:
    echo = text if len(text) <= _REPAIR_ECHO_MAX else text[:_REPAIR_ECHO_MAX] + " …"
    return (
        f"{prompt}\n\n---\nYour previous answer could not be used: {faults}.\n"
        f"Previous answer:\n{echo}\n---\n"
        "Answer again with corrected JSON only. Change nothing that was not named as wrong."
    )
