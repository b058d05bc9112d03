"""What the protocol's model remembers of one job: rows of the store, and what each process believes.

Everything is a named tuple of plain values, so that a state can be compared, hashed and permuted.
The store's rows are `tasks`, `done`, `joins`, `end`; a process's memory is `beliefs`; what is still
on a wire is `late`. The rest is bookkeeping that only the invariants read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

# The holder of a lease whose process is no more.
NOBODY = -1
# Counters that only ever grow are cut off here: above, nothing depends on them.
COUNT_MAX = 6


class Table(StrEnum):
    """Where a task's row stands."""

    READY = "ready"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    WAITING = "waiting"


class Verdict(StrEnum):
    """What becomes of a task after a body: the outcomes of `flow/outcome.py`."""

    NONE = ""
    ADVANCE = "advance"
    FINISH = "finish"
    FORK = "fork"
    ARRIVE = "arrive"
    RETRY = "retry"
    FAIL = "fail"
    RELEASE = "release"
    PARK = "park"
    WAIT = "wait"


class Phase(StrEnum):
    """How far a process is with a task that it believes to hold."""

    BODY = "body"
    # The outcome was sent to the database.
    SENT = "sent"
    # The connection was lost around the commit.
    UNKNOWN = "unknown"
    # Broken variants only: what must be one step happens in two, and this is between.
    LOOKED = "looked"


class Task(NamedTuple):
    """A row: `step` and the counts are those of the claim, as in the store; checkpoints say what came after."""

    branch: int
    table: Table
    step: str
    errors: int = 0
    crashes: int = 0
    # Crashes while it ran alone.
    alone: int = 0
    fence: int = 0
    holder: int = NOBODY
    is_alone: bool = False
    reason: str = ""
    # A paused task that was scheduled: why; there it goes back to.
    later: str = ""
    # How often a process really died, or froze, under it since the last checkpoint; what `crashes` must say.
    deaths: int = 0


class Checkpoint(NamedTuple):
    """A completed step, and the lease that completed it."""

    step: str
    fence: int


class Join(NamedTuple):
    """A place that waits for branches; `starts` counts how often its step was started."""

    step: str
    remaining: int
    starts: int = 0


class End(NamedTuple):
    """How a job ended; `left` is (branch, step) of each task that was taken away."""

    state: str
    fence: int = 0
    left: tuple[tuple[int, str], ...] = ()


class Belief(NamedTuple):
    """A task as a process sees it, be it true or not."""

    worker: int
    branch: int
    fence: int
    step: str
    phase: Phase = Phase.BODY
    verdict: Verdict = Verdict.NONE
    is_alone: bool = False
    # What a broken variant read and will act on.
    seen: int = 0


class Message(NamedTuple):
    """A commit whose sender has lost the connection, and that may still arrive."""

    branch: int
    fence: int
    step: str
    verdict: Verdict


class View(NamedTuple):
    """Broken variants only: what somebody read before the locks that it should have read under."""

    by: str
    rows: tuple[tuple[int, str, int], ...]


class Job(NamedTuple):
    """One job: the store's rows, the processes' beliefs, and what happened."""

    tasks: tuple[Task, ...] = ()
    done: tuple[Checkpoint, ...] = ()
    joins: tuple[Join, ...] = ()
    end: End | None = None
    beliefs: tuple[Belief, ...] = ()
    late: tuple[Message, ...] = ()
    views: tuple[View, ...] = ()
    last_fence: int = 0
    # Signals sent, those of them that nobody took, and the steps that took one and remember it.
    given: int = 0
    untaken: int = 0
    taken: tuple[str, ...] = ()
    # How often a person started it again.
    revivals: int = 0
    # What must never happen, as soon as it did.
    wrong: str = ""

    def task(self, branch: int) -> Task | None:
        """Return the task of a branch."""
        for task in self.tasks:
            if task.branch == branch:
                return task
        return None

    def lease(self, branch: int, fence: int) -> Task | None:
        """Return the running task of a branch under this fence."""
        for task in self.tasks:
            if task.branch == branch and task.table is Table.RUNNING and task.fence == fence:
                return task
        return None

    def is_done(self, step: str, fence: int | None = None) -> bool:
        """Return whether a step is completed, or was by this very lease."""
        return any(one.step == step and fence in (None, one.fence) for one in self.done)

    def with_task(self, old: Task | None, *new: Task) -> Job:
        """Move a task: the old row goes, the new ones come."""
        kept = tuple(task for task in self.tasks if task is not old)
        return self._replace(tasks=tuple(sorted((*kept, *new))))

    def with_belief(self, old: Belief | None, *new: Belief) -> Job:
        """Change what a process believes."""
        kept = tuple(belief for belief in self.beliefs if belief is not old)
        return self._replace(beliefs=tuple(sorted((*kept, *new))))


def normalise(job: Job, *, forgets: bool, drops_stale: bool) -> Job:
    """Return the job with its fences numbered anew from 1, unnamed ones as 0; equal futures get equal values.

    `forgets`: nobody will start an ended job again, so that its rows no longer matter. `drops_stale`: a
    lease that is gone never comes back and nothing is written without one, so that whoever still
    believes in it, or sends in its name, changes nothing; as if it had stopped at once.
    """
    if drops_stale:
        job = job._replace(
            beliefs=tuple(one for one in job.beliefs if job.lease(one.branch, one.fence)),
            late=tuple(one for one in job.late if job.lease(one.branch, one.fence)),
        )
    if (
        job.end is not None
        and forgets
        and not (job.beliefs or job.late or job.views or job.tasks or job.wrong)
    ):
        # A completed job stays so; any other end is as good as another.
        is_completed = job.end.state == "completed"
        return Job(
            end=End("completed" if is_completed else "failed"), revivals=0 if is_completed else job.revivals
        )
    named = {one.fence for one in job.beliefs} | {one.fence for one in job.late}
    named |= {row[2] for view in job.views for row in view.rows}
    named |= {task.fence for task in job.tasks}
    named.discard(0)
    rank = {fence: number for number, fence in enumerate(sorted(named), 1)}
    end = job.end and job.end._replace(fence=0)
    return job._replace(
        tasks=tuple(
            task._replace(
                fence=rank.get(task.fence, 0),
                crashes=min(task.crashes, COUNT_MAX),
                deaths=min(task.deaths, COUNT_MAX),
            )
            for task in job.tasks
        ),
        done=tuple(sorted(one._replace(fence=rank.get(one.fence, 0)) for one in job.done)),
        end=end,
        beliefs=tuple(sorted(one._replace(fence=rank.get(one.fence, 0)) for one in job.beliefs)),
        late=tuple(sorted(one._replace(fence=rank[one.fence]) for one in job.late)),
        views=tuple(
            view._replace(rows=tuple((branch, what, rank.get(fence, 0)) for branch, what, fence in view.rows))
            for view in job.views
        ),
        last_fence=len(rank),
    )
