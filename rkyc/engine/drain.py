"""How a worker stops: it claims nothing more, lets steps finish, and gives back what still runs.

Nobody is charged for an attempt that a drain cut short; the task goes on elsewhere at its last checkpoint.
"""

from __future__ import annotations

import asyncio
import time

from rkyc.engine.dispatcher import Dispatcher
from rkyc.engine.executor import Executor
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)
# How long cancelled bodies get to end before the process leaves them. Seconds.
CANCEL_PATIENCE_S = 5.0


async def drain(executor: Executor, dispatcher: Dispatcher, *, worker: str, grace_s: float) -> None:
    """Claim nothing more; let steps finish for `grace_s`; then give back what still runs, uncharged."""
    executor.is_draining = True
    executor.batches.hurry()
    _log.info(events.WORKER_DRAINING, worker=worker, tasks=len(executor.executions))
    try:
        async with asyncio.timeout(grace_s):
            await dispatcher.stop()
            await _wait_for_tasks(executor)
    except TimeoutError:
        await _cancel_tasks(executor, worker)


async def _wait_for_tasks(executor: Executor) -> None:
    while running := [e.task for e in executor.executions.values() if e.task is not None]:
        await asyncio.wait(running)


async def _cancel_tasks(executor: Executor, worker: str) -> None:
    """Cancel what still runs; again and again, since one may just be committing."""
    give_up_at = time.monotonic() + CANCEL_PATIENCE_S
    while executor.executions and time.monotonic() < give_up_at:
        for execution in tuple(executor.executions.values()):
            execution.cancel("drain")
        await asyncio.sleep(0.05)
    if executor.executions:
        _log.warning(events.STEP_STUBBORN, worker=worker, left=len(executor.executions))
        await _leave_stubborn(executor)


async def _leave_stubborn(executor: Executor) -> None:
    """Give back what ignores its cancel: its late outcome is refused, and nobody is charged."""
    left = [e.claim for e in executor.executions.values() if not e.is_committing]
    try:
        async with asyncio.timeout(CANCEL_PATIENCE_S):
            await asyncio.gather(*map(executor.give_back, left))
    except TimeoutError:
        # The database is away too: the others see that this worker is gone.
        pass
