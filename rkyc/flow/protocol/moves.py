"""All that may happen next to one job, given who is frozen: what the checker walks along.

A move is the engine's own, or comes from outside: a fault, a person. What the engine does by itself
must lead to an end from everywhere; what comes from outside may be rationed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rkyc.flow.graph import Graph
from rkyc.flow.protocol import actions, writes
from rkyc.flow.protocol.rules import Rules
from rkyc.flow.protocol.state import NOBODY, Belief, End, Job, Phase, Table, Verdict, View
from rkyc.flow.protocol.writes import progress


class Move(NamedTuple):
    """One step of one job; `idle` and `not_alone` name a worker that must be so in all other jobs."""

    label: str
    job: Job
    is_outside: bool = False
    idle: int = NOBODY
    not_alone: int = NOBODY


class Outside(NamedTuple):
    """How often, per job, a person may start it again, from any step (`restarts`) or not; and signals may come.

    `pauses`: a person may pause and resume it.
    """

    revivals: int = 1
    signals: int = 0
    restarts: bool = False
    pauses: bool = False


def moves_of(
    graph: Graph, rules: Rules, job: Job, awake: tuple[int, ...], outside: Outside
) -> Iterator[Move]:
    """Yield what may happen to a job by the workers that are awake, the store, and people."""
    yield from _claims(graph, rules, job, awake)
    for belief in job.beliefs:
        yield from _of_belief(graph, rules, job, belief, is_awake=belief.worker in awake)
    for message in job.late:
        yield Move(
            f"the late {message.verdict} of {message.step} arrives",
            actions.land_late(graph, job, message, rules=rules),
        )
    for task in job.tasks:
        if awake and (promoted := actions.promote(job, task.branch)):
            yield Move(f"{task.step} is due", promoted)
    if awake:
        yield from _reclaims(graph, rules, job, awake)
    if job.given < outside.signals and (given := actions.give_signal(job)):
        yield Move("a signal is sent", given, is_outside=True)
    yield from _of_people(graph, rules, job, outside)


def _claims(graph: Graph, rules: Rules, job: Job, awake: tuple[int, ...]) -> Iterator[Move]:
    for task in job.tasks:
        for worker in awake:
            name = f"worker {worker} claims {task.step}"
            mine = [one for one in job.beliefs if one.worker == worker]
            if task.table is Table.READY and not (
                rules.suspects_run_alone and any(one.is_alone for one in mine)
            ):
                limit = worker if rules.suspects_run_alone else NOBODY
                for hears in (True, False):
                    claimed = actions.claim(job, worker, task.branch, hears=hears, rules=rules)
                    if claimed is not None:
                        yield Move(name if hears else f"{name}, unheard", claimed, not hears, not_alone=limit)
            elif (
                task.table is Table.WAITING
                and task.reason == "suspect"
                and not (rules.suspects_run_alone and mine)
            ):
                limit = worker if rules.suspects_run_alone else NOBODY
                claimed = actions.claim_suspect(job, worker, task.branch, rules=rules)
                if claimed is not None:
                    yield Move(f"{name} alone", claimed, idle=limit)
            elif rules.orphans_are_released and (
                back := actions.release_orphan(graph, job, worker, task.branch)
            ):
                yield Move(f"worker {worker} gives back {task.step}, which it did not know", back)


def _of_belief(graph: Graph, rules: Rules, job: Job, belief: Belief, *, is_awake: bool) -> Iterator[Move]:
    """Yield what a process does next. Sending and landing are one move here: to send touches nothing.

    What may come between the two is there all the same: a death with the message on its way, a lost
    answer, and a commit that is fenced, which is a body that is stopped.
    """
    who = f"worker {belief.worker}"
    if belief.phase is Phase.SENT:
        why = "waits" if belief.verdict is Verdict.WAIT else "again"
        yield from _of_sent(graph, rules, job, belief, why)
    if not is_awake:
        return
    if belief.phase is Phase.BODY:
        for why, verdict in actions.verdicts(graph, job, belief):
            if verdict is Verdict.WAIT:
                yield _look_for_signal(job, belief)
                continue
            sent = belief._replace(phase=Phase.SENT, verdict=verdict)
            yield from _of_sent(graph, rules, job.with_belief(belief, sent), sent, why)
        if stopped := actions.stop(job, belief):
            yield Move(f"{who} stops {belief.step}: its lease is gone", stopped)
    elif belief.phase is Phase.UNKNOWN:
        known = actions.read_back(graph, job, belief, rules=rules)
        assert known is not None
        yield Move(f"{who} reads back the {belief.verdict} of {belief.step}", known)
    elif belief.phase is Phase.LOOKED:
        yield Move(
            f"the {belief.verdict} of {belief.step} by {who} is written", _write_looked(graph, job, belief)
        )


def _look_for_signal(job: Job, belief: Belief) -> Move:
    """A body takes its signal, or has found none: the wait that follows is a move of its own, so that one may come."""
    if taken := actions.take_signal(job, belief):
        return Move(f"{belief.step} in worker {belief.worker} takes its signal", taken)
    waiting = actions.send(job, belief, Verdict.WAIT)
    assert waiting is not None
    return Move(f"{belief.step} in worker {belief.worker} finds no signal", waiting)


def _of_sent(graph: Graph, rules: Rules, job: Job, belief: Belief, why: str) -> Iterator[Move]:
    what = f"{belief.step} {why} in worker {belief.worker}: its {belief.verdict}"
    is_split = (belief.verdict is Verdict.ADVANCE and not rules.checkpoint_locks_lease) or (
        belief.verdict is Verdict.ARRIVE and not rules.arrival_locks_join
    )
    if is_split:
        yield Move(f"{what} looks", _look(graph, job, belief))
        return
    landed = actions.land(graph, job, belief, rules=rules)
    assert landed is not None
    if landed.tasks == job.tasks and job.lease(belief.branch, belief.fence) is None:
        # The answer of a fenced commit may be lost as well: nothing hangs on it.
        yield Move(f"{what} is fenced", landed)
        return
    yield Move(f"{what} lands", landed, is_outside=why == "is drained")
    for note, lands, is_late in (
        ("lands", True, False),
        ("never lands", False, False),
        ("is late", False, True),
    ):
        lost = actions.lose(graph, job, belief, landed=lands, is_late=is_late, rules=rules)
        if lost is not None:
            yield Move(f"{what} {note}, the answer is lost", lost, is_outside=True)


def _look(graph: Graph, job: Job, belief: Belief) -> Job:
    if job.lease(belief.branch, belief.fence) is None:
        return job.with_belief(belief)
    seen = 0
    if belief.verdict is Verdict.ARRIVE:
        seen = next(one.remaining for one in job.joins if one.step == graph.places[belief.step].join)
    return job.with_belief(belief, belief._replace(phase=Phase.LOOKED, seen=seen))


def _write_looked(graph: Graph, job: Job, belief: Belief) -> Job:
    task = job.lease(belief.branch, belief.fence)
    if belief.verdict is Verdict.ADVANCE:
        return writes.add_unlocked(job, actions.message_of(belief)).with_belief(belief)
    if task is None:
        return job.with_belief(belief)
    return writes.arrive(graph, job, task, belief.step, belief.seen).with_belief(belief)


def _reclaims(graph: Graph, rules: Rules, job: Job, awake: tuple[int, ...]) -> Iterator[Move]:
    for task in job.tasks:
        if task.table is not Table.RUNNING:
            continue
        lives = task.holder in awake
        if lives and not rules.reclaim_needs_death:
            taken = actions.reclaim(graph, job, task.branch, is_mistaken=True)
            assert taken is not None
            yield Move(f"{task.step} is taken from worker {task.holder}, which lives", taken)
        if lives:
            continue
        looked = View("reclaim", ((task.branch, progress(graph, job, task).step, task.fence),))
        if rules.reclaim_locks_first:
            taken = actions.reclaim(graph, job, task.branch, is_frozen=True)
            assert taken is not None
            yield Move(f"{task.step} is reclaimed", taken)
        elif looked not in job.views and len(job.views) < len(job.tasks):
            yield Move(f"a reclaim of {task.step} looks", job._replace(views=(*job.views, looked)))
    for view in job.views:
        if view.by != "reclaim":
            continue
        rest = job._replace(views=tuple(one for one in job.views if one is not view))
        branch, step, fence = view.rows[0]
        held = rest.lease(branch, fence)
        if held is not None and held.holder not in awake:
            taken = actions.reclaim(graph, rest, branch, is_frozen=True, seen=step)
        else:
            taken = rest
        assert taken is not None
        yield Move(f"the reclaim of {step} is written", taken)


def _of_people(graph: Graph, rules: Rules, job: Job, outside: Outside) -> Iterator[Move]:
    if rules.cancel_looks_again:
        if cancelled := actions.cancel(graph, job):
            yield Move("a person cancels the job", cancelled, is_outside=True)
    elif job.end is None:
        views = [view for view in job.views if view.by == "cancel"]
        if not views:
            rows = tuple((task.branch, str(task.table), 0) for task in job.tasks)
            yield Move(
                "a cancel looks", job._replace(views=(*job.views, View("cancel", rows))), is_outside=True
            )
        for view in views:
            seen = {row[:2] for row in view.rows}
            kept = tuple(task for task in job.tasks if (task.branch, str(task.table)) not in seen)
            ended = job._replace(tasks=kept, views=(), end=End("cancelled"))
            yield Move("the cancel is written", ended)
    if outside.pauses and (paused := actions.pause(graph, job)) and paused != job:
        yield Move("a person pauses the job", paused, is_outside=True)
    if resumed := actions.resume(job):
        yield Move("a person resumes the job", resumed, is_outside=True)
    if job.revivals >= outside.revivals:
        return
    if revived := actions.revive(job):
        yield Move("a person starts the job again", revived, is_outside=True)
    for step in graph.places if outside.restarts else ():
        if restarted := actions.restart(graph, job, step):
            yield Move(f"a person starts the job again from {step}", restarted, is_outside=True)
