"""What the examples of a side-by-side run share: graphs, jobs in both worlds, a loop, three processes.

`run_on` and `commit` are what a process does by itself with an order, told to the model.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import strategies as st

from rkyc.engine.client import Client
from rkyc.flow.graph import Graph, Part, chain, group
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.protocol import actions
from rkyc.flow.protocol.state import Belief, Job, Phase
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import Step, step
from rkyc.store.pool import Pool
from rkyc.store.queue import pipelines
from tests.support.protocol_engine import Desk, Process

T = TypeVar("T")
PROCESSES = 3
JOBS_MAX = 3
# When everything is due.
FAR = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
# What a body does without an order.
AUTOMATIC = {"refuses poison", "sets a suspect aside", "lets others go on"}
ENDS = {"succeeds": "succeed", "fails": "fail", "fails for good": "fail for good"}
ORDERS = {**ENDS, "finds no signal": "listen"}

# None: a step; "optional", "listen": steps of these kinds; lists: chains and groups.
SHAPES = st.recursive(
    st.sampled_from([None, None, None, None, "optional", "listen"]),
    lambda inner: st.builds(
        lambda kind, parts: [kind, *parts], st.sampled_from("ccg"), st.lists(inner, min_size=2, max_size=3)
    ),
    max_leaves=5,
)


def _make_step(name: str, kind: str | None) -> Step:
    async def work(ctx: Any, input: Any) -> Any:
        return await ctx.use(Desk).serve(name, ctx, input)

    return step(
        name=name,
        needs=[Desk],
        optional=kind == "optional",
        retry=RetryPolicy(max_attempts=2, initial_s=3600.0, max_s=3600.0, jitter=False),
        task_name=actions.LISTENER if kind == "listen" else "work",
    )(work)


def _build(shape: Any, counter: Iterator[int]) -> Part:
    if not isinstance(shape, list):
        return _make_step(f"s{next(counter)}", shape)
    parts = [_build(inner, counter) for inner in shape[1:]]
    return chain(*parts) if shape[0] == "c" else group(*parts)


@dataclass
class Twin:
    """A job in both worlds."""

    number: int
    uuid: UUID
    graph: Graph
    model: Job
    # The model's fences -> the store's.
    fences: dict[int, int] = field(default_factory=dict)

    def believe(self, worker: int, branch: int) -> Belief | None:
        """Return what a worker believes of a branch; the newest, where it has been there twice."""
        found = [one for one in self.model.beliefs if (one.worker, one.branch) == (worker, branch)]
        return max(found, key=lambda one: one.fence, default=None)


class Theatre:
    """What all examples of a run share: a loop, a database, three processes."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.registry = Registry()
        self.processes: list[Process] = []
        # Workers that were killed and whose leases may still stand.
        self.dead: list[int] = []
        # How often what was done, over all examples.
        self.seen: Counter[str] = Counter()
        self.divergence: Exception | None = None
        self._names: dict[str, Pipeline] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def open(self, dsn: str) -> None:
        self.pool = await Pool.open(dsn)
        self.client = Client(pool=self.pool)
        async with self.pool.connection() as conn:
            await pipelines.register_pipelines(conn, self.registry)
        self.processes = [await self.start_process() for _ in range(PROCESSES)]

    async def start_process(self) -> Process:
        process = Process(self.pool, self.registry)
        await process.start()
        return process

    async def close(self) -> None:
        for process in self.processes:
            await process.kill()
        await self.client.aclose()
        await self.pool.close()

    async def clear(self) -> None:
        """Forget the jobs of an earlier example, however it ended."""
        self.dead = []
        async with self.pool.connection() as conn:
            for table in ("ready", "running", "scheduled", "waiting"):
                await conn.execute(f"DELETE FROM rkyc.{table}")
        for process in self.processes:
            process.is_frozen = False
            await process.reconcile()

    async def pipeline_of(self, shape: Any) -> Pipeline:
        """Return the pipeline of a shape, made known at its first use."""
        key = repr(shape)
        if key not in self._names:
            numbers = iter(range(100))
            made = Pipeline(f"shape{len(self._names)}", version=1, steps=_build(shape, numbers))
            self._names[key] = made
            self.registry.add(made)
            async with self.pool.connection() as conn:
                await pipelines.register_pipelines(conn, Registry([made]))
        return self._names[key]

    @property
    def pipeline_names(self) -> list[str]:
        return [pipeline.name for pipeline in self._names.values()]


def done(job: Job | None) -> Job:
    """The engine did it: the model must allow it."""
    assert job is not None, "the engine did what the model refuses"
    return job


def find_belief(job: Job, worker: int, branch: int, fence: int) -> Belief | None:
    return next((b for b in job.beliefs if (b.worker, b.branch, b.fence) == (worker, branch, fence)), None)


def commit(graph: Graph, job: Job, worker: int, old: Belief, loses: str | None) -> Job:
    """Let what was sent land, with its answer, without it, or at the second try."""

    def now(state: Job) -> Belief:
        belief = find_belief(state, worker, old.branch, old.fence)
        assert belief is not None
        return belief

    if loses is None:
        return done(actions.land(graph, job, now(job)))
    job = done(actions.lose(graph, job, now(job), landed=loses == "answer"))
    job = done(actions.read_back(graph, job, now(job)))
    again = find_belief(job, worker, old.branch, old.fence)
    return done(actions.land(graph, job, again)) if again and again.phase is Phase.SENT else job


def run_on(graph: Graph, job: Job, worker: int, branch: int, fence: int) -> list[Job]:
    """Return the states through which a process comes before its body waits for an order; the last is where it stands."""
    states = [job]
    while (belief := find_belief(job, worker, branch, fence)) is not None:
        why, verdict = next(iter(actions.verdicts(graph, job, belief)))
        passes_on = graph.places[belief.step].step.task_name == "_pass_values_on"
        if why not in AUTOMATIC and not passes_on:
            break
        sent = done(actions.send(job, belief, verdict))
        job = commit(graph, sent, worker, belief, None)
        states.append(job)
    return states
