"""The actions of the protocol on one job: each a function from state to state, or None where it is refused.

Those of a process change what it believes, those of the store its rows. What a process sends and
what arrives are two actions, so that anything may come between.
"""

from __future__ import annotations

from collections.abc import Iterator

from rkyc.flow.graph import Graph, Place
from rkyc.flow.protocol import writes
from rkyc.flow.protocol.rules import Rules
from rkyc.flow.protocol.state import (
    NOBODY,
    Belief,
    End,
    Job,
    Join,
    Message,
    Phase,
    Table,
    Task,
    Verdict,
)
from rkyc.flow.protocol.writes import ALONE_CRASHES_MAX, SUSPECT_CRASHES, Answer, progress
from rkyc.flow.restart import Restart, plan_restart

KNOWN = Rules()
# The function of a step that waits for a signal.
LISTENER = "listen"


def enqueue(graph: Graph, *, is_later: bool = False) -> Job:
    """Return a new job: its first task is ready, or due later."""
    table = Table.SCHEDULED if is_later else Table.READY
    return Job(tasks=(Task(0, table, graph.first, reason="scheduled" if is_later else ""),))


def claim(job: Job, worker: int, branch: int, *, hears: bool = True, rules: Rules = KNOWN) -> Job | None:
    """Lease a ready task to a worker; `hears` is False when the answer is lost on its way."""
    task = job.task(branch)
    if task is None or task.table is not Table.READY:
        return None
    return _lease(job, task, worker, hears=hears, is_alone=False, rules=rules)


def claim_suspect(
    job: Job, worker: int, branch: int, *, hears: bool = True, rules: Rules = KNOWN
) -> Job | None:
    """Lease a task that was seen in two crashes; the caller sees to it that the worker holds nothing else."""
    task = job.task(branch)
    if task is None or task.table is not Table.WAITING or task.reason != "suspect":
        return None
    return _lease(job, task, worker, hears=hears, is_alone=True, rules=rules)


def _lease(job: Job, task: Task, worker: int, *, hears: bool, is_alone: bool, rules: Rules) -> Job:
    fence = job.last_fence + 1 if rules.claim_draws_fence else max(job.last_fence, 1)
    leased = task._replace(table=Table.RUNNING, fence=fence, holder=worker, is_alone=is_alone, reason="")
    job = job.with_task(task, leased)._replace(last_fence=fence)
    if not hears:
        return job
    older = next(
        (
            one
            for one in job.beliefs
            if (one.worker, one.branch, one.phase) == (worker, task.branch, Phase.BODY)
        ),
        None,
    )
    return job.with_belief(older, Belief(worker, task.branch, fence, task.step, is_alone=is_alone))


def verdicts(graph: Graph, job: Job, belief: Belief) -> Iterator[tuple[str, Verdict]]:
    """Yield (what the body did, what follows) for all that may come of a body."""
    place = graph.places[belief.step]
    success = follow(place)
    failure = success if place.step.optional else Verdict.FAIL
    task = job.lease(belief.branch, belief.fence)
    now = progress(graph, job, task) if task is not None else None
    if now is not None and now.alone >= ALONE_CRASHES_MAX:
        yield "refuses poison", failure
    elif now is not None and now.crashes >= SUSPECT_CRASHES and not belief.is_alone:
        yield "sets a suspect aside", Verdict.PARK
    elif task is not None and belief.is_alone and task.step != belief.step:
        yield "lets others go on", Verdict.RELEASE
    elif needs_signal(graph, job, belief):
        yield "finds no signal", Verdict.WAIT
    else:
        yield "succeeds", success
        may_retry = now is None or now.errors + 1 < place.step.retry.max_attempts
        yield "fails", Verdict.RETRY if may_retry else failure
        yield "fails for good", failure
        yield "is drained", Verdict.RELEASE


def needs_signal(graph: Graph, job: Job, belief: Belief) -> bool:
    """Return whether a body can't go on before it has taken a signal."""
    return graph.places[belief.step].step.task_name == LISTENER and belief.step not in job.taken


def take_signal(job: Job, belief: Belief) -> Job | None:
    """A body takes a signal, and remembers in the same commit that it did."""
    if not job.untaken or job.lease(belief.branch, belief.fence) is None:
        return None
    return job._replace(untaken=job.untaken - 1, taken=tuple(sorted((*job.taken, belief.step))))


def give_signal(job: Job) -> Job | None:
    """Somebody sends a signal: it is kept, and whoever waits for one is woken."""
    if job.end is not None:
        return None
    tasks = tuple(
        sorted(
            task._replace(table=Table.READY, reason="") if task.reason == "signal" else task
            for task in job.tasks
        )
    )
    return job._replace(tasks=tasks, given=job.given + 1, untaken=job.untaken + 1)


def follow(place: Place) -> Verdict:
    """Return what follows a completed step."""
    if place.next is not None:
        return Verdict.ADVANCE
    if place.fork:
        return Verdict.FORK
    return Verdict.FINISH if place.join is None else Verdict.ARRIVE


def send(job: Job, belief: Belief, verdict: Verdict) -> Job | None:
    """The body has ended: its outcome is on the way."""
    if belief.phase is not Phase.BODY:
        return None
    return job.with_belief(belief, belief._replace(phase=Phase.SENT, verdict=verdict))


def message_of(belief: Belief) -> Message:
    """Return what a process sends."""
    return Message(belief.branch, belief.fence, belief.step, belief.verdict)


def land(graph: Graph, job: Job, belief: Belief, *, rules: Rules = KNOWN) -> Job | None:
    """The commit is done, and its sender told."""
    if belief.phase is not Phase.SENT:
        return None
    job, answer = writes.write(graph, rules, job, message_of(belief))
    if answer is Answer.REFUSED:
        # An earlier sending came in after all: look what stands.
        return job.with_belief(belief, belief._replace(phase=Phase.UNKNOWN))
    return _acknowledge(graph, job, belief, held=answer is Answer.HELD)


def _acknowledge(graph: Graph, job: Job, belief: Belief, *, held: bool) -> Job:
    if not held or belief.verdict is not Verdict.ADVANCE:
        return job.with_belief(belief)
    following = graph.places[belief.step].next
    assert following is not None
    on = belief._replace(step=following, phase=Phase.BODY, verdict=Verdict.NONE)
    return job.with_belief(belief, on)


def lose(
    graph: Graph, job: Job, belief: Belief, *, landed: bool, is_late: bool = False, rules: Rules = KNOWN
) -> Job | None:
    """The connection is lost around a commit: it landed, or did not, or will (`is_late`)."""
    if belief.phase is not Phase.SENT:
        return None
    if landed:
        job, _ = writes.write(graph, rules, job, message_of(belief))
    elif is_late:
        if graph.is_forked or belief.verdict is Verdict.WAIT:
            return None
        job = job._replace(late=tuple(sorted((*job.late, message_of(belief)))))
    return job.with_belief(belief, belief._replace(phase=Phase.UNKNOWN))


def read_back(graph: Graph, job: Job, belief: Belief, *, rules: Rules = KNOWN) -> Job | None:
    """Learn the fate of a commit whose answer was lost; send it again where it did not land."""
    if belief.phase is not Phase.UNKNOWN:
        return None
    if not rules.lost_answer_is_read_back:
        return job.with_belief(belief, belief._replace(phase=Phase.SENT, verdict=Verdict.RETRY))
    if job.lease(belief.branch, belief.fence) is None:
        # Landed or fenced: either way the task is not here any more.
        return job.with_belief(belief)
    if belief.verdict is Verdict.ADVANCE and job.is_done(belief.step, belief.fence):
        return _acknowledge(graph, job, belief, held=True)
    return job.with_belief(belief, belief._replace(phase=Phase.SENT))


def land_late(graph: Graph, job: Job, message: Message, *, rules: Rules = KNOWN) -> Job:
    """A commit arrives whose sender has given it up."""
    job = job._replace(late=tuple(one for one in job.late if one is not message))
    return writes.write(graph, rules, job, message)[0]


def stop(job: Job, belief: Belief) -> Job | None:
    """A process sees that a lease of its own is gone, and cancels the body."""
    if belief.phase is not Phase.BODY or job.lease(belief.branch, belief.fence) is not None:
        return None
    return job.with_belief(belief)


def release_orphan(graph: Graph, job: Job, worker: int, branch: int) -> Job | None:
    """A worker gives back a lease that it holds without knowing, uncharged."""
    task = job.task(branch)
    if task is None or task.table is not Table.RUNNING or task.holder != worker:
        return None
    if any(one.worker == worker and one.fence == task.fence for one in job.beliefs):
        return None
    now = progress(graph, job, task)
    back = Task(branch, Table.READY, now.step, now.errors, now.crashes, now.alone, deaths=task.deaths)
    return job.with_task(task, back)


def crash(job: Job, worker: int) -> Job:
    """A process dies: what it believed is gone, its leases are nobody's."""
    tasks = tuple(
        sorted(
            task._replace(holder=NOBODY, deaths=task.deaths + 1)
            if task.table is Table.RUNNING and task.holder == worker
            else task
            for task in job.tasks
        )
    )
    return job._replace(tasks=tasks, beliefs=tuple(one for one in job.beliefs if one.worker != worker))


def crash_with_mail(graph: Graph, job: Job, worker: int) -> Iterator[Job]:
    """A process dies that has just sent an outcome: it may still land."""
    if graph.is_forked:
        # It is a transaction of several statements, which the server ends with its connection.
        return
    for belief in job.beliefs:
        if belief.worker != worker or job.lease(belief.branch, belief.fence) is None:
            continue
        for _, verdict in verdicts(graph, job, belief):
            sent = belief if belief.phase is Phase.SENT else belief._replace(verdict=verdict)
            # A wait is a transaction of several statements too.
            if belief.phase in (Phase.BODY, Phase.SENT) and sent.verdict is not Verdict.WAIT:
                late = tuple(sorted((*job.late, message_of(sent))))
                yield crash(job._replace(late=late), worker)


def reclaim(
    graph: Graph,
    job: Job,
    branch: int,
    *,
    is_frozen: bool = False,
    is_mistaken: bool = False,
    seen: str | None = None,
) -> Job | None:
    """Take a lease whose worker died, or froze for long: ready at its last checkpoint, a crash charged.

    Broken variants only: `is_mistaken`, the worker lives; `seen`, where the task is believed to stand.
    """
    task = job.task(branch)
    if task is None or task.table is not Table.RUNNING:
        return None
    if task.holder != NOBODY and not (is_frozen or is_mistaken):
        return None
    now = progress(graph, job, task)
    crashes, alone = now.crashes + 1, now.alone + task.is_alone
    deaths = task.deaths + (is_frozen and task.holder != NOBODY)
    is_suspect = crashes >= SUSPECT_CRASHES and alone < ALONE_CRASHES_MAX
    back = Task(
        branch,
        Table.WAITING if is_suspect else Table.READY,
        seen or now.step,
        now.errors,
        crashes,
        alone,
        reason="suspect" if is_suspect else "",
        deaths=deaths,
    )
    return job.with_task(task, back)


def promote(job: Job, branch: int) -> Job | None:
    """The time of a scheduled task has come."""
    task = job.task(branch)
    if task is None or task.table is not Table.SCHEDULED:
        return None
    return job.with_task(task, task._replace(table=Table.READY, reason=""))


def cancel(graph: Graph, job: Job) -> Job | None:
    """A person ends the job: all its tasks are taken, wherever they stand."""
    if job.end is not None:
        return None
    left = tuple((task.branch, progress(graph, job, task).step) for task in job.tasks)
    fence = next((task.fence for task in job.tasks if task.table is Table.RUNNING), 0)
    return job._replace(tasks=(), end=End("cancelled", fence, left))


def pause(graph: Graph, job: Job) -> Job | None:
    """A person holds a job back at its last checkpoints; what ran stops, uncharged."""
    if job.end is not None:
        return None
    return job._replace(tasks=tuple(sorted(_hold(graph, job, task) for task in job.tasks)))


def _hold(graph: Graph, job: Job, task: Task) -> Task:
    if task.reason == "paused":
        return task
    now = progress(graph, job, task)
    return Task(
        task.branch,
        Table.WAITING,
        now.step,
        now.errors,
        now.crashes,
        now.alone,
        reason="paused",
        later=task.reason if task.table is Table.SCHEDULED else "",
        deaths=task.deaths - (task.table is Table.RUNNING and task.holder == NOBODY),
    )


def resume(job: Job) -> Job | None:
    """A person lets a paused job go on: each task where it was, or not before its time."""
    if all(task.reason != "paused" for task in job.tasks):
        return None
    tasks = (
        task._replace(table=Table.SCHEDULED if task.later else Table.READY, reason=task.later, later="")
        if task.reason == "paused"
        else task
        for task in job.tasks
    )
    return job._replace(tasks=tuple(sorted(tasks)))


def revive(job: Job) -> Job | None:
    """A person starts a failed or cancelled job again, at the steps that were left, with a clean record."""
    if job.end is None or job.end.state == "completed":
        return None
    tasks = tuple(sorted(Task(branch, Table.READY, step) for branch, step in job.end.left))
    return job._replace(tasks=tasks, end=None, revivals=job.revivals + 1)


def restart(graph: Graph, job: Job, step: str) -> Job | None:
    """A person starts an ended job again from a step on: that one and all after it no longer count."""
    if job.end is None:
        return None
    plan = plan_restart(graph.describe(), {one.step for one in job.done}, [step])
    kept = {one.step for one in plan.kept}
    joins = {one.step: one for one in job.joins} | {
        one.step: Join(one.step, one.remaining) for one in plan.joins
    }
    return job._replace(
        tasks=_begin(plan),
        done=tuple(one for one in job.done if one.step in kept),
        joins=tuple(sorted(joins.values())),
        end=None,
        taken=tuple(one for one in job.taken if one in kept),
        revivals=job.revivals + 1,
    )


def fork(graph: Graph, source: Job, step: str) -> Job:
    """A person makes a new job that keeps what was done before a step, and runs that one and all after it."""
    plan = plan_restart(graph.describe(), {one.step for one in source.done}, [step])
    kept = {one.step for one in plan.kept}
    return Job(
        tasks=_begin(plan),
        done=tuple(one for one in source.done if one.step in kept),
        joins=tuple(sorted(Join(one.step, one.remaining) for one in plan.joins)),
        last_fence=source.last_fence,
    )


def _begin(plan: Restart) -> tuple[Task, ...]:
    return tuple(sorted(Task(one.branch, Table.READY, one.step) for one in plan.starts))
