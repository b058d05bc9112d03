"""Endless jobs: a step ends this run and starts the next one, in one transaction.

A job that never ends would gather checkpoints without end. `ctx.continue_as_new(input)` completes the run with
`{"continued_as": JOB_ID}` and enqueues the next, linked (`rkyc jobs runs`), of the newest version of the pipeline: a
deploy reaches an endless job at its next run. There is never none and never two.
"""

from __future__ import annotations

from uuid import UUID

from rkyc.engine.suspend import Suspend
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Completed, Continue


class NextRun(Suspend):
    """Leave the body, end the run with `done` and start the next one, `job_id`, with this input (JSON text)."""

    def __init__(self, done: Completed, job_id: UUID, input_text: str) -> None:
        super().__init__("continue", str(job_id))
        self.done = done
        self.job_id = job_id
        self.input_text = input_text

    def outcome(self, claim: Claim, step: str) -> Continue:
        """Return what becomes of the task."""
        return Continue(claim, self.done, self.job_id, self.input_text)
