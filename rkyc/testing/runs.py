"""What a test looks at: how a job ended, and which steps ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

When = Literal["before_commit", "after_commit"]


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt whose body came to an end, in the order in which they did.

    `how`: completed, retry, failed, released, or crashed (the process died before the commit).
    """

    job_id: UUID
    step: str
    attempt: int
    how: str


@dataclass(frozen=True, slots=True)
class StepRun:
    """A step of a job as `step_status` shows it."""

    step: str
    status: str
    attempt: int
    degraded: bool


@dataclass(frozen=True, slots=True)
class JobRun:
    """A job after a run: one that did not end says in `wait_reason` what it waits for."""

    job_id: UUID
    pipeline: str
    status: str
    result: Any
    error_code: str | None
    error_message: str | None
    wait_reason: str | None
    partial: bool
    warnings: list[dict[str, Any]]
    metadata: dict[str, Any]
    steps: dict[str, StepRun]
    attempts: tuple[Ran, ...]

    @property
    def ran(self) -> list[str]:
        """The steps whose bodies ran to an end, in order; one that was tried twice stands here twice."""
        return [one.step for one in self.attempts]
