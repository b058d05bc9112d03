"""Time limits of running steps: one look at all of them ten times a second, instead of a timer each.

The cancel is soft: a body that swallows it is cancelled again each second and named in the log. What
must end for sure belongs into `ctx.run_in_process`, whose child is killed.
"""

from __future__ import annotations

import time

from rkyc.engine.execution import Execution
from rkyc.engine.executor import Executor
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)
SWEEP_S = 0.1
# How long a cancelled body may take to end before it is named.
STUBBORN_S = 5.0


class Sweeper:
    """Cancels the bodies whose time is up."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def run_once(self) -> None:
        """Look at every running body once."""
        now = time.monotonic()
        for execution in tuple(self._executor.executions.values()):
            if execution.pulse is not None and execution.stop is None:
                _take_pulse(execution, now)
            if execution.deadline is None or now < execution.deadline:
                continue
            if execution.stop is not None:
                _log.warning(
                    events.STEP_TIMED_OUT, job_id=str(execution.claim.uuid), step=execution.claim.step
                )
            execution.deadline = now + (1.0 if execution.stop else STUBBORN_S)
            execution.cancel("timeout")


def _take_pulse(execution: Execution, now: float) -> None:
    """Tell a body that passed a limit of its own other than its end."""
    fault = execution.pulse.find_fault(now) if execution.pulse is not None else None
    if fault is None:
        return
    execution.cancel(fault)
    if fault != "soft":
        # Whoever swallows it is cancelled again.
        execution.deadline = now + STUBBORN_S
