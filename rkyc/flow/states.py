"""The states of a job and of a step, and the moves between them.

This table is the only definition: `docs/state_machine.md` is rendered from it and compared by a
test, the SQL domain `rkyc.job_state` holds the same values, and each moving statement names its
move in a `-- from -> to` comment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Exactly five; the database refuses a sixth."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True when no worker will touch the job again by itself."""
        return self in _TERMINAL


class StepState(StrEnum):
    """The state of one step of a job; `degraded` is a flag beside it."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class WaitReason(StrEnum):
    """Why a pending job does not run."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    RETRY_BACKOFF = "retry_backoff"
    SLEEP = "sleep"
    NO_WORKER = "no_worker"
    VERSION_BLOCKED = "version_blocked"
    SUSPECT = "suspect"
    SIGNAL = "signal"
    EVENT = "event"
    CHILD = "child"
    LIMIT = "limit"
    PAUSED = "paused"
    BUDGET = "budget"
    MAP = "map"
    BATCH = "batch"
    TURN = "turn"
    FAIR = "fair"


_TERMINAL_IN_ORDER = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)
_TERMINAL = frozenset(_TERMINAL_IN_ORDER)


@dataclass(frozen=True, slots=True)
class Move:
    """One arrow: who makes it, and the table rows that make it true."""

    source: JobState | None
    target: JobState
    by: str
    rows: str


MOVES: tuple[Move, ...] = (
    Move(None, JobState.PENDING, "enqueue", "insert job, insert ready or scheduled"),
    Move(JobState.PENDING, JobState.RUNNING, "claim", "ready -> running, with a fence"),
    Move(JobState.RUNNING, JobState.RUNNING, "advance", "insert checkpoint; the lease stays"),
    Move(JobState.RUNNING, JobState.PENDING, "retry", "running -> scheduled, insert event"),
    Move(JobState.RUNNING, JobState.PENDING, "release", "running -> ready; the attempt is not charged"),
    Move(
        JobState.RUNNING,
        JobState.PENDING,
        "reclaim",
        "running -> ready of a worker that died; a crash is charged",
    ),
    Move(
        JobState.RUNNING,
        JobState.PENDING,
        "wait",
        "running -> waiting: for a signal, an event, a child, a limit, a time; not charged",
    ),
    Move(JobState.PENDING, JobState.PENDING, "promote", "scheduled or waiting -> ready when due"),
    Move(JobState.PENDING, JobState.PENDING, "wake", "waiting -> ready: what it waits for has come"),
    Move(
        JobState.PENDING,
        JobState.PENDING,
        "park",
        "ready -> waiting: no worker here serves the version, or a suspect",
    ),
    Move(JobState.RUNNING, JobState.COMPLETED, "finish", "running -> history"),
    Move(
        JobState.RUNNING, JobState.FAILED, "fail", "running -> history and dead_letter; siblings end with it"
    ),
    Move(
        JobState.PENDING, JobState.FAILED, "expire", "a deadline passed, or three crashes alone: -> history"
    ),
    Move(JobState.PENDING, JobState.CANCELLED, "cancel", "ready, scheduled or waiting -> history"),
    Move(JobState.RUNNING, JobState.CANCELLED, "cancel", "running -> history; the executor is told"),
    Move(
        JobState.PENDING,
        JobState.PENDING,
        "undo",
        "cancelled or expired: ready, scheduled or waiting -> ready at the first compensator",
    ),
    Move(
        JobState.RUNNING,
        JobState.PENDING,
        "undo",
        "failed or cancelled: running -> ready at the first compensator; siblings end with it",
    ),
    Move(
        JobState.RUNNING,
        JobState.FAILED,
        "end undone",
        "running -> history and dead_letter, as it was to end",
    ),
    Move(JobState.RUNNING, JobState.CANCELLED, "end undone", "running -> history, as it was to end"),
    Move(
        JobState.FAILED, JobState.PENDING, "retry by a person", "history -> ready at the steps that were left"
    ),
    Move(
        JobState.CANCELLED,
        JobState.PENDING,
        "retry by a person",
        "history -> ready at the steps that were left",
    ),
    Move(JobState.PENDING, JobState.PENDING, "pause", "ready, scheduled or waiting -> waiting"),
    Move(
        JobState.RUNNING,
        JobState.PENDING,
        "pause",
        "running -> waiting at the last checkpoint; the executor is told",
    ),
    Move(
        JobState.PENDING,
        JobState.PENDING,
        "resume",
        "waiting -> ready, scheduled where its time has not come, or waiting for the turn of its key",
    ),
    *(
        Move(
            source,
            JobState.PENDING,
            "retry from a step",
            "history -> ready there; later checkpoints kept aside",
        )
        for source in _TERMINAL_IN_ORDER
    ),
    Move(
        JobState.PENDING,
        JobState.PENDING,
        "migrate",
        "tasks -> ready of another version, behind what was cast",
    ),
    Move(
        JobState.RUNNING,
        JobState.PENDING,
        "migrate",
        "running -> ready of another version; the executor is told",
    ),
    Move(
        JobState.RUNNING,
        JobState.COMPLETED,
        "continue as new",
        "running -> history; insert the next job, linked",
    ),
)


def can_move(source: JobState, target: JobState) -> bool:
    """Return whether some move leads from one state to the other."""
    return any(move.source is source and move.target is target for move in MOVES)


def render_markdown() -> str:
    """Return `docs/state_machine.md`: the drawing and the table of moves."""
    lines = [
        "# The state machine of a job",
        "",
        "Generated from `rkyc/flow/states.py` by `python -m rkyc.flow.states`; a test compares the two.",
        "",
        "A job's state is which tables hold its rows: `history` says how it ended; else it is `running` while any",
        "of its tasks stands in `running`; else it is `pending`, and `wait_reason` says why.",
        "",
        "```mermaid",
        "stateDiagram-v2",
    ]
    lines += [
        f"    {move.source.value if move.source else '[*]'} --> {move.target.value}: {move.by}"
        for move in MOVES
    ]
    lines += [f"    {state.value} --> [*]" for state in JobState if state.is_terminal]
    lines += ["```", "", "| from | to | move | rows |", "|---|---|---|---|"]
    for move in MOVES:
        lines.append(
            f"| {move.source.value if move.source else ''} | {move.target.value} | {move.by} | {move.rows} |"
        )
    lines += [
        "",
        "Reasons why a pending job waits: " + ", ".join(f"`{reason.value}`" for reason in WaitReason) + ".",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(render_markdown(), end="")
