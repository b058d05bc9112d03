"""Numbers by name as people write them in settings and options: `claude=5,openai=5`; and bounds of what they give."""

from __future__ import annotations

import re
from typing import Any

# No time that a person gives is longer: ten years.
SECONDS_MAX = 315_360_000
LIMITS_EXPECTED = "name=number pairs such as claude=5,openai=5, each number from 1 to 10000"
RATES_EXPECTED = (
    "provider=number pairs such as claude=100000,claude/tenant=20000, each number above 0 and below 1e12"
)
_RATE = re.compile(
    r"\s*([a-z][a-z0-9_.-]{0,62}(?:/tenant)?)\s*=\s*((?=[0-9.]*[1-9])[0-9]{1,12}(?:\.[0-9]{1,6})?)\s*"
)
PREFETCH_EXPECTED = "a whole number below 100000 for all lanes, or lane=number pairs such as low=500"
_LIMIT = re.compile(r"\s*([a-z][a-z0-9_.-]{0,62})\s*=\s*([1-9][0-9]{0,3}|10000)\s*")


def parse_sizes(value: Any) -> Any:
    """Read name=number pairs; raise ValueError where they are none, leave alone what is no text."""
    if not isinstance(value, str):
        return value
    pairs = [_LIMIT.fullmatch(part) for part in value.split(",") if part.strip()]
    if not all(pairs):
        raise ValueError(LIMITS_EXPECTED)
    return {pair[1]: int(pair[2]) for pair in pairs if pair}


def parse_rates(value: Any) -> Any:
    """The same for provider=number pairs, which may have a fraction."""
    if not isinstance(value, str):
        return value
    pairs = [_RATE.fullmatch(part) for part in value.split(",") if part.strip()]
    if not all(pairs):
        raise ValueError(RATES_EXPECTED)
    return {pair[1]: float(pair[2]) for pair in pairs if pair}


def parse_prefetch(value: Any) -> Any:
    """Read one number for all lanes, or lane=number pairs; raise ValueError where it is neither."""
    is_one = isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,5}\s*", value)
    return int(value) if is_one else parse_sizes(value)
