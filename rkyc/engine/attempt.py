"""One attempt around its body: what goes in, what must not start, when it ends, what comes out."""

from __future__ import annotations

import time
from typing import Any

from rkyc.engine.context import Context
from rkyc.errors import (
    DeadlineExceededError,
    DefinitionError,
    OutputInvalidError,
    PoisonError,
)
from rkyc.flow import payload
from rkyc.flow.envelope import refuse_envelopes
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Completed

# Larger outputs belong into a blob or a table of the step's own. Bytes.
OUTPUT_BYTES_MAX = 16_000_000
ALONE_CRASHES_MAX = 3
# As `reclaim_tasks` counts.
SUSPECT_CRASHES = 2


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
        DeadlineExceededError: the time of the job, or of all attempts of the step, is over.
    """
    if claim.alone_crashes >= ALONE_CRASHES_MAX:
        raise PoisonError(
            f"step {place.name} took its process down {claim.alone_crashes} times while it ran alone: it will not run again"
        )
    if claim.deadline_at is not None and ctx.now >= claim.deadline_at and not place.is_undo:
        raise DeadlineExceededError(
            f"the job's deadline of {claim.deadline_at.isoformat(timespec='seconds')} has passed"
        )
    total = place.step.timeouts.total
    if total is not None and ctx.started_at - claim.step_started_at >= total:
        raise DeadlineExceededError(
            f"step {place.name} took longer than its {total:g} s in all, waits included"
        )


def deadline_of(place: Place, claim: Claim, now: float, *, is_waiting: bool = False) -> float | None:
    """Return the monotonic instant at which the body is cancelled; `now` since the epoch; `is_waiting`: it has not begun yet."""
    timeouts = place.step.timeouts
    if claim.deadline_at is None and timeouts.start_to_close is None and timeouts.total is None:
        return None
    limits = [timeouts.start_to_close] if timeouts.start_to_close is not None and not is_waiting else []
    if claim.deadline_at is not None and not place.is_undo:
        limits.append(claim.deadline_at.timestamp() - now)
    if timeouts.total is not None:
        limits.append(timeouts.total - (now - claim.step_started_at))
    return time.monotonic() + min(limits) if limits else None


def complete(place: Place, ctx: Context, output: Any, *, saves: bool = True) -> Completed:
    """Turn what a body returned into what its checkpoint holds.

    Raises:
        OutputInvalidError: not JSON, or too large.
    """
    text = refuse_envelopes(payload.encode(output))
    if len(text) > OUTPUT_BYTES_MAX:
        raise OutputInvalidError(
            f"step {place.name} returned {len(text)} bytes, at most {OUTPUT_BYTES_MAX} are taken: store it and return a reference"
        )
    save = place.step.save if saves else None
    if ctx.notes is None:
        return Completed(place.name, ctx.attempt, text, ctx.started_at, save=save, saved_value=output)
    return Completed(
        place.name,
        ctx.attempt,
        text,
        ctx.started_at,
        degraded=ctx.notes.is_degraded,
        warnings=ctx.notes.warnings_json(),
        metadata=ctx.notes.metadata_json(),
        save=save,
        saved_value=output,
    )
