"""A task that this process holds, and what the end of its body means."""

from __future__ import annotations

import asyncio
import time

from rkyc.errors import StepTimeoutError
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim


class Execution:
    """A task that this process holds. `stop` says why its body is being cancelled, once it is."""

    __slots__ = ("began", "claim", "deadline", "is_committing", "scopes", "stop", "task")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.task: asyncio.Task[None] | None = None
        self.began = time.monotonic()
        self.deadline: float | None = None
        self.stop: str | None = None
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
    if execution.stop == "timeout":
        uncancel()
        execution.stop = None
        return timeout_error(place)
    if execution.stop is not None:
        # Whatever the body made of its cancellation.
        raise asyncio.CancelledError from caught
    if not isinstance(caught, asyncio.CancelledError):
        return caught
    if is_closing:
        raise caught
    # The body cancelled its own task, or let out a cancellation of something else.
    uncancel()
    return RuntimeError("a CancelledError that nobody had sent came out of the step")


def timeout_error(place: Place) -> StepTimeoutError:
    """Say which limit a body passed."""
    limit = place.step.timeouts.start_to_close
    shown = f"its limit of {limit:g} s" if limit is not None else "the job's deadline"
    return StepTimeoutError(f"step {place.name} passed {shown} and was cancelled", {"timeout_seconds": limit})


def uncancel() -> None:
    """The cancellation was ours and is answered: later time-outs in this task must work again."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
