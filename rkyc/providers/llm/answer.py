"""From the text of a model to an `LlmAnswer`: JSON is parsed here and only here.

An answer without text, or without JSON where a schema was asked for, is an `LLMParseError`. Its
cause holds the answer itself, for the one repair attempt; the error's message and details never do.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import orjson

from rkyc.errors import LLMParseError
from rkyc.providers.llm.types import LlmAnswer, LlmRequest

# Local servers that can't enforce a schema tend to wrap their JSON in a fence.
_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)


class UnusableText(ValueError):
    """The answer behind an `LLMParseError`. Its message holds no payload."""

    def __init__(self, answer: LlmAnswer, reason: str) -> None:
        super().__init__(reason)
        self.answer = answer


def finish_answer(answer: LlmAnswer, request: LlmRequest) -> LlmAnswer:
    """Return the answer with `parsed` set where the request had a schema.

    Raises:
        LLMParseError: the text is empty, or no JSON though a schema was asked for.
    """
    text = answer.text.strip()
    if not text:
        raise parse_error(answer, "it is empty")
    if request.schema is None:
        return answer
    fenced = _FENCE.match(text)
    try:
        return replace(answer, parsed=orjson.loads(fenced[1] if fenced else text))
    except orjson.JSONDecodeError as error:
        reason = f"it is no JSON ({error.msg} at character {error.pos})"
    # Raised outside the handler: the cause must stay the answer, not the decoder's error.
    raise parse_error(answer, reason)


def parse_error(answer: LlmAnswer, reason: str) -> LLMParseError:
    """Build the error, with the answer as its cause for a repair."""
    details: dict[str, Any] = {
        "provider": answer.provider,
        "model": answer.model,
        "stop_reason": answer.stop_reason,
        "request_id": answer.request_id,
        "tokens_in": answer.usage.tokens_in,
        "tokens_out": answer.usage.tokens_out,
    }
    cut = answer.stop_reason in ("max_tokens", "length", "model_context_window_exceeded")
    advice = "; it was cut at the token limit: raise max_tokens" if cut else ""
    error = LLMParseError(f"the answer of {answer.provider} can't be used: {reason}{advice}", details)
    error.__cause__ = UnusableText(answer, reason)
    return error


def unusable_answer(error: LLMParseError) -> LlmAnswer | None:
    """Return the answer behind a parse error; None when it crossed a process."""
    cause = error.__cause__
    return cause.answer if isinstance(cause, UnusableText) else None
