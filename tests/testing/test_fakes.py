"""Providers by a script: what a step gets from them is what the real ones give."""

from __future__ import annotations

import pytest

from rkyc.errors import LLMRateLimitError, PermanentException
from rkyc.providers.llm.types import DataClass, LlmRequest
from rkyc.providers.search.types import SearchQuery
from rkyc.testing.fakes import FakeLlm, FakeSearch

pytestmark = pytest.mark.anyio


def ask(**changes: object) -> LlmRequest:
    return LlmRequest(operation="ask", system="", prompt="?", data_class=DataClass.INTERNAL, **changes)  # type: ignore[arg-type]


async def test_answers_come_in_their_order_and_end() -> None:
    fake = FakeLlm(["one", {"two": 2}, LLMRateLimitError("busy"), lambda request: request.prompt])
    llm = fake.router
    assert (await llm.complete(ask())).text == "one"
    assert (await llm.complete(ask(schema={"type": "object"}))).parsed == {"two": 2}
    with pytest.raises(LLMRateLimitError):
        await llm.complete(ask())
    assert (await llm.complete(ask())).text == "?"
    with pytest.raises(PermanentException, match="the script has no answer left"):
        await llm.complete(ask())
    assert [one.operation for one in fake.requests] == ["ask"] * 5


async def test_the_last_answer_of_an_endless_script_stays() -> None:
    llm = FakeLlm(["one", "two"], is_endless=True).router
    assert [(await llm.complete(ask())).text for _ in range(4)] == ["one", "two", "two", "two"]


async def test_hits_may_be_given_by_what_matters() -> None:
    fake = FakeSearch([[{"url": "https://paper.example/1", "title": "Fire"}], []])
    query = SearchQuery("Hanbit", "company")
    (hit,) = await fake.router.search(query)
    assert (hit.url, hit.title, hit.source_type, hit.provider) == (
        "https://paper.example/1",
        "Fire",
        "NEWS",
        "fake",
    )
    assert await fake.router.search(query) == []
    assert fake.queries == [query, query]
