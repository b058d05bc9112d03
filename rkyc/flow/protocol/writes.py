"""What the store does with an outcome: one transaction each, under the lease or not at all.

`write` is the only way in which a process's belief changes a row. The statements that it stands for
are those of `store/queue/commits.sql` and `tasks.sql`; each joins its lease by (job, branch, fence)
and locks it, which is why it may be one step here.
"""

from __future__ import annotations

from enum import Enum

from rkyc.flow.graph import Graph
from rkyc.flow.protocol.rules import Rules
from rkyc.flow.protocol.state import (
    Checkpoint,
    End,
    Job,
    Join,
    Message,
    Table,
    Task,
    Verdict,
)

# As `flow/decide.py` and `reclaim_tasks` count.
SUSPECT_CRASHES = 2
ALONE_CRASHES_MAX = 3


class Answer(Enum):
    """What the store says to a write."""

    HELD = "held"
    FENCED = "fenced"
    # A checkpoint of that number stands: the same commit landed before.
    REFUSED = "refused"


def progress(graph: Graph, job: Job, task: Task) -> Task:
    """Return the task at its last checkpoint: where whoever takes it over must go on."""
    if task.table is not Table.RUNNING:
        return task
    step = task.step
    while job.is_done(step, task.fence):
        following = graph.places[step].next
        if following is None:
            break
        step = following
    if step == task.step:
        return task
    return task._replace(step=step, errors=0, crashes=0, alone=0)


def write(graph: Graph, rules: Rules, job: Job, order: Message) -> tuple[Job, Answer]:
    """Write an outcome while its lease holds."""
    task = job.lease(order.branch, order.fence)
    if task is None and not rules.commit_joins_fence:
        task = next((t for t in job.tasks if t.branch == order.branch and t.table is Table.RUNNING), None)
    if task is None:
        return job, Answer.FENCED
    if task.fence != order.fence:
        job = job._replace(wrong="a commit landed under a lease that was not its own")
    match order.verdict:
        case Verdict.ADVANCE:
            return _advance(rules, job, task, order)
        case Verdict.FINISH:
            job = _add_checkpoint(job, order.step, task.fence)
            return _end(graph, job, "completed", task, ()), Answer.HELD
        case Verdict.FORK:
            return _fork(graph, job, task, order), Answer.HELD
        case Verdict.ARRIVE:
            left = _join(job, graph.places[order.step].join or "").remaining
            return arrive(graph, job, task, order.step, left), Answer.HELD
        case Verdict.FAIL:
            failed = ((task.branch, order.step),)
            return _end(graph, job, "failed", task, failed), Answer.HELD
        case _:
            return job.with_task(task, _set_aside(graph, rules, job, task, order)), Answer.HELD


def _advance(rules: Rules, job: Job, task: Task, order: Message) -> tuple[Job, Answer]:
    if rules.checkpoint_has_number and job.is_done(order.step, order.fence):
        return job, Answer.REFUSED
    # A dead process's death is still to be charged, to the step that is next now.
    owed = 1 if task.holder < 0 else 0
    job = job.with_task(task, task._replace(deaths=owed))
    return _add_checkpoint(job, order.step, task.fence), Answer.HELD


def _add_checkpoint(job: Job, step: str, fence: int) -> Job:
    return job._replace(done=tuple(sorted((*job.done, Checkpoint(step, fence)))))


def add_unlocked(job: Job, order: Message) -> Job:
    """Write a checkpoint on the word of an earlier look: what a broken variant does."""
    return _add_checkpoint(job, order.step, order.fence)


def _set_aside(graph: Graph, rules: Rules, job: Job, task: Task, order: Message) -> Task:
    """Return the row of a task that leaves its worker and is not done: retry, release, park."""
    now = progress(graph, job, task)
    # It left in good order: a death that came meanwhile is charged to nobody.
    deaths = task.deaths - (task.holder < 0)
    kept = Task(task.branch, Table.READY, order.step, now.errors, now.crashes, deaths=deaths)
    # Crashes alone are those of the step that it was claimed for.
    kept = kept._replace(alone=task.alone if order.step == task.step else 0)
    if order.verdict is Verdict.RETRY:
        crashes = kept.crashes if rules.retry_keeps_crashes else 0
        return kept._replace(
            table=Table.SCHEDULED, errors=kept.errors + 1, crashes=crashes, reason="retry_backoff"
        )
    if order.verdict is Verdict.WAIT:
        # The sender of a signal locks the same row: one of the two sees the other.
        if job.untaken and rules.wait_looks_again:
            return kept
        return kept._replace(table=Table.WAITING, reason="signal")
    if order.verdict is Verdict.PARK:
        return kept._replace(table=Table.WAITING, reason="suspect")
    return kept if rules.release_knows_progress else kept._replace(step=task.step)


def _fork(graph: Graph, job: Job, task: Task, order: Message) -> Job:
    members = graph.places[order.step].fork
    job = _add_checkpoint(job, order.step, task.fence).with_task(
        task, *(Task(graph.places[name].branch, Table.READY, name) for name in members)
    )
    join = join_of(graph, order.step)
    others = tuple(one for one in job.joins if one.step != join)
    return job._replace(joins=tuple(sorted((*others, Join(join, len(members), _starts(job, join))))))


def join_of(graph: Graph, fork: str) -> str:
    """Return the place where the branches of a fork meet."""
    place = graph.places[graph.places[fork].fork[0]]
    while place.join is None:
        place = graph.places[join_of(graph, place.name) if place.fork else place.next or ""]
    return place.join


def _starts(job: Job, step: str) -> int:
    return next((one.starts for one in job.joins if one.step == step), 0)


def _join(job: Job, step: str) -> Join:
    return next(one for one in job.joins if one.step == step)


def arrive(graph: Graph, job: Job, task: Task, step: str, remaining: int) -> Job:
    """Count a branch in at its join, of which so many were missing; the last one starts it."""
    job = _add_checkpoint(job, step, task.fence)
    old = _join(job, graph.places[step].join or "")
    is_last = remaining == 1
    join = Join(old.step, remaining - 1, old.starts + is_last)
    job = job._replace(joins=tuple(sorted((*(one for one in job.joins if one is not old), join))))
    if not is_last:
        return job.with_task(task)
    return job.with_task(task, Task(graph.places[join.step].branch, Table.READY, join.step))


def _end(graph: Graph, job: Job, state: str, task: Task, left: tuple[tuple[int, str], ...]) -> Job:
    """End the job by this lease; its other tasks end in the same transaction."""
    others = tuple((one.branch, progress(graph, job, one).step) for one in job.tasks if one is not task)
    if job.end is not None:
        return job._replace(wrong="a job ended twice")
    ended = job._replace(tasks=(), end=End(state, task.fence, tuple(sorted((*left, *others)))))
    return ended._replace(joins=()) if state == "completed" else ended
