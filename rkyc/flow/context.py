"""What a step sees: the protocol of its context.

The engine implements it; steps and providers know only this. It lies in `flow` so that the steps
need not know the engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NoReturn, Protocol, TypeVar
from uuid import UUID

from rkyc.flow.job import Item

T = TypeVar("T")
# The default of a wait that has none: it fails when its time is up.
REFUSE: Final = object()


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child ended whose failure is returned; `status` is completed, failed or cancelled."""

    job_id: UUID
    status: str
    result: Any
    error_code: str | None
    error_message: str | None


class Child(Protocol):
    """A child job that a step started."""

    @property
    def job_id(self) -> UUID: ...

    async def result(self) -> Any:
        """Wait for the child, as `spawn` with `wait` does."""
        ...


class StepLog(Protocol):
    """A structured log, bound to the job and the step. Never pass personal data or payloads."""

    def debug(self, event: str, **fields: Any) -> None: ...
    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...


class BlockingStepContext(Protocol):
    """The hands of a `def` step that runs in a thread: those of `StepContext`, as plain methods.

    A thread can't be stopped. When its attempt has ended (time-out, cancel, drain), every method raises
    LeaseLostError: a long loop should call `heartbeat` now and then, and let it out.
    """

    @property
    def job_id(self) -> UUID: ...
    @property
    def step(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def now(self) -> datetime: ...
    @property
    def log(self) -> StepLog: ...
    def use(self, kind: type[T]) -> T: ...
    def call(self, name: str, fn: Callable[[], T], *, returns: type[T] | None = None) -> T: ...
    def sleep(
        self, seconds: float | None = None, *, until: datetime | None = None, name: str = ""
    ) -> None: ...
    def wait_signal(
        self,
        name: str,
        *,
        timeout_s: float | None = None,
        default: Any = REFUSE,
        returns: type[Any] | None = None,
    ) -> Any: ...
    def wait_event(
        self,
        topic: str,
        match: dict[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        default: Any = REFUSE,
        returns: type[Any] | None = None,
        look_back_s: float = 0.0,
    ) -> Any: ...
    def spawn(
        self,
        pipeline: str,
        input: Any,
        *,
        key: str | None = None,
        wait: bool = True,
        on_parent_end: Literal["cancel", "leave"] = "cancel",
        on_failure: Literal["fail", "return"] = "fail",
        **options: Any,
    ) -> Any: ...
    def wait_children(self, *children: Child) -> list[Any]: ...
    def run_in_process(self, fn: Callable[..., T], *args: Any) -> T: ...
    def warn(self, code: str, message: str, *, subject: str | None = None, partial: bool = True) -> None: ...
    def progress(self, fraction: float) -> None: ...
    def emit(self, text: str) -> None: ...
    def metadata(self, **values: Any) -> None: ...
    def heartbeat(self, details: Any = None) -> None: ...
    @property
    def last_heartbeat(self) -> Any: ...


class StepContext(Protocol):
    """The hands of a running step."""

    @property
    def job_id(self) -> UUID: ...

    @property
    def step(self) -> str: ...

    @property
    def attempt(self) -> int:
        """1 for the first try; error attempts and crash attempts both count."""
        ...

    @property
    def item(self) -> Item | None:
        """Which element of a map's list this is for (`index` from 0, `key`); None outside a map."""
        ...

    @property
    def now(self) -> datetime:
        """The database's time when this attempt started (aware, UTC); the same for the whole attempt."""
        ...

    @property
    def log(self) -> StepLog: ...

    def use(self, kind: type[T]) -> T:
        """Return the resource of this type that the worker was given.

        Raises:
            DefinitionError: the step did not declare it in `needs`.
        """
        ...

    async def call(self, name: str, fn: Callable[[], Awaitable[T]], *, returns: type[T] | None = None) -> T:
        """Do `fn` once and remember its answer, over retries and crashes of this step.

        `name` is unique within the step (a second use of a name is a second call, counted in order).
        The answer must be JSON, a dataclass or a pydantic model; `returns` rebuilds it from memory.
        A call that raises is not remembered.
        """
        ...

    async def sleep(
        self, seconds: float | None = None, *, until: datetime | None = None, name: str = ""
    ) -> None:
        """Sleep durably for so many seconds, or until an instant (aware).

        The attempt ends here, uncharged: it holds no slot and no memory meanwhile, and no restart shortens or
        repeats the sleep. Then the body runs again from its top, past what `call` remembers; whatever else stands
        before the sleep is done again. Await it in the body itself, not in a task that the body starts. `name`
        keeps a sleep apart from others where their order may change.
        """
        ...

    async def wait_signal(
        self,
        name: str,
        *,
        timeout_s: float | None = None,
        default: Any = REFUSE,
        returns: type[Any] | None = None,
    ) -> Any:
        """Wait for a signal to this job and return its payload; each signal is taken by one wait, the oldest first.

        A signal that came before the wait counts, from the job's enqueue on. What was taken is remembered over
        retries. The attempt ends here as in `sleep`, and the body runs again from its top. `timeout_s` counts from
        the first look; then `default` is returned (an approval that nobody gave). `returns` is the payload's type.

        Raises:
            SignalTimeoutError: nothing came in time, and there is no default; permanent.
            ValidationError: the payload is not of the type.
        """
        ...

    async def wait_event(
        self,
        topic: str,
        match: dict[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        default: Any = REFUSE,
        returns: type[Any] | None = None,
        look_back_s: float = 0.0,
    ) -> Any:
        """Wait for the next event of a topic and return its payload; every job that waits for it gets it.

        `match`: what the payload must hold (as `@>` of jsonb). `look_back_s`: an event of so many seconds before the
        wait counts too, of seven days at most; one that an earlier wait of this step got does not. Otherwise as
        `wait_signal`.

        Raises:
            SignalTimeoutError, ValidationError
        """
        ...

    async def spawn(
        self,
        pipeline: str,
        input: Any,
        *,
        key: str | None = None,
        wait: bool = True,
        on_parent_end: Literal["cancel", "leave"] = "cancel",
        on_failure: Literal["fail", "return"] = "fail",
        **options: Any,
    ) -> Any:
        """Start another pipeline as a child of this job, once: a retry of the step finds the same child.

        With `wait` its result is returned; meanwhile the attempt ends, as in `sleep`, and holds no slot. Without, a
        `Child` is returned at once: start several, then `wait_children`, or wait for each, or for none.
        `key` tells apart children of one pipeline whose order in the step may change. `on_failure`: a child that
        fails or is cancelled fails this step too, or a `ChildEnd` is returned whichever way it ends.
        `on_parent_end`: whether the child is cancelled when this job fails or is cancelled; one that still runs when
        this job completes runs on. `options` are `lane` (this job's), `deadline_s`, `metadata`, `run_at`.

        Raises:
            ChildFailedError: permanent.
            UnknownPipelineError, UnknownLaneError, PayloadTooLargeError, DefinitionError
        """
        ...

    async def wait_children(self, *children: Child) -> list[Any]:
        """Wait for several children at once, without a slot, and return what each gave, in their order.

        Raises:
            ChildFailedError: the first in their order that did not complete; all have ended by then.
        """
        ...

    async def run_in_process(self, fn: Callable[..., T], *args: Any) -> T:
        """Run a module-level function in a child process that is killed on time-out or cancel.

        Arguments and result are pickled. For CPU-bound work and for parsers that may crash.

        Raises:
            ChildProcessDiedError: the child ended without an answer (a segmentation fault, the OOM killer).
        """
        ...

    def warn(self, code: str, message: str, *, subject: str | None = None, partial: bool = True) -> None:
        """Add a warning to the job; with `partial` the step counts as degraded and the job as partial."""
        ...

    def continue_as_new(self, input: Any) -> NoReturn:
        """End this run and start the next one with this input, linked, in one transaction; does not return.

        The next run is of the newest version of the pipeline. Other branches of this run end with it.

        Raises:
            InvalidInputError, PayloadTooLargeError: the input can't be stored.
        """
        ...

    def progress(self, fraction: float) -> None:
        """Tell listeners how far the step is (0-1): a hint, not kept."""
        ...

    async def emit(self, text: str) -> None:
        """Send a piece of text to whoever watches the job's token stream, in order; it is not kept.

        A stream is one attempt's: a later attempt of the step that emits begins anew, and those who watch are
        told. An answer that `call` remembers is not emitted again unless the step does so. NUL and half
        surrogate pairs go out as U+FFFD.

        Raises:
            OutputInvalidError: not a text, or more than one attempt may emit.
            LeaseLostError: another worker has the task, or the job has ended: stop.
        """
        ...

    def metadata(self, **values: Any) -> None:
        """Merge values into the job's metadata; written with the step's outcome."""
        ...

    async def heartbeat(self, details: Any = None) -> None:
        """Say that the step is alive, and raise LeaseLostError if it was cancelled or its lease is lost.

        `details` (JSON) are kept for the next attempt, `last_heartbeat`, if the step declares
        `Timeouts(heartbeat=…)`: written about once a second, and when the attempt fails; a process that is killed
        loses the last second of them.
        """
        ...

    @property
    def last_heartbeat(self) -> Any:
        """The details that an earlier attempt of this step said last; None: there are none."""
        ...
