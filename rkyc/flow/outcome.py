"""How an attempt ended, as a value: decided purely, committed once.

Each names the lease it was reached under; the commit writes it only while that lease holds.
JSON travels as text. What every step makes is a named tuple: a frozen dataclass takes three times
as long to make, which would be a tenth of what the engine does for a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from rkyc.flow.job import Claim
from rkyc.flow.restart import Restart
from rkyc.flow.step import SaveFunction


class Completed(NamedTuple):
    """A step's body succeeded: what its checkpoint holds; `started_at` in seconds since the epoch."""

    step: str
    attempt: int
    output: str
    started_at: float
    degraded: bool = False
    warnings: str | None = None
    metadata: str | None = None
    save: SaveFunction | None = None
    saved_value: Any = None


class Advance(NamedTuple):
    """The task goes on to the next step of its chain, under the same lease."""

    claim: Claim
    done: Completed
    next_step: str


class BranchAdvance(Advance):
    """The same where branches run side by side: the job numbers its events, not the task."""

    __slots__ = ()


class Finish(NamedTuple):
    """The last step of the job is done."""

    claim: Claim
    done: Completed


@dataclass(frozen=True, slots=True)
class Member:
    """One branch that a fork starts."""

    branch: int
    step: str
    lane: str | None


@dataclass(frozen=True, slots=True)
class Fork:
    """The task ends and several begin; `join_step` waits for them on `join_branch`."""

    claim: Claim
    done: Completed
    members: tuple[Member, ...]
    join_step: str
    join_branch: int
    job_lane: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The task ends and an item begins per element of its output, on the branches from `first_branch` on.

    `at_once` of them are ready, the others wait for one that ends. Elements are JSON text, each with its key.
    """

    claim: Claim
    done: Completed
    step: str
    lane: str
    first_branch: int
    elements: tuple[str, ...]
    keys: tuple[str, ...]
    at_once: int
    join_step: str
    join_branch: int


@dataclass(frozen=True, slots=True)
class Arrive:
    """A branch reached its join; the last one to arrive starts it.

    `map`: the map that it is an item of, or 0; then the next item starts in `item_lane`.
    """

    claim: Claim
    done: Completed
    join_step: str
    join_lane: str
    map: int = 0
    item_lane: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Not ready until `due_at`: another attempt, or a durable sleep."""

    claim: Claim
    step: str
    due_at: datetime
    reason: str
    attempt: int
    error_attempts: int
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Fail:
    """The job failed for good at this step."""

    claim: Claim
    step: str
    attempt: int
    reason: str
    error_code: str
    error_class: str
    error_message: str
    error_details: str | None
    error_attempts: int


@dataclass(frozen=True, slots=True)
class Continue:
    """The run is done, and the next one (`job_id`, `input` as JSON text) begins with its end.

    `blob`: where the bytes of the input lie, if not in `input` itself.
    """

    claim: Claim
    done: Completed
    job_id: UUID
    input: str
    blob: str | None = None


@dataclass(slots=True)
class Undo:
    """The job failed for good: what it did is undone first, as far as it is completed; without any of it, it fails.

    `order` is what `Graph.describe_undo` gives, as JSON text; None: as the workers of its version said.
    """

    claim: Claim
    fail: Fail
    order: str | None
    # Told by the commit. False: nothing was to be undone, and the job has failed.
    is_begun: bool = True


@dataclass(frozen=True, slots=True)
class EndUndone:
    """All is undone: the job ends as it was to end before, failed or cancelled.

    `lane` and `reason` are those of its dead letter. `undone` are the steps, `restart` is where a retry by a person
    goes on; None where nothing was to be undone.
    """

    claim: Claim
    state: Literal["failed", "cancelled"]
    step: str
    attempt: int
    lane: str
    reason: str | None
    error_code: str | None
    error_class: str | None
    error_message: str | None
    error_details: str | None
    error_attempts: int
    crash_attempts: int
    undone: tuple[str, ...]
    restart: Restart | None


@dataclass(frozen=True, slots=True)
class Release:
    """Back to `ready`, uncharged: this worker drains, or another lane's worker goes on."""

    claim: Claim
    step: str
    lane: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Held without a slot until something happens, uncharged.

    `kind` is one of `states.WaitReason`, `wake_key` what a waker of that kind names; `due_at` makes the task ready
    all the same. `detail` says in one line what it waits for.
    """

    claim: Claim
    step: str
    kind: str
    wake_key: str
    due_at: datetime | None = None
    detail: str | None = None
    # Of an event: the number that it comes after, and what its payload must hold, as JSON text.
    after: int = 0
    match: str | None = None


Outcome: TypeAlias = (
    Advance | Finish | Fork | Spread | Arrive | Retry | Fail | Release | Wait | Undo | EndUndone | Continue
)


def lanes_begun(outcome: Outcome) -> frozenset[str]:
    """Return the lanes in which tasks may have become ready by an outcome's commit."""
    match outcome:
        case Fork():
            return frozenset(member.lane or outcome.job_lane for member in outcome.members)
        case Spread():
            return frozenset((outcome.lane,))
        case Arrive():
            return frozenset(lane for lane in (outcome.join_lane, outcome.item_lane) if lane)
    return _NO_LANES


_NO_LANES: frozenset[str] = frozenset()
