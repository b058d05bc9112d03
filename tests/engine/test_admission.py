"""Calls of language models: let in by rate, breaker and budget, for all processes together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rkyc.engine.admission import Admission, AdmissionLimits
from rkyc.engine.client import Client
from rkyc.errors import LLMProviderError, LLMRateLimitError
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import DataClass, LlmAnswer, LlmRequest, OnToken, Usage
from rkyc.store.pool import Pool
from rkyc.store.queue.breakers import BreakerPolicy
from tests.support.engine import query, serve, wait_for, wait_status

pytestmark = pytest.mark.anyio
REQUEST = LlmRequest("ask", "", "x" * 300, DataClass.PUBLIC, max_tokens=900)
BREAKER = BreakerPolicy(failures_max=2, pause_s=60)


class Scripted:
    """A provider that answers, or fails with what it is told."""

    def __init__(self, name: str, *, used: int = 1000) -> None:
        self.name = self.model = name
        self.error: Exception | None = None
        self.calls = 0
        self._used = used

    async def complete(
        self, request: LlmRequest, *, timeout_s: float, on_token: OnToken | None = None
    ) -> LlmAnswer:
        self.calls += 1
        if self.error is not None:
            raise self.error
        usage = Usage(tokens_in=100, tokens_out=self._used - 100, cost_usd=0.01)
        return LlmAnswer("yes", None, self.name, self.model, usage, None, None, 1)

    async def aclose(self) -> None:
        """Nothing is open."""


def opener(pool: Pool) -> Callable[[], Awaitable[Pool]]:
    async def get() -> Pool:
        return pool

    return get


def make_llm(pool: Pool, *providers: Scripted, **limits: Any) -> Llm:
    admission = Admission(opener(pool), limits=AdmissionLimits(**limits), breaker=BREAKER)
    return Llm(external=providers, admission=admission)


@step(needs=[Llm], retry=RetryPolicy(max_attempts=1))
async def ask_twice(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    for number in range(2):
        await ctx.call(f"ask {number}", lambda: ctx.use(Llm).complete(REQUEST))
    return {}


asking = Pipeline("asking", 1, ask_twice)


async def buckets_in_s(pool: Pool) -> dict[str, float]:
    """Return how full each bucket is, in seconds of its rate; the drained ones are left out."""
    rows = await query(
        pool,
        "SELECT scope, extract(epoch FROM full_at - clock_timestamp())::float8 AS s FROM rkyc.limit_bucket",
    )
    return {row["scope"]: row["s"] for row in rows if row["s"] > 0}


async def test_an_estimate_is_reserved_and_what_was_used_is_settled(pool: Pool) -> None:
    llm = make_llm(pool, Scripted("claude", used=100), tokens_per_minute={"claude": 600})
    await llm.complete(REQUEST)
    # 1,000 tokens were reserved: 100 s of the rate; 100 were used: 10 s.
    full = await buckets_in_s(pool)
    assert 5 < full["tokens/claude"] <= 10


async def test_without_a_limit_nothing_is_written(pool: Pool) -> None:
    await make_llm(pool, Scripted("claude")).complete(REQUEST)
    assert await query(pool, "SELECT FROM rkyc.limit_bucket") == []
    assert await query(pool, "SELECT FROM rkyc.breaker") == []


async def test_an_answer_is_not_lost_with_the_database(dsn: str) -> None:
    away = await Pool.open(dsn)
    claude = Scripted("claude")
    answer = claude.complete

    async def lose_the_database(*args: Any, **options: Any) -> LlmAnswer:
        await away.close()
        return await answer(*args, **options)

    claude.complete = lose_the_database  # type: ignore[method-assign]
    llm = make_llm(away, claude, tokens_per_minute={"claude": 600})
    assert (await llm.complete(REQUEST)).text == "yes"


async def test_a_call_over_the_rate_waits_without_a_slot_and_asks_nothing_twice(dsn: str, pool: Pool) -> None:
    provider = Scripted("claude")
    llm = make_llm(pool, provider, tokens_per_minute={"claude": 1000})
    async with serve(dsn, asking, resources={Llm: llm}):
        job_id = await Client(pool=pool).enqueue("asking", {})

        async def is_waiting() -> bool:
            row = await wait_status(pool, job_id, "pending", "running")
            return bool(row["wait_reason"] == "limit" and row["wait_detail"] == "the rate of claude")

        await wait_for(is_waiting, what="a wait for the rate")
        assert provider.calls == 1
        # As if a minute had passed.
        await query(pool, "UPDATE rkyc.limit_bucket SET full_at = full_at - interval '10 minutes'")
        await query(pool, "UPDATE rkyc.waiting SET due_at = now()")
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert provider.calls == 2


async def test_each_tenant_has_a_limit_of_its_own(dsn: str, pool: Pool) -> None:
    llm = make_llm(pool, Scripted("claude"), requests_per_minute={"claude": 600, "claude/tenant": 60})
    async with serve(dsn, asking, resources={Llm: llm}):
        client = Client(pool=pool)
        ids = [await client.enqueue("asking", {}, fair_key=name) for name in ("acme", "other")]
        for job_id in ids:
            assert (await wait_status(pool, job_id))["status"] == "completed"
    rows = await query(
        pool, "SELECT scope FROM rkyc.limit_bucket WHERE scope NOT LIKE 'line/%' ORDER BY scope"
    )
    assert [row["scope"] for row in rows] == [
        "requests/claude",
        "requests/claude/acme",
        "requests/claude/other",
    ]


async def test_a_provider_that_fails_is_left_alone_by_everyone_and_the_chain_goes_on(pool: Pool) -> None:
    first, second = Scripted("first"), Scripted("second")
    first.error = LLMProviderError("down", {"provider": "first"})
    one, other = make_llm(pool, first, second), make_llm(pool, first, second)
    for _ in range(2):
        assert (await one.complete(REQUEST)).provider == "second"
    assert (await other.complete(REQUEST)).provider == "second"
    assert first.calls == 2
    # The pause is over: one call probes, and finds it well.
    await query(pool, "UPDATE rkyc.breaker SET open_until = now() - interval '1 s'")
    first.error = None
    assert (await other.complete(REQUEST)).provider == "first"
    assert (await one.complete(REQUEST)).provider == "first"


async def test_an_open_breaker_with_nobody_else_to_ask_says_when_to_come_again(pool: Pool) -> None:
    only = Scripted("only")
    only.error = LLMProviderError("down")
    llm = make_llm(pool, only)
    for _ in range(2):
        with pytest.raises(LLMProviderError):
            await llm.complete(REQUEST)
    with pytest.raises(LLMProviderError, match="is not asked for") as caught:
        await llm.complete(REQUEST)
    assert 50 < (caught.value.retry_after_s or 0) <= 60


async def test_a_provider_that_limits_the_rate_is_not_broken(pool: Pool) -> None:
    only = Scripted("only")
    only.error = LLMRateLimitError("slow down")
    llm = make_llm(pool, only)
    for _ in range(4):
        with pytest.raises(LLMRateLimitError):
            await llm.complete(REQUEST)
    assert only.calls == 4


async def test_a_call_that_would_pass_the_budget_is_not_made(dsn: str, pool: Pool) -> None:
    provider = Scripted("gpt-6-astra")
    async with serve(dsn, asking, resources={Llm: make_llm(pool, provider)}):
        client = Client(pool=pool)
        # The estimate of a call is 0.046 USD at the list price: the first one is let in, the second is not.
        job_id = await client.enqueue("asking", {}, budget_usd=0.05)

        async def is_paused() -> bool:
            return (await wait_status(pool, job_id, "pending", "running"))["wait_reason"] == "budget"

        await wait_for(is_paused, what="a pause for the budget")
        assert provider.calls == 1
        await client.add_budget(job_id, 0.05)
        assert (await wait_status(pool, job_id))["status"] == "completed"
