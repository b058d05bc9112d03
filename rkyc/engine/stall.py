"""Sees a blocked event loop and names what blocks it: the step and the line.

A thread, since the loop can't see itself stand still. A blocked loop is not death: the kernel keeps
the presence connection, and nothing is taken from this process; but every task in it waits.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)
TICK_S = 0.25
STACK_LINES = 6


class StallWatch:
    """Start it inside the loop that it watches; stop it when the loop ends."""

    def __init__(
        self, *, metrics: Metrics, blocked_after_s: float, name_task: Callable[[asyncio.Task[Any]], str]
    ) -> None:
        self._name_task = name_task
        self._metrics = metrics
        self._blocked_after_s = blocked_after_s
        self._ticked = time.monotonic()
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0

    async def run(self) -> None:
        """Tick until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._ticked = time.monotonic()
        threading.Thread(target=self._watch, name="rkyc stall watch", daemon=True).start()
        try:
            while True:
                before = time.monotonic()
                await asyncio.sleep(TICK_S)
                self._ticked = time.monotonic()
                self._metrics.set_loop_lag(max(0.0, self._ticked - before - TICK_S))
        finally:
            self._ended.set()

    def _watch(self) -> None:
        told = 0.0
        while not self._ended.wait(TICK_S):
            ticked = self._ticked
            blocked_s = time.monotonic() - ticked - TICK_S
            if blocked_s < self._blocked_after_s or ticked == told:
                continue
            told = ticked
            _log.warning(
                events.LOOP_BLOCKED, seconds=round(blocked_s, 2), task=self._describe(), stack=self._stack()
            )

    def _describe(self) -> str:
        assert self._loop is not None
        task = asyncio.current_task(self._loop)
        return self._name_task(task) if task is not None else "none"

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._thread_id)
        lines = traceback.extract_stack(frame)[-STACK_LINES:] if frame else []
        return " < ".join(
            f"{line.name} ({line.filename.rsplit('/', 2)[-1]}:{line.lineno})" for line in reversed(lines)
        )
