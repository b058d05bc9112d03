"""A process whose callers ask a scripted model as fast as they are let in: `python -m tests.support.token_callers DSN LEDGER SECONDS SEED`.

Each call writes when it was let in, by the machine's monotonic clock, and the tokens that it used. Its estimate is above
that, as estimates are.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time

from rkyc.engine.admission import Admission, AdmissionLimits
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import DataClass, LlmAnswer, LlmRequest, OnToken, Usage
from rkyc.store.pool import Pool

TOKENS_PER_MINUTE = 100_000
CALLERS = 15
PROVIDER = "scripted"


class Scripted:
    """Answers after a moment, and says how many tokens that took."""

    name = model = PROVIDER

    def __init__(self, ledger: str, dice: random.Random) -> None:
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._dice = dice

    async def complete(
        self, request: LlmRequest, *, timeout_s: float, on_token: OnToken | None = None
    ) -> LlmAnswer:
        used = self._dice.randint(500, 2_500)
        os.write(self._ledger, f"{time.monotonic()!r} {used}\n".encode())
        await asyncio.sleep(self._dice.uniform(0.5, 2.0))
        usage = Usage(tokens_in=300, tokens_out=used - 300)
        return LlmAnswer("yes", None, self.name, self.model, usage, None, None, 1)

    async def aclose(self) -> None:
        os.close(self._ledger)


async def call_for(dsn: str, ledger: str, seconds: float, seed: int) -> None:
    """Let all callers ask until the time is over."""
    pool = await Pool.open(dsn)

    async def get_pool() -> Pool:
        return pool

    limits = AdmissionLimits(tokens_per_minute={PROVIDER: TOKENS_PER_MINUTE})
    llm = Llm(external=[Scripted(ledger, random.Random(seed))], admission=Admission(get_pool, limits=limits))
    request = LlmRequest("ask", "", "x" * 900, DataClass.PUBLIC, max_tokens=2_500)
    ends_at = time.monotonic() + seconds

    async def ask() -> None:
        while time.monotonic() < ends_at:
            await llm.complete(request)

    try:
        async with asyncio.timeout(seconds + 60):
            await asyncio.gather(*(ask() for _ in range(CALLERS)))
    finally:
        await llm.aclose()
        await pool.close()


if __name__ == "__main__":
    asyncio.run(call_for(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
