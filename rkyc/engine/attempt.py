"""One attempt around its body: what goes in, what must not start, when it ends, what comes out."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

from rkyc.engine.context import Context
from rkyc.errors import (
    DeadlineExceededError,
    DefinitionError,
    OutputInvalidError,
    PayloadTooLargeError,
    PoisonError,
    RkycError,
    StepTimeoutError,
)
from rkyc.flow import payload
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Completed

# Larger outputs belong into a blob or a table of the step's own. Bytes.
OUTPUT_BYTES_MAX = 16_000_000
ALONE_CRASHES_MAX = 3
# As `reclaim_tasks` counts.
SUSPECT_CRASHES = 2


def read_inputs(claim: Claim, place: Place) -> tuple[dict[str, Any], RkycError | None]:
    """Decode what the step may ask for; a fault fails this job alone."""
    try:
        job_input = payload.decode(claim.input)
        outputs = payload.decode(claim.outputs)
    except RkycError as error:
        return {}, error
    if isinstance(outputs, str):
        return {}, PayloadTooLargeError(
            f"the outputs of the steps before {place.name} are too large together: let steps return references, "
            "and keep what is large in a table or a blob"
        )
    available: dict[str, Any] = outputs or {}
    available["job"] = job_input
    if not place.before:
        available["input"] = job_input
    elif place.waits_for:
        available["input"] = {name: available.get(name) for name in place.before}
    else:
        available["input"] = available.get(place.before[0])
    return available, None


def is_suspect(claim: Claim) -> bool:
    """Return whether a task was seen in so many crashes that it may run only alone."""
    return claim.crash_attempts >= SUSPECT_CRASHES and claim.alone_crashes < ALONE_CRASHES_MAX


def unknown_step(claim: Claim) -> DefinitionError:
    """Say that the served version has no such step any more."""
    return DefinitionError(
        f"{claim.wake_key} has no step {claim.step!r} here: a graph that changed is another version, raise its number"
    )


def check_start(claim: Claim, place: Place, ctx: Context) -> None:
    """Refuse to run what must not run.

    Raises:
        PoisonError: three crashes alone.
        DeadlineExceededError
    """
    if claim.alone_crashes >= ALONE_CRASHES_MAX:
        raise PoisonError(
            f"step {place.name} took its process down {claim.alone_crashes} times while it ran alone: it will not run again"
        )
    if claim.deadline_at is not None and ctx.now >= claim.deadline_at:
        raise DeadlineExceededError(
            f"the job's deadline of {claim.deadline_at.isoformat(timespec='seconds')} has passed"
        )


def deadline_of(place: Place, claim: Claim, now: datetime, *, is_waiting: bool = False) -> float | None:
    """Return the monotonic instant at which the body is cancelled; `is_waiting`: it has not begun yet."""
    timeouts = place.step.timeouts
    limits = [timeouts.start_to_close] if timeouts.start_to_close is not None and not is_waiting else []
    if claim.deadline_at is not None:
        limits.append((claim.deadline_at - now).total_seconds())
    if timeouts.total is not None:
        limits.append(timeouts.total - (now - claim.step_started_at).total_seconds())
    return time.monotonic() + min(limits) if limits else None


def timeout_error(place: Place) -> StepTimeoutError:
    """Say which limit a body passed."""
    limit = place.step.timeouts.start_to_close
    shown = f"its limit of {limit:g} s" if limit is not None else "the job's deadline"
    return StepTimeoutError(f"step {place.name} passed {shown} and was cancelled", {"timeout_seconds": limit})


def complete(place: Place, ctx: Context, output: Any, *, saves: bool = True) -> Completed:
    """Turn what a body returned into what its checkpoint holds.

    Raises:
        OutputInvalidError: not JSON, or too large.
    """
    text = payload.encode(output)
    if len(text) > OUTPUT_BYTES_MAX:
        raise OutputInvalidError(
            f"step {place.name} returned {len(text)} bytes, at most {OUTPUT_BYTES_MAX} are taken: store it and return a reference"
        )
    return Completed(
        step=place.name,
        attempt=ctx.attempt,
        output=text,
        started_at=ctx.now,
        degraded=ctx.notes.is_degraded,
        warnings=ctx.notes.warnings_json(),
        metadata=ctx.notes.metadata_json(),
        save=place.step.save if saves else None,
        saved_value=output,
    )


def uncancel() -> None:
    """The cancellation was ours and is answered: later time-outs in this task must work again."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
