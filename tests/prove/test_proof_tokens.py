"""A token limit in real time: three processes, 100,000 tokens a minute, burst 5 %, a scripted model."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.token_callers import TOKENS_PER_MINUTE

pytestmark = [pytest.mark.anyio, pytest.mark.prove, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
RUN_S = 130.0
WINDOW_S = 60.0
MOST = 1.1 * TOKENS_PER_MINUTE
LEAST = 0.9 * TOKENS_PER_MINUTE


async def test_no_minute_is_over_the_limit_and_the_limit_is_used(dsn: str, tmp_path: Path) -> None:
    ledger = tmp_path / "tokens"
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.token_callers",
            dsn,
            str(ledger),
            str(RUN_S),
            str(seed),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for seed in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    lines = [line.split() for line in ledger.read_text().splitlines()]
    calls = sorted((float(at), int(used)) for at, used in lines)
    first, last = calls[0][0], calls[0][0] + RUN_S
    minutes = [
        sum(used for at, used in calls if start <= at < start + WINDOW_S)
        for start, _ in calls
        if start + WINDOW_S <= last
    ]
    used_per_minute = sum(used for at, used in calls if first + 5 <= at < last) * WINDOW_S / (RUN_S - 5)
    print(
        f"{len(calls)} calls: {used_per_minute:.0f} tokens a minute, at most {max(minutes)} in one, at least {min(minutes)}"
    )
    assert max(minutes) <= MOST
    assert used_per_minute >= LEAST
