"""The hands of a running step: the engine's side of `flow.context.StepContext`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, TypeVar
from uuid import UUID

from rkyc.engine.blocking import BlockingCall, run_in_child, run_in_thread
from rkyc.engine.children import ChildProcesses
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.execution import Execution
from rkyc.engine.executor_threads import Threads
from rkyc.engine.flusher import Flusher
from rkyc.engine.intake import encode_input, make_job_ids
from rkyc.engine.journal import StepJournal
from rkyc.engine.notices import Notices
from rkyc.engine.payloads import Payloads
from rkyc.engine.spawn import StepChildren
from rkyc.engine.stream import StreamWriter, TokenStream
from rkyc.engine.succession import NextRun
from rkyc.engine.waiting import StepWaits
from rkyc.errors import DefinitionError, LeaseLostError
from rkyc.flow import payload
from rkyc.flow.context import REFUSE, StepLog
from rkyc.flow.job import Item
from rkyc.flow.outcome import Completed
from rkyc.flow.step import Step
from rkyc.flow.undo import PREFIX
from rkyc.store.pool import Pool

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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all contexts of a process share."""

    resources: Mapping[type, Any]
    pool: Pool
    clock: DatabaseClock
    worker_id: int
    flusher: Flusher
    notices: Notices
    streams: StreamWriter
    children: ChildProcesses
    threads: Threads
    payloads: Payloads
    make_log: Callable[..., StepLog]


class Context:
    """One attempt's context. Made anew for each attempt, and so kept light: what few steps need is made when asked for."""

    __slots__ = (
        "_children",
        "_execution",
        "_is_first",
        "_journal",
        "_step",
        "_surroundings",
        "_waits",
        "attempt",
        "notes",
        "started_at",
        "stream",
    )

    def __init__(
        self, execution: Execution, step: Step, *, started_at: float, surroundings: Surroundings
    ) -> None:
        claim = execution.claim
        # The database's time when this attempt started, in seconds since the epoch.
        self.started_at = started_at
        self.attempt = claim.error_attempts + claim.crash_attempts + 1
        self.notes: Notes | None = None
        self.stream: TokenStream | None = None
        self._execution = execution
        # A first attempt has nothing to remember.
        self._is_first = claim.is_fresh
        self._step = step
        self._surroundings = surroundings
        self._journal: StepJournal | None = None
        self._waits: StepWaits | None = None
        self._children: StepChildren | None = None

    @property
    def job_id(self) -> UUID:
        """The job's public id."""
        return self._execution.claim.uuid

    @property
    def now(self) -> datetime:
        """The database's time when this attempt started."""
        return datetime.fromtimestamp(self.started_at, UTC)

    @property
    def step(self) -> str:
        """The name of the running step."""
        return self._step.name

    @property
    def item(self) -> Item | None:
        """Which element of a map's list this is for; None outside a map."""
        return self._execution.claim.item

    @property
    def log(self) -> StepLog:
        """A log bound to job, step and attempt."""
        return self._surroundings.make_log(
            job_id=str(self.job_id), step=self._step.name, attempt=self.attempt
        )

    def use(self, kind: type[T]) -> T:
        """Return the resource of this type.

        Raises:
            DefinitionError: not declared in `needs`, or not given to the worker.
        """
        if kind not in self._step.needs:
            raise DefinitionError(
                f"step {self._step.name} uses {kind.__name__} without declaring it: add needs=[{kind.__name__}] to @step"
            )
        value: T = self._surroundings.resources[kind]
        return value

    async def call(self, name: str, fn: Callable[[], Awaitable[T]], *, returns: type[T] | None = None) -> T:
        """Do `fn` once and remember its answer over retries and crashes of this step."""
        return await self._take_journal().call(name, fn, returns)

    async def sleep(
        self, seconds: float | None = None, *, until: datetime | None = None, name: str = ""
    ) -> None:
        """Sleep durably, without a slot."""
        await self._take_waits().sleep(seconds, until, name or "sleep")

    async def wait_signal(
        self,
        name: str,
        *,
        timeout_s: float | None = None,
        default: Any = REFUSE,
        returns: type[Any] | None = None,
    ) -> Any:
        """Wait for a signal to this job, without a slot, and return its payload."""
        return await self._take_waits().wait_signal(name, timeout_s, default, returns)

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
        """Wait for the next event of a topic, without a slot, and return its payload."""
        return await self._take_waits().wait_event(topic, match, timeout_s, default, returns, look_back_s)

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
        """Start a child job, once; with `wait` return its result, waiting without a slot."""
        child = await self._take_children().spawn(
            pipeline, input, key=key, on_parent_end=on_parent_end, on_failure=on_failure, **options
        )
        return await child.result() if wait else child

    async def wait_children(self, *children: Any) -> list[Any]:
        """Wait for several children at once, without a slot, and return what each gave."""
        return await self._take_children().wait_for(children)

    async def run_in_process(self, fn: Callable[..., T], *args: Any) -> T:
        """Run a module-level function in a child process that dies with this attempt."""
        return await self._surroundings.children.run(fn, *args)

    async def run_blocking(self, fn: Callable[..., T], arguments: Mapping[str, Any], run_in: str) -> T:
        """Run a `def` step's function where it declared: in a thread or in a child process."""
        call = BlockingCall(self, self._execution, self._step.timeouts, self.started_at, fn, arguments)
        answer: T = (
            await run_in_child(call, self._surroundings.children)
            if run_in == "process"
            else await run_in_thread(call, self._surroundings.threads)
        )
        return answer

    def warn(self, code: str, message: str, *, subject: str | None = None, partial: bool = True) -> None:
        """Add a warning to the job; with `partial` the step counts as degraded."""
        notes = self._take_notes()
        notes.warnings.append({"code": code, "message": message, "subject": subject})
        notes.is_degraded = notes.is_degraded or partial

    def give_up(self, code: str, message: str) -> None:
        """Warn that the step failed for good and the job goes on without it; so it is not undone later."""
        self.warn(code, message, subject=self._step.name)
        self._take_notes().warnings[-1]["failed"] = True

    def continue_as_new(self, input: Any) -> NoReturn:
        """End this run and start the next one with this input.

        Raises:
            DefinitionError: in a compensator, which must not end its job otherwise than it was to end.
        """
        if self._step.name.startswith(PREFIX):
            raise DefinitionError(
                f"{self._step.name} is a compensator: it can't continue its job as a new one"
            )
        text, (job_id,) = encode_input(input), make_job_ids(1)
        notes = self.notes or Notes()
        done = Completed(
            self._step.name,
            self.attempt,
            payload.encode({"continued_as": str(job_id)}),
            self.started_at,
            notes.is_degraded,
            notes.warnings_json(),
            notes.metadata_json(),
        )
        raise NextRun(done, job_id, text)

    def progress(self, fraction: float) -> None:
        """Tell listeners how far the step is (0-1): a hint, not kept."""
        share = min(1.0, max(0.0, fraction))
        self._surroundings.notices.progress(self._execution.claim, "running", self._step.name, share)

    async def emit(self, text: str) -> None:
        """Send a piece of text to whoever watches the job's token stream."""
        if self.stream is None:
            self.stream = self._surroundings.streams.open(
                self._execution.claim, self._step.name, self.attempt
            )
        if self._execution.pulse is not None:
            self._execution.pulse.note_token()
        await self.stream.emit(text)

    def metadata(self, **values: Any) -> None:
        """Merge values into the job's metadata; written with the step's outcome."""
        self._take_notes().metadata.update(values)

    def begin_again(self) -> None:
        """The body is called once more in this attempt: what was answered is remembered, what was noted is not."""
        self._is_first = False
        self.notes = self._journal = self._waits = self._children = None

    def _take_journal(self) -> StepJournal:
        if self._journal is None:
            claim = self._execution.claim
            self._journal = StepJournal(
                pool=self._surroundings.pool,
                flusher=self._surroundings.flusher,
                claim=claim,
                step=self._step.name,
                is_first=self._is_first,
            )
        return self._journal

    def _take_waits(self) -> StepWaits:
        if self._waits is None:
            self._waits = StepWaits(**self._parts())
        return self._waits

    def _take_children(self) -> StepChildren:
        if self._children is None:
            self._children = StepChildren(payloads=self._surroundings.payloads, **self._parts())
        return self._children

    def _parts(self) -> dict[str, Any]:
        return {
            "pool": self._surroundings.pool,
            "clock": self._surroundings.clock,
            "journal": self._take_journal(),
            "claim": self._execution.claim,
            "step": self._step.name,
            "worker_id": self._surroundings.worker_id,
        }

    def _take_notes(self) -> Notes:
        if self.notes is None:
            self.notes = Notes()
        return self.notes

    @property
    def last_heartbeat(self) -> Any:
        """What an earlier attempt of this step said last."""
        pulse = self._execution.pulse
        return None if pulse is None else payload.decode(pulse.last)

    async def heartbeat(self, details: Any = None) -> None:
        """Say that the step is alive.

        Raises:
            LeaseLostError: the job was cancelled, or another worker has the task: stop.
        """
        if self._execution.stop is not None:
            raise LeaseLostError(f"job {self.job_id}: step {self._step.name} no longer holds its lease")
        if self._execution.pulse is not None:
            self._execution.pulse.note_beat(details)
