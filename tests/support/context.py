"""A context that runs a step's body on the spot: no engine, no journal on disk, no child process.

It keeps what a step says (warnings, progress, tokens, metadata) and remembers its calls by name and count, so
that a second run of the same step with the same context repeats no call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

from rkyc.errors import DefinitionError

T = TypeVar("T")

NOW = datetime(2025, 3, 31, 9, 0, tzinfo=UTC)


class SilentLog:
    """Takes what a step logs and forgets it."""

    def debug(self, event: str, **fields: Any) -> None: ...
    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...


class InlineContext:
    """`resources` are found by their type or one of its parents; `warnings` are what the step said."""

    def __init__(
        self,
        *resources: object,
        by_type: dict[type, object] | None = None,
        step: str = "step",
        job_id: UUID | None = None,
        now: datetime = NOW,
    ) -> None:
        self._resources = resources
        self._by_type = dict(by_type or {})
        self._journal: dict[tuple[str, int], Any] = {}
        self._uses: dict[str, int] = {}
        self.job_id = job_id or uuid4()
        self.step = step
        self.attempt = 1
        self.now = now
        self.log = SilentLog()
        self.warnings: list[dict[str, Any]] = []
        self.fractions: list[float] = []
        self.emitted: list[str] = []
        self.metadata_values: dict[str, Any] = {}
        self.calls: list[str] = []

    def next_attempt(self) -> None:
        """Start the body again: names count from one, remembered answers stay."""
        self.attempt += 1
        self._uses.clear()

    def use(self, kind: type[T]) -> T:
        if kind in self._by_type:
            return cast(T, self._by_type[kind])
        for resource in self._resources:
            if isinstance(resource, kind):
                return resource
        raise DefinitionError(f"the test gave no {kind.__name__}")

    async def call(self, name: str, fn: Callable[[], Awaitable[T]], *, returns: type[T] | None = None) -> T:
        self._uses[name] = self._uses.get(name, 0) + 1
        key = (name, self._uses[name])
        if key not in self._journal:
            self.calls.append(name)
            self._journal[key] = await fn()
        return cast(T, self._journal[key])

    async def run_in_process(self, fn: Callable[..., T], *args: Any) -> T:
        return fn(*args)

    def warn(self, code: str, message: str, *, subject: str | None = None, partial: bool = True) -> None:
        self.warnings.append({"code": code, "message": message, "subject": subject, "partial": partial})

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)

    async def emit(self, text: str) -> None:
        self.emitted.append(text)

    def metadata(self, **values: Any) -> None:
        self.metadata_values.update(values)

    async def heartbeat(self, details: Any = None) -> None: ...

    @property
    def last_heartbeat(self) -> Any:
        return None
