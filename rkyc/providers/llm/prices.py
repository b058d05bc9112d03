"""List prices of the models, dated, to tell what a call cost.

An estimate from public prices, not a bill: contracts, regions and fast modes differ. A model that
is not listed has no price (None), never a guessed one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The day on which the prices below were last compared with the vendors' pages.
PRICES_AS_OF = "2026-11-21"

_DATE = re.compile(r"-\d{4}-?\d{2}-?\d{2}\Z")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens; above `long_above` prompt tokens the whole call costs the given multiples."""

    tokens_in: float
    tokens_out: float
    cached: float
    cache_write: float
    long_above: int | None = None
    long_in: float = 1.0
    long_out: float = 1.0


# Source: https://platform.claude.com/docs/en/about-claude/pricing and
# https://developers.openai.com/api/docs/pricing, as of PRICES_AS_OF.
_PRICES = {
    "claude-opus-5-5": Price(4.00, 20.00, cached=0.20, cache_write=5.00),
    "claude-opus-5": Price(5.00, 25.00, cached=0.50, cache_write=6.25),
    "claude-sonnet-5-5": Price(2.00, 10.00, cached=0.10, cache_write=2.50),
    "claude-sonnet-5": Price(2.00, 10.00, cached=0.20, cache_write=2.50),
    "claude-haiku-5-5": Price(
        0.10, 0.50, cached=0.01, cache_write=0.125, long_above=100_000, long_in=5.0, long_out=5.0
    ),
    "claude-haiku-4-5": Price(1.00, 5.00, cached=0.10, cache_write=1.25),
    "gpt-6-astra": Price(
        10.00, 50.00, cached=1.00, cache_write=12.50, long_above=272_000, long_in=2.0, long_out=1.5
    ),
    "gpt-6.1-sol": Price(
        2.00, 10.00, cached=0.10, cache_write=2.50, long_above=272_000, long_in=2.0, long_out=1.5
    ),
    "gpt-6-sol": Price(
        2.00, 10.00, cached=0.20, cache_write=2.50, long_above=272_000, long_in=2.0, long_out=1.5
    ),
    "gpt-6-luna": Price(
        0.10, 0.50, cached=0.01, cache_write=0.125, long_above=272_000, long_in=2.0, long_out=1.5
    ),
    "text-embedding-3-small": Price(0.02, 0.0, cached=0.02, cache_write=0.02),
    "text-embedding-3-large": Price(0.13, 0.0, cached=0.13, cache_write=0.13),
}


def price_of(model: str) -> Price | None:
    """Find a model's price by its name, with or without a date (`-20251001`, `-2026-04-23`)."""
    name = _DATE.sub("", model)
    return _PRICES.get(name)


def cost_usd(
    model: str, *, tokens_in: int, tokens_out: int, tokens_cached: int = 0, tokens_cache_written: int = 0
) -> float | None:
    """Price one call; `tokens_in` includes the cached and the newly cached tokens."""
    price = price_of(model)
    if price is None:
        return None
    is_long = price.long_above is not None and tokens_in > price.long_above
    plain = max(0, tokens_in - tokens_cached - tokens_cache_written)
    usd_in = plain * price.tokens_in + tokens_cached * price.cached + tokens_cache_written * price.cache_write
    usd_out = tokens_out * price.tokens_out
    if is_long:
        usd_in, usd_out = usd_in * price.long_in, usd_out * price.long_out
    return round((usd_in + usd_out) / 1_000_000, 9)
