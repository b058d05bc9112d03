"""What a call costs by the list prices."""

from __future__ import annotations

import pytest

from rkyc.providers.llm.claude import CLAUDE_MODEL_DEFAULT
from rkyc.providers.llm.openai import OPENAI_MODEL_DEFAULT
from rkyc.providers.llm.prices import cost_usd, price_of


def test_default_models_have_a_price() -> None:
    assert price_of(CLAUDE_MODEL_DEFAULT) is not None
    assert price_of(OPENAI_MODEL_DEFAULT) is not None


def test_dated_id_has_its_models_price() -> None:
    assert price_of("claude-haiku-4-5-20251001") == price_of("claude-haiku-4-5")
    assert price_of("gpt-6-sol-2026-09-22") == price_of("gpt-6-sol")


@pytest.mark.parametrize("model", ["claude-opus-5-9", "gpt-6-sol-pro", "my-house-model", ""])
def test_unlisted_model_has_no_price(model: str) -> None:
    assert cost_usd(model, tokens_in=1000, tokens_out=1000) is None


def test_cached_and_newly_cached_tokens_have_their_own_price() -> None:
    cost = cost_usd(
        "claude-sonnet-5-5",
        tokens_in=1_000_000,
        tokens_out=100_000,
        tokens_cached=500_000,
        tokens_cache_written=100_000,
    )
    assert cost == pytest.approx(0.4 * 2 + 0.5 * 0.10 + 0.1 * 2.5 + 0.1 * 10)


def test_long_prompt_costs_more_from_its_first_token() -> None:
    at = cost_usd("gpt-6-luna", tokens_in=272_000, tokens_out=0)
    above = cost_usd("gpt-6-luna", tokens_in=272_001, tokens_out=0)
    assert at == pytest.approx(0.0272)
    assert above == pytest.approx(0.0544, rel=1e-3)
