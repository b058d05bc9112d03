"""What must hold in every reachable state of a job."""

from __future__ import annotations

from collections import Counter

from rkyc.flow.graph import Graph
from rkyc.flow.protocol.state import COUNT_MAX, NOBODY, Job, Phase, Table, Task
from rkyc.flow.protocol.writes import ALONE_CRASHES_MAX, progress


def find_violation(graph: Graph, job: Job) -> str | None:
    """Return what is wrong with a job, or None."""
    return (
        job.wrong
        or _about_tasks(graph, job)
        or _about_checkpoints(graph, job)
        or _about_joins(graph, job)
        or _about_end(graph, job)
        or _about_blame(graph, job)
        or _about_processes(job)
        or None
    )


def _about_tasks(graph: Graph, job: Job) -> str:
    for branch, number in Counter(task.branch for task in job.tasks).items():
        if number > 1:
            return f"branch {branch} stands in {number} places"
    for task in job.tasks:
        step = progress(graph, job, task).step
        if job.is_done(step):
            return f"{step} is completed, and stands in {task.table} to run again"
    return ""


def _about_checkpoints(graph: Graph, job: Job) -> str:
    for step, number in Counter(one.step for one in job.done).items():
        if number > 1:
            return f"{step} has {number} checkpoints"
    return ""


def _about_joins(graph: Graph, job: Job) -> str:
    for join in job.joins:
        if join.starts > 1:
            return f"the join {join.step} was started {join.starts} times"
        if join.remaining < 0:
            return f"the join {join.step} counted more than it waits for"
    return ""


def _about_end(graph: Graph, job: Job) -> str:
    if job.end is None:
        return "" if job.tasks else "the job has not ended, and no task of it stands anywhere"
    if job.tasks:
        return f"the job is {job.end.state}, and {job.tasks[0].step} stands in {job.tasks[0].table}"
    if (
        job.end.state == "completed"
        and job.done
        and (missing := set(graph.places) - {one.step for one in job.done})
    ):
        return f"the job is completed without {', '.join(sorted(missing))}"
    return ""


def _about_blame(graph: Graph, job: Job) -> str:
    for task in job.tasks:
        now = progress(graph, job, task)
        # A dead holder's death is charged when its task is reclaimed.
        owed = 1 if task.table is Table.RUNNING and task.holder == NOBODY else 0
        # Near the end of the scale the two are cut off at different times.
        if now.crashes + owed != task.deaths and task.deaths < COUNT_MAX - 1:
            return f"{now.step} is charged {now.crashes} crashes, and {task.deaths - owed} happened"
        if now.alone > min(now.crashes, ALONE_CRASHES_MAX):
            return f"{now.step} crashed {now.alone} times alone, of {now.crashes}"
    return ""


def _about_processes(job: Job) -> str:
    holders: dict[tuple[int, int], int] = {}
    for belief in job.beliefs:
        held: Task | None = job.lease(belief.branch, belief.fence)
        if held is not None and held.holder != belief.worker:
            return f"worker {belief.worker} acts under a lease of worker {held.holder}"
        if holders.setdefault((belief.branch, belief.fence), belief.worker) != belief.worker:
            return f"two workers hold the same lease of branch {belief.branch}"
    for alone in job.beliefs:
        if alone.is_alone and alone.phase is Phase.BODY:
            for other in job.beliefs:
                if other.worker == alone.worker and other is not alone:
                    return f"worker {alone.worker} runs something beside a suspect"
    return ""
