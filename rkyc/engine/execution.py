"""A task that this process holds, and what the end of its body means."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from rkyc.errors import (
    HeartbeatTimeoutError,
    IdleTimeoutError,
    OutOfMemoryError,
    StepTimeoutError,
    TaskSoftTimeLimitError,
    TaskTimeLimitError,
)
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim

# Why a body is cancelled that passed one of its own limits: an error of this attempt.
LIMITS = frozenset({"timeout", "soft", "heartbeat", "idle"})


class Pulse(Protocol):
    """What a watched attempt is asked and told (engine/pulse.py)."""

    is_told: bool
    last: str | None

    def begin(self) -> None: ...
    def find_fault(self, now: float) -> str | None: ...
    def note_beat(self, details: Any) -> None: ...
    def note_token(self) -> None: ...


class Execution:
    """A task that this process holds. `stop` says why its body is being cancelled, once it is."""

    __slots__ = ("began", "claim", "deadline", "is_committing", "pulse", "scopes", "stop", "task")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.task: asyncio.Task[None] | None = None
        self.began = time.monotonic()
        self.deadline: float | None = None
        self.stop: str | None = None
        # Of a step that declares a soft limit, a heartbeat or an idle limit.
        self.pulse: Pulse | None = None
        # Its outcome is on the way: the commit itself will tell whether the lease held.
        self.is_committing = False
        # The limits of which it holds a place, or has asked for one.
        self.scopes: tuple[str, ...] = ()

    def cancel(self, reason: str) -> None:
        """Cancel the body; the first reason stands.

        Not while its outcome is being committed: that would leave a commit behind that nobody waits for.
        """
        if self.is_committing:
            return
        if self.stop is None:
            self.stop = reason
        if self.task is not None:
            self.task.cancel()


def judge(execution: Execution, place: Place, caught: BaseException, *, is_closing: bool) -> BaseException:
    """Return the error that a body's end stands for; raise where the body was stopped and nothing may follow.

    Raises:
        CancelledError: the task was cancelled by a drain, a lost lease, a person, or with the program.
    """
    if execution.stop in LIMITS:
        uncancel()
        reason, execution.stop = execution.stop, None
        return limit_error(place, reason, execution.pulse)
    if execution.stop is not None:
        # Whatever the body made of its cancellation.
        raise asyncio.CancelledError from caught
    if not isinstance(caught, asyncio.CancelledError):
        return caught
    if is_closing:
        raise caught
    if execution.pulse is not None and execution.pulse.is_told:
        uncancel()
        return limit_error(place, "soft", execution.pulse)
    # The body cancelled its own task, or let out a cancellation of something else.
    uncancel()
    return RuntimeError("a CancelledError that nobody had sent came out of the step")


def name_memory_error(place: Place, error: BaseException) -> BaseException:
    """Return an error that may be retried for a body that ran out of memory, alone or in a task group."""
    groups = [error]
    for one in groups:
        if isinstance(one, MemoryError):
            message = f"step {place.name} ran out of memory: let it do less at once, or give the process more"
            return OutOfMemoryError(message)
        if isinstance(one, BaseExceptionGroup):
            groups.extend(one.exceptions)
    return error


def limit_error(place: Place, reason: str | None, pulse: Pulse | None) -> StepTimeoutError:
    """Say which limit a body passed: `reason` is timeout, soft, heartbeat or idle."""
    timeouts = place.step.timeouts
    if reason == "heartbeat":
        message = f"step {place.name} gave no heartbeat for {timeouts.heartbeat:g} s and was cancelled"
        return HeartbeatTimeoutError(message, {"timeout_seconds": timeouts.heartbeat})
    if reason == "idle":
        message = f"step {place.name} emitted nothing for {timeouts.idle:g} s and was cancelled"
        return IdleTimeoutError(message, {"timeout_seconds": timeouts.idle})
    soft = TaskSoftTimeLimitError.error_code
    if reason == "soft":
        message = f"step {place.name} ended at its soft limit of {timeouts.soft:g} s"
        return TaskSoftTimeLimitError(message, {"timeout_seconds": timeouts.soft, "codes": [soft]})
    limit = timeouts.start_to_close
    if pulse is not None and pulse.is_told and limit is not None:
        message = f"step {place.name} was told at {timeouts.soft:g} s ({soft}), passed its limit of {limit:g} s and was cancelled"
        codes = [soft, TaskTimeLimitError.error_code]
        return TaskTimeLimitError(message, {"timeout_seconds": limit, "codes": codes})
    shown = f"its limit of {limit:g} s" if limit is not None else "the job's deadline"
    return StepTimeoutError(f"step {place.name} passed {shown} and was cancelled", {"timeout_seconds": limit})


def uncancel() -> None:
    """The cancellation was ours and is answered: later time-outs in this task must work again."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
