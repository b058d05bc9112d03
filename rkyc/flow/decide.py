"""Turns how an attempt ended into an outcome. Pure: the caller brings the time and the chance.

`engine/commit` writes what is decided here; nothing else decides what becomes of a job.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rkyc.errors import (
    DeadlineExceededError,
    OutOfMemoryError,
    OutputInvalidError,
    PartialFailureException,
    PermanentException,
    RkycError,
)
from rkyc.flow import payload
from rkyc.flow.graph import ITEMS_SPAN, MAP_ITEMS_MAX, Each, Graph, Place, key_text
from rkyc.flow.job import Claim
from rkyc.flow.outcome import (
    Advance,
    Arrive,
    Completed,
    EndUndone,
    Fail,
    Finish,
    Fork,
    Member,
    Outcome,
    Retry,
    Spread,
)
from rkyc.flow.retry import memory_pause_s
from rkyc.flow.undo import FAILED_REASON, PREFIX, Undone, end_undo

MESSAGE_CHARS_MAX = 500
# What an item of a map is called, for people.
KEY_CHARS_MAX = 200


def decide_success(graph: Graph, place: Place, claim: Claim, done: Completed) -> Outcome:
    """Return what follows a completed step.

    Raises:
        OutputInvalidError: a route has no part for what the step gave, or a map no list.
    """
    if place.next is not None:
        return Advance(claim, done, place.next)
    if place.arms:
        return Advance(claim, done, choose_arm(place, done.output))
    if place.fork:
        members = tuple(
            Member(graph.places[name].branch, name, graph.places[name].step.lane) for name in place.fork
        )
        join = _meeting_of(graph, place)
        return Fork(claim, done, members, join.name, join.branch, claim.job_lane)
    if place.each is not None:
        if place.is_undo:
            return _fork_undo(graph, place, place.each, claim, done)
        return _spread(graph, place, place.each, claim, done)
    if place.join is not None:
        lane = _find(graph, place.join).step.lane or claim.job_lane
        item_lane = (place.item_lane or claim.job_lane) if place.map else None
        return Arrive(claim, done, place.join, lane, place.map, item_lane)
    return Finish(claim, done)


def decide_skip(graph: Graph, place: Place, claim: Claim, done: Completed) -> Outcome:
    """Return what follows a step that failed for good and is optional: its next one, or what stands behind its optional chain."""
    if place.escape is not None and not place.step.optional:
        place = graph.places[place.escape]
    return decide_success(graph, place, claim, done)


def choose_arm(place: Place, output: str) -> str:
    """Return the place that a route leads to after this output, given as JSON text.

    Raises:
        OutputInvalidError: no part for it, and no default.
    """
    chosen = _field_of(payload.decode(output), place.by)
    key = key_text(chosen) if isinstance(chosen, str | int) else None
    target = place.arms.get(key, place.default) if key is not None else place.default
    if target is None:
        given = repr(chosen[:60] if isinstance(chosen, str) else chosen) if key is not None else "no key"
        field = f" in {place.by}" if place.by else ""
        raise OutputInvalidError(
            f"step {place.name} gave {given}{field} for its route: expected one of {', '.join(place.arms)}"
        )
    return target


def _spread(graph: Graph, place: Place, each: Each, claim: Claim, done: Completed) -> Outcome:
    elements = _field_of(payload.decode(done.output), each.over)
    if elements is None and done.degraded:
        # The step is optional and failed: there is nothing to do.
        elements = []
    if not isinstance(elements, list) or len(elements) > MAP_ITEMS_MAX:
        given = f"{len(elements)} elements" if isinstance(elements, list) else type(elements).__name__
        where = f" in {each.over}" if each.over else ""
        raise OutputInvalidError(
            f"step {place.name} gave {given}{where} for map_over {each.first}: expected a list of at most {MAP_ITEMS_MAX}"
        )
    join = _meeting_of(graph, place)
    if not elements:
        return Advance(claim, done, join.name)
    return Spread(
        claim=claim,
        done=done,
        step=each.first,
        lane=graph.places[each.first].step.lane or claim.job_lane,
        first_branch=each.branch * ITEMS_SPAN,
        elements=tuple(map(payload.encode, elements)),
        keys=tuple(_key_of(element, each.key, index) for index, element in enumerate(elements)),
        at_once=each.at_once,
        join_step=join.name,
        join_branch=join.branch,
    )


def _fork_undo(graph: Graph, place: Place, each: Each, claim: Claim, done: Completed) -> Outcome:
    """Start what undoes each item of a map, on the items' own branches; their join is the next compensator."""
    following = _meeting_of(graph, place)
    lane = _find(graph, each.first).step.lane
    members = tuple(Member(branch, each.first, lane) for branch in payload.decode(done.output))
    if not members:
        return Advance(claim, done, following.name)
    return Fork(claim, done, members, following.name, following.branch, claim.job_lane)


def _key_of(element: Any, name: str | None, index: int) -> str:
    key = _field_of(element, name) if name is not None else None
    return str(key)[:KEY_CHARS_MAX].replace("\0", "") if isinstance(key, str | int) else str(index)


def _field_of(value: Any, name: str | None) -> Any:
    if name is None:
        return value
    return value.get(name) if isinstance(value, dict) else None


def _meeting_of(graph: Graph, place: Place) -> Place:
    """Return the place where the branches of a fork or a map come together."""
    assert place.meets is not None
    return _find(graph, place.meets)


def _find(graph: Graph, name: str) -> Place:
    place = graph.find(name)
    assert place is not None
    return place


def decide_failure(
    place: Place, claim: Claim, error: BaseException, *, now: datetime, random: float
) -> Retry | Fail | EndUndone | None:
    """Return a retry or the end of the job; None: the step is optional, the job goes on without it."""
    if isinstance(error, Undone):
        return end_undo(claim, error)
    step = place.step
    error_attempts = claim.error_attempts + 1
    if step.retry.allows(error, error_attempts):
        retry_after_s = error.retry_after_s if isinstance(error, RkycError) else None
        if isinstance(error, OutOfMemoryError):
            retry_after_s = max(retry_after_s or 0.0, memory_pause_s(error_attempts, random))
        due_at = now + timedelta(seconds=step.retry.delay_s(error_attempts, random, retry_after_s))
        limit = latest_start(place, claim)
        if limit is None or due_at < limit:
            return make_retry(claim, place, error, due_at, error_attempts)
        error = DeadlineExceededError(
            f"step {step.name}: the next attempt would start after the limit of {limit.isoformat(timespec='seconds')}; "
            f"the last error was: {error}",
            {"last_error": error_code_of(error)},
        )
    if step.optional or place.escape is not None:
        return None
    return make_fail(claim, place.name, error, error_attempts)


def latest_start(place: Place, claim: Claim) -> datetime | None:
    """Return when the time for the step is over: no attempt may start after it."""
    limits = [claim.deadline_at] if claim.deadline_at and not place.is_undo else []
    if place.step.timeouts.total is not None:
        limits.append(datetime.fromtimestamp(claim.step_started_at + place.step.timeouts.total, UTC))
    return min(limits, default=None)


def make_retry(
    claim: Claim, place: Place, error: BaseException, due_at: datetime, error_attempts: int
) -> Retry:
    """Build the outcome that tries the step again at `due_at`."""
    return Retry(
        claim=claim,
        step=place.name,
        due_at=due_at,
        reason="retry_backoff",
        attempt=error_attempts + claim.crash_attempts,
        error_attempts=error_attempts,
        error_code=error_code_of(error),
        error_message=message_of(error),
    )


def make_fail(claim: Claim, step: str, error: BaseException, error_attempts: int) -> Fail:
    """Build the outcome that fails the job."""
    return Fail(
        claim=claim,
        step=step,
        attempt=max(1, error_attempts + claim.crash_attempts),
        reason=_reason_of(step, error),
        error_code=error_code_of(error),
        error_class=error_class_of(error),
        error_message=message_of(error),
        error_details=_details_of(error),
        error_attempts=error_attempts,
    )


def _reason_of(step: str, error: BaseException) -> str:
    if step.startswith(PREFIX):
        return FAILED_REASON
    return "worker_lost" if error_code_of(error) == "POISON" else "task_failed"


def error_code_of(error: BaseException) -> str:
    """Return the code that stands with the job; WORKER_ERROR for what nobody named."""
    return error.error_code if isinstance(error, RkycError) else "WORKER_ERROR"


def error_class_of(error: BaseException) -> str:
    """Return retryable, permanent or partial."""
    if isinstance(error, PartialFailureException):
        return "partial"
    return (
        "retryable"
        if isinstance(error, RkycError) and error.retryable and not isinstance(error, PermanentException)
        else "permanent"
    )


def message_of(error: BaseException) -> str:
    """Return the message for people, in at most 500 characters that Postgres can hold; an unknown error names its type."""
    try:
        text = str(error) if isinstance(error, RkycError) else f"{type(error).__name__}: {error}"
    except Exception as fault:  # noqa: BLE001 - a step's own error class may raise anything from its __str__
        text = f"{type(error).__name__} (its text can't be shown: {type(fault).__name__})"
    return text[:MESSAGE_CHARS_MAX].replace("\0", "").encode("utf-8", "replace").decode()


def _details_of(error: BaseException) -> str | None:
    """Return an error's details as JSON text; what can't be written must not keep a job from failing."""
    if not isinstance(error, RkycError) or not error.details:
        return None
    try:
        return payload.encode(error.details)
    except OutputInvalidError:
        return None
