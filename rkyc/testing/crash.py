"""A worker that can die inside the test's own process, as by kill -9.

When it dies, all its connections are cut in the same moment, it never opens another one, and its
tasks are cancelled: nothing of it reaches the database any more, and the others see its presence go.
One thing differs from a kill: `finally` blocks of the bodies that were under way still run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from rkyc.engine.commit import Committer, Settled
from rkyc.engine.listeners import Listener
from rkyc.engine.worker import Worker
from rkyc.flow.outcome import Fail, Outcome, Retry, Undo
from rkyc.flow.step import SaveFunction
from rkyc.store.pool import Connection, Pool
from rkyc.testing.runs import Ran, When


@dataclass(slots=True)
class Crash:
    """Die at the commit of a step, `left` more times."""

    step: str
    when: When
    left: int


class MortalPool(Pool):
    """A pool that a dying process loses: every connection is cut, and nobody gets another."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._dedicated: list[Connection] = []
        self._died = asyncio.Event()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; never to the dead."""
        if self._died.is_set():
            await _stand_still()
        async with super().connection() as conn:
            yield conn

    async def dedicated(self, *, dsn: str | None = None, application_name: str | None = None) -> Connection:
        """Open a connection of the caller's own; never for the dead."""
        if self._died.is_set():
            await _stand_still()
        conn = await super().dedicated(dsn=dsn, application_name=application_name)
        if self._died.is_set():
            conn.terminate()
            await _stand_still()
        self._dedicated.append(conn)
        return conn

    def kill(self) -> None:
        """Cut all connections at once."""
        self._died.set()
        for conn in self._dedicated:
            conn.terminate()
        self._pool.terminate()


class MortalCommitter(Committer):
    """Notes what is committed, and lets the worker die where a test asked for it."""

    def __init__(
        self,
        *,
        on_outcome: Callable[[Ran], None],
        take_crash: Callable[[str, When], bool],
        die: Callable[[], None],
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._on_outcome = on_outcome
        self._take_crash = take_crash
        self._die = die

    def commit(self, outcome: Outcome, *, is_branched: bool) -> Awaitable[bool]:
        """Write an outcome, unless the worker dies before."""
        return self._commit(outcome, is_branched)

    async def _commit(self, outcome: Outcome, is_branched: bool) -> bool:
        how = _name(outcome)
        if how is None or _is_settled(outcome):
            return await super().commit(outcome, is_branched=is_branched)
        claim = outcome.claim
        # The commit moves the claim on: what it was must be read before.
        step, attempt = claim.step, claim.error_attempts + claim.crash_attempts + 1
        if self._take_crash(step, "before_commit"):
            self._on_outcome(Ran(claim.uuid, step, attempt, "crashed"))
            self._die()
            await _stand_still()
        self._on_outcome(Ran(claim.uuid, step, attempt, how))
        held = await super().commit(outcome, is_branched=is_branched)
        if held and self._take_crash(step, "after_commit"):
            self._die()
            await _stand_still()
        return held

    async def commit_together(
        self, outcomes: Sequence[Any], save: SaveFunction, *, is_branched: bool
    ) -> set[int]:
        """Write what a batch gave, unless the worker dies before."""
        ran = [
            Ran(one.uuid, one.step, one.error_attempts + one.crash_attempts + 1, "completed")
            for one in (outcome.claim for outcome in outcomes)
        ]
        if self._take_crash(ran[0].step, "before_commit"):
            for one in ran:
                self._on_outcome(replace(one, how="crashed"))
            self._die()
            await _stand_still()
        for one in ran:
            self._on_outcome(one)
        held = await super().commit_together(outcomes, save, is_branched=is_branched)
        if held and self._take_crash(ran[0].step, "after_commit"):
            self._die()
            await _stand_still()
        return held


class MortalWorker(Worker):
    """A worker whose process can be lost; `died` is set when it was. `places` is where its `listeners` begin."""

    def __init__(
        self,
        *,
        on_outcome: Callable[[Ran], None],
        take_crash: Callable[[str, When], bool],
        places: Sequence[int | None],
        **arguments: Any,
    ) -> None:
        def make_committer(**parts: Any) -> Committer:
            return MortalCommitter(on_outcome=on_outcome, take_crash=take_crash, die=self.die, **parts)

        super().__init__(make_committer=make_committer, **arguments)
        self.died = asyncio.Event()
        self.listeners: list[Listener] = []
        self._places = places

    def _wire(self, registration: Mapping[str, Any]) -> None:
        super()._wire(registration)
        self.listeners = self._listeners.listeners
        for listener, place in zip(self.listeners, self._places, strict=False):
            listener.place = place

    def die(self) -> None:
        """Lose everything that the process holds, now."""
        assert isinstance(self._pool, MortalPool)
        self._pool.kill()
        self._executor.is_closing = True
        for execution in tuple(self._executor.executions.values()):
            if execution.task is not None and execution.task is not asyncio.current_task():
                execution.task.cancel()
        self.died.set()

    async def bury(self) -> None:
        """Wait until nothing of the dead worker runs any more."""
        tasks = [one.task for one in self._executor.executions.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """The clock was set forward: look what is due."""
        self._beat_loop.wake()


def _name(outcome: Outcome) -> str | None:
    """Return how an attempt ended; None for what ends none (a release, a wait)."""
    if isinstance(outcome, Fail | Undo):
        return "failed"
    if isinstance(outcome, Retry):
        return "retry" if outcome.reason == "retry_backoff" else None
    return "completed" if hasattr(outcome, "done") else None


def _is_settled(outcome: Outcome) -> bool:
    """Whether it was committed with those of its batch, and is only told."""
    return isinstance(getattr(getattr(outcome, "done", None), "save", None), Settled)


async def _stand_still() -> NoReturn:
    """The dead do nothing more; whoever awaits this is cancelled with them."""
    while True:
        await asyncio.Event().wait()
