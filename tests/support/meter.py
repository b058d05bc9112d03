"""Counts how many bodies run at once."""

from __future__ import annotations

import asyncio


class Meter:
    """Counts how many run at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def run(self, seconds: float) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now -= 1
