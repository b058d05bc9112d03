"""How a step's body leaves its slot to wait: by an exception that is no error.

A method of the context raises `Suspend` when what it waits for is not there yet. The executor turns it into
the outcome `Wait`: the attempt ends uncharged, slot and memory are free. When the wait is over the body runs
again from its top, past what the call journal remembers.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rkyc.flow.decide import latest_start
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Outcome, Wait


class Suspend(BaseException):
    """Leave the body until `wake_key` is woken, or until `due_at`; not an Exception, so that no body takes it for one.

    The arguments are those of `flow.outcome.Wait`.
    """

    def __init__(
        self,
        kind: str,
        wake_key: str,
        due_at: datetime | None = None,
        detail: str | None = None,
        *,
        after: int = 0,
        match: str | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.kind = kind
        self.wake_key = wake_key
        self.due_at = due_at
        self.detail = detail
        self.after = after
        self.match = match

    def outcome(self, claim: Claim, step: str) -> Outcome:
        """Return what becomes of the task."""
        return Wait(
            claim,
            step,
            self.kind,
            self.wake_key,
            self.due_at,
            self.detail,
            after=self.after,
            match=self.match,
        )


def bound_wait(outcome: Outcome, place: Place) -> Outcome:
    """Return what a wait becomes whose step may not take longer in all: over at that limit, whatever it waits for."""
    if place.step.timeouts.total is None or not isinstance(outcome, Wait):
        return outcome
    limit = latest_start(place, outcome.claim)
    if limit is None or (outcome.due_at is not None and outcome.due_at <= limit):
        return outcome
    return replace(outcome, due_at=limit)


def find_suspend(caught: BaseException) -> Suspend | None:
    """Return the wait that ended a body: raised plainly, or the first one of a task group's."""
    if isinstance(caught, Suspend):
        # Its traceback holds the frame that holds it: of a hundred thousand waits all would stay for the collector.
        return caught.with_traceback(None)
    if isinstance(caught, BaseExceptionGroup):
        for one in caught.exceptions:
            if (found := find_suspend(one)) is not None:
                return found
    return None
