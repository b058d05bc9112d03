"""The one shape of a background loop: `run_once` is the work, `PeriodicLoop` the repetition.

An error in one round is logged and counted and the loop goes on: a lost connection must not end a
worker. A loop that did nothing says nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from rkyc.errors import RkycError
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)


class PeriodicLoop:
    """Calls `run_once` at once, then after each pause or wake, until cancelled.

    `run_once` returns the seconds to pause (None: `interval_s`); pauses are spread by ±10 % so that
    a fleet does not poll in step.
    """

    def __init__(
        self, name: str, run_once: Callable[[], Awaitable[float | None]], *, interval_s: float
    ) -> None:
        self.name = name
        self.interval_s = interval_s
        self._run_once = run_once
        self._woken = asyncio.Event()
        self.failures = 0

    def wake(self) -> None:
        """End the pause now."""
        self._woken.set()

    async def run(self) -> None:
        """Repeat until cancelled."""
        while True:
            self._woken.clear()
            pause_s: float | None
            try:
                pause_s = await self._run_once()
                self.failures = 0
            except Exception as error:
                self.failures += 1
                pause_s = min(5.0, 0.1 * 2 ** min(self.failures, 6))
                _log.warning(
                    events.LOOP_FAILED,
                    loop=self.name,
                    error=str(error),
                    failures=self.failures,
                    exc_info=not isinstance(error, RkycError),
                )
            if pause_s is None:
                pause_s = self.interval_s
            pause_s *= random.uniform(0.9, 1.1)
            try:
                async with asyncio.timeout(max(0.0, pause_s)):
                    await self._woken.wait()
            except TimeoutError:
                pass


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a loop that should never end by an error, and start it again when one ends it after all."""
    failures = 0
    while True:
        try:
            await run()
            return
        except Exception as error:
            failures += 1
            _log.error(events.LOOP_FAILED, loop=name, error=str(error), failures=failures, exc_info=True)
            await asyncio.sleep(min(5.0, 0.1 * 2 ** min(failures, 6)))
