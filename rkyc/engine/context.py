"""The hands of a running step: the engine's side of `flow.context.StepContext`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from rkyc.engine.children import ChildProcesses
from rkyc.engine.journal import StepJournal
from rkyc.errors import DefinitionError, LeaseLostError
from rkyc.flow import payload
from rkyc.flow.context import StepLog
from rkyc.flow.step import Step

T = TypeVar("T")


@dataclass(slots=True)
class Notes:
    """What a step left beside its output."""

    warnings: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    is_degraded: bool = False

    def warnings_json(self) -> str | None:
        """Return the warnings as JSON text, None when there are none."""
        return payload.encode(self.warnings) if self.warnings else None

    def metadata_json(self) -> str | None:
        """Return the metadata as JSON text, None when there is none."""
        return payload.encode(self.metadata) if self.metadata else None


class Context:
    """One attempt's context. Made anew for each attempt."""

    __slots__ = (
        "_children",
        "_is_held",
        "_journal",
        "_make_journal",
        "_now",
        "_on_progress",
        "_resources",
        "_step",
        "attempt",
        "job_id",
        "make_log",
        "notes",
    )

    def __init__(
        self,
        *,
        job_id: UUID,
        step: Step,
        attempt: int,
        now: datetime,
        resources: Mapping[type, Any],
        make_journal: Callable[[], StepJournal],
        children: ChildProcesses,
        is_held: Callable[[], bool],
        on_progress: Callable[[float], None],
        make_log: Callable[..., StepLog],
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.notes = Notes()
        self._step = step
        self._now = now
        self._resources = resources
        self._make_journal = make_journal
        self._journal: StepJournal | None = None
        self._children = children
        self._is_held = is_held
        self._on_progress = on_progress
        self.make_log = make_log

    @property
    def step(self) -> str:
        """The name of the running step."""
        return self._step.name

    @property
    def now(self) -> datetime:
        """The database's time when this attempt started."""
        return self._now

    @property
    def log(self) -> StepLog:
        """A log bound to job, step and attempt."""
        return self.make_log(job_id=str(self.job_id), step=self._step.name, attempt=self.attempt)

    def use(self, kind: type[T]) -> T:
        """Return the resource of this type.

        Raises:
            DefinitionError: not declared in `needs`, or not given to the worker.
        """
        if kind not in self._step.needs:
            raise DefinitionError(
                f"step {self._step.name} uses {kind.__name__} without declaring it: add needs=[{kind.__name__}] to @step"
            )
        value: T = self._resources[kind]
        return value

    async def call(self, name: str, fn: Callable[[], Awaitable[T]], *, returns: type[T] | None = None) -> T:
        """Do `fn` once and remember its answer over retries and crashes of this step."""
        if self._journal is None:
            self._journal = self._make_journal()
        return await self._journal.call(name, fn, returns)

    async def run_in_process(self, fn: Callable[..., T], *args: Any) -> T:
        """Run a module-level function in a child process that dies with this attempt."""
        return await self._children.run(fn, *args)

    def warn(self, code: str, message: str, *, subject: str | None = None, partial: bool = True) -> None:
        """Add a warning to the job; with `partial` the step counts as degraded."""
        self.notes.warnings.append({"code": code, "message": message, "subject": subject})
        self.notes.is_degraded = self.notes.is_degraded or partial

    def progress(self, fraction: float) -> None:
        """Tell listeners how far the step is (0-1): a hint, not kept."""
        self._on_progress(min(1.0, max(0.0, fraction)))

    def metadata(self, **values: Any) -> None:
        """Merge values into the job's metadata; written with the step's outcome."""
        self.notes.metadata.update(values)

    async def heartbeat(self, details: Any = None) -> None:
        """Say that the step is alive.

        Raises:
            LeaseLostError: the job was cancelled, or another worker has the task: stop.
        """
        if not self._is_held():
            raise LeaseLostError(f"job {self.job_id}: step {self._step.name} no longer holds its lease")
