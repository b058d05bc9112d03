"""What an attempt is watched for beside its end: a soft limit, its heartbeat, its progress.

Only steps that declare one of these have a `Pulse`; the sweeper looks at it ten times a second. Details of heartbeats
are kept in memory and written once a second for all tasks of the process in one statement, and once more
when an attempt fails: the next one reads them, wherever it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Coroutine, Generator
from types import TracebackType
from typing import Any, cast

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.context import Context
from rkyc.engine.execution import Execution, uncancel
from rkyc.errors import (
    DatabaseConnectionError,
    SoftTimeLimit,
    StoreError,
    TaskSoftTimeLimitError,
)
from rkyc.flow import payload
from rkyc.flow.retry import Timeouts
from rkyc.store.pool import Pool
from rkyc.store.queue import heartbeats
from rkyc.store.queue.heartbeats import Beat

# Between two writes of what heartbeats said. Seconds.
WRITE_S = 1.0


class Pulse:
    """One attempt's signs of life; instants are monotonic, in seconds."""

    __slots__ = ("_beat_at", "_soft_at", "_timeouts", "_token_at", "details", "is_told", "is_written", "last")

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self.begin()
        # What this attempt said last, and what an earlier one did; JSON text.
        self.details: str | None = None
        self.last: str | None = None
        self.is_written = True
        # It was told of its soft limit.
        self.is_told = False

    def begin(self) -> None:
        """Start the clocks: at once, and once more when a wait for a thread or a child is over."""
        now = time.monotonic()
        self._soft_at = now + self._timeouts.soft if self._timeouts.soft is not None else None
        self._beat_at = self._token_at = now

    def note_beat(self, details: Any) -> None:
        """Take in a heartbeat; details replace those before.

        Raises:
            OutputInvalidError: the details are not JSON.
        """
        if details is not None:
            self.details = payload.encode(details)
            self.is_written = False
        self._beat_at = time.monotonic()

    def note_token(self) -> None:
        """Something was emitted."""
        self._token_at = time.monotonic()

    def find_fault(self, now: float) -> str | None:
        """Return why the body should hear of it: heartbeat, idle, or soft, which is told once."""
        timeouts = self._timeouts
        if timeouts.heartbeat is not None and now - self._beat_at >= timeouts.heartbeat:
            return "heartbeat"
        if timeouts.idle is not None and now - self._token_at >= timeouts.idle:
            return "idle"
        if self._soft_at is not None and now >= self._soft_at and not self.is_told:
            self.is_told = True
            return "soft"
        return None


class Pulses:
    """Runs the bodies that are watched, and writes what they say."""

    def __init__(self, *, pool: Pool, clock: DatabaseClock) -> None:
        self._pool = pool
        self._clock = clock
        self._watched: dict[int, tuple[Execution, Context, Pulse]] = {}

    async def run_once(self) -> None:
        """Write what the heartbeats said since the last look, in one statement."""
        await self._write(list(self._watched.values()))

    async def watch(
        self, execution: Execution, timeouts: Timeouts, ctx: Context, call: Awaitable[Any]
    ) -> Any:
        """Run a body under its watch; what it returns after its soft limit carries a warning."""
        # A step's function is `async def`: the definition made sure of it.
        body = cast(Coroutine[Any, Any, Any], call)
        pulse = Pulse(timeouts)
        claim = execution.claim
        try:
            if timeouts.heartbeat is not None and (ctx.attempt > 1 or not claim.is_fresh):
                async with self._pool.connection() as conn:
                    pulse.last = await heartbeats.read_heartbeat(
                        conn, job_id=claim.job_id, branch=claim.branch, step=ctx.step
                    )
        except BaseException:
            body.close()
            raise
        execution.pulse = pulse
        self._watched[id(pulse)] = watched = (execution, ctx, pulse)
        try:
            output = await (_Softened(body, execution) if timeouts.soft is not None else body)
        except BaseException:
            # The next attempt reads it. What can't be written now was written a second ago.
            with contextlib.suppress(DatabaseConnectionError, StoreError):
                await self._write([watched])
            raise
        finally:
            del self._watched[id(pulse)]
        if pulse.is_told:
            message = f"step {ctx.step} went on after its soft limit of {timeouts.soft:g} s, and finished"
            ctx.warn(TaskSoftTimeLimitError.error_code, message, subject=ctx.step, partial=False)
        return output

    async def _write(self, watched: list[tuple[Execution, Context, Pulse]]) -> None:
        beats, told = [], []
        for execution, ctx, pulse in watched:
            if not pulse.is_written and pulse.details is not None:
                pulse.is_written = True
                beats.append(Beat(execution.claim, ctx.step, ctx.attempt, pulse.details))
                told.append(pulse)
        if not beats:
            return
        # In the order of their tasks, so that two processes can't deadlock.
        beats.sort(key=lambda beat: (beat.claim.job_id, beat.claim.branch))
        try:
            async with self._pool.connection() as conn:
                await heartbeats.write_heartbeats(conn, beats, self._clock.now())
        except BaseException:
            # The next round says it again.
            for pulse in told:
                pulse.is_written = False
            raise


class _Softened(Generator[Any, Any, Any]):
    """Awaits a body; the cancel that tells of the soft limit reaches it as `SoftTimeLimit`.

    What the loop sends or throws into the task passes through here on its way to the body.
    """

    def __init__(self, body: Coroutine[Any, Any, Any], execution: Execution) -> None:
        self._body = body
        self._execution = execution

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def send(self, value: Any) -> Any:
        return self._body.send(value)

    def throw(self, kind: Any, value: Any = None, trace: TracebackType | None = None) -> Any:
        error = (
            value if isinstance(value, BaseException) else kind if isinstance(kind, BaseException) else kind()
        )
        if isinstance(error, asyncio.CancelledError) and self._execution.stop == "soft":
            self._execution.stop = None
            uncancel()
            error = SoftTimeLimit("the soft time limit has passed: save what there is and return")
        return self._body.throw(error)

    def close(self) -> None:
        self._body.close()
