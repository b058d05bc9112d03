"""Providers that answer by a script: no key, no network, and every question kept for the test.

`FakeLlm` and `FakeSearch` stand behind the real routers, so that what a step sees (tracks, fall-over,
refusals) is what it sees in earnest. An answer that is an exception is raised; an answer that is a
function is called with the question. A script that is used up fails the step for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from rkyc.errors import PermanentException
from rkyc.flow import payload
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import LlmAnswer, LlmRequest, OnToken, Usage
from rkyc.providers.search.router import Search
from rkyc.providers.search.types import SearchHit, SearchQuery

Scripted: TypeAlias = "str | dict[str, Any] | list[Any] | BaseException | Callable[[LlmRequest], Any]"
Hits: TypeAlias = (
    "list[SearchHit | dict[str, Any]] | BaseException | Callable[[SearchQuery], list[SearchHit]]"
)


class FakeLlm:
    """A language model that gives its answers in their order; `requests` holds what it was asked.

    A dict or a list is the JSON answer to a question with a schema. `is_endless`: the last answer stays.
    """

    name = "fake"
    model = "scripted"

    def __init__(
        self, answers: Iterable[Scripted], *, usage: Usage | None = None, is_endless: bool = False
    ) -> None:
        self.requests: list[LlmRequest] = []
        self._answers = list(answers)
        self._usage = usage or Usage(tokens_in=10, tokens_out=5, cost_usd=0.0)
        self._is_endless = is_endless

    @property
    def router(self) -> Llm:
        """What steps `use`: this model on both tracks."""
        return Llm(external=[self], internal=[self])

    async def complete(
        self, request: LlmRequest, *, timeout_s: float, on_token: OnToken | None = None
    ) -> LlmAnswer:
        """Give the next answer."""
        self.requests.append(request)
        answer = _next(self._answers, self._is_endless, f"LLM question {request.operation!r}")
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        text = answer if isinstance(answer, str) else payload.encode(answer)
        if on_token is not None:
            on_token(text)
        parsed = payload.decode(text) if request.schema is not None else None
        return LlmAnswer(text, parsed, self.name, self.model, self._usage, "end_turn", None, 0)

    async def aclose(self) -> None:
        """Nothing is open."""


class FakeSearch:
    """A search engine that gives its lists of hits in their order; `queries` holds what it was asked.

    A hit may be a dict of `url`, `title` and `text`; the rest is filled in.
    """

    name = "fake"

    def __init__(self, answers: Iterable[Hits], *, is_endless: bool = False) -> None:
        self.queries: list[SearchQuery] = []
        self._answers = list(answers)
        self._is_endless = is_endless

    @property
    def router(self) -> Search:
        """What steps `use`."""
        return Search([self])

    async def search(self, query: SearchQuery, *, timeout_s: float) -> list[SearchHit]:
        """Give the next list of hits."""
        self.queries.append(query)
        answer = _next(self._answers, self._is_endless, f"search for {query.text!r}")
        if callable(answer):
            answer = answer(query)
        if isinstance(answer, BaseException):
            raise answer
        return [one if isinstance(one, SearchHit) else _fill(one) for one in answer]

    async def aclose(self) -> None:
        """Nothing is open."""


def _next(answers: list[Any], is_endless: bool, asked: str) -> Any:
    if not answers:
        raise PermanentException(f"{asked}: the script has no answer left, add one to the fake")
    return answers[0] if is_endless and len(answers) == 1 else answers.pop(0)


def _fill(hit: dict[str, Any]) -> SearchHit:
    blank: dict[str, Any] = {
        "title": "",
        "text": "",
        "published_at": None,
        "source": None,
        "source_type": "NEWS",
        "lang": None,
        "provider": "fake",
    }
    return SearchHit(**{**blank, **hit})
