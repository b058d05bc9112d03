"""One action in both worlds, each a method: what the rules of the machine are made of; and the comparison.

An action gives the engine an order, lets it settle, and applies the same to the model. `teardown` lets
the engine go on by itself, as a healthy fleet does, until every job has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from hypothesis.stateful import RuleBasedStateMachine, invariant

from rkyc.engine.execution import Execution
from rkyc.flow.graph import Graph
from rkyc.flow.protocol import actions
from rkyc.flow.protocol.invariants import find_violation
from rkyc.flow.protocol.state import NOBODY, Belief, Job, Table, Task, Verdict
from rkyc.store.queue import tasks, workers
from tests.support import protocol_engine as engine
from tests.support.protocol_engine import SIGNAL, Process
from tests.support.protocol_theatre import (
    FAR,
    ORDERS,
    PROCESSES,
    Theatre,
    Twin,
    commit,
    done,
    find_belief,
    run_on,
)


class Play(RuleBasedStateMachine):
    """Subclass it with rules, and with a `theatre`."""

    theatre: Theatre

    def __init__(self) -> None:
        super().__init__()
        self.twins: list[Twin] = []

    def _processes(self, wanted: Callable[[Process], bool]) -> list[int]:
        return [n for n, process in enumerate(self.theatre.processes) if wanted(process)]

    def _holding(self) -> list[tuple[int, Execution]]:
        """Return the bodies that can be given an order."""
        return [
            (n, one)
            for n, process in enumerate(self.theatre.processes)
            if not process.is_frozen
            for one in process.executions
        ]

    def _twin(self, number: int) -> Twin:
        return next(twin for twin in self.twins if twin.number == number)

    def _live(self) -> list[Twin]:
        return [twin for twin in self.twins if twin.model.end is None]

    def _enqueue(self, shape: Any, *, is_later: bool) -> None:
        async def real() -> tuple[int, UUID, Graph]:
            made = await self.theatre.pipeline_of(shape)
            uuid = await self.theatre.client.enqueue(made.name, {}, run_at=FAR if is_later else None)
            return await engine.find_number(self.theatre.pool, uuid), uuid, made.graph

        number, uuid, graph = self.theatre.run(real())
        self.twins.append(Twin(number, uuid, graph, actions.enqueue(graph, is_later=is_later)))

    def _paused(self) -> list[Twin]:
        return [twin for twin in self.twins if any(task.reason == "paused" for task in twin.model.tasks)]

    def _resume(self, twin: Twin) -> None:
        assert self.theatre.run(self.theatre.client.resume(twin.uuid))
        twin.model = done(actions.resume(twin.model))

    def _signal(self, twin: Twin) -> None:
        self.theatre.run(self.theatre.client.signal(twin.uuid, SIGNAL, {}))
        twin.model = done(actions.give_signal(twin.model))

    def _claim(self, worker: int, *, hears: bool = True) -> bool:
        got = self.theatre.run(engine.claim(self.theatre.processes[worker], hears=hears))
        if not got:
            waiting = [t for twin in self.twins for t in twin.model.tasks if t.table is Table.READY]
            assert not waiting, f"a claim found nothing, and {waiting} are ready"
            return False
        twin = self._twin(got[0].job_id)
        twin.model = done(actions.claim(twin.model, worker, got[0].branch, hears=hears))
        self._claimed(twin, worker, got[0].branch, got[0].fence)
        return True

    def _claim_suspect(self, worker: int) -> bool:
        got = self.theatre.run(
            engine.claim_suspect(self.theatre.processes[worker], self.theatre.pipeline_names)
        )
        if got is None:
            assert not [t for twin in self.twins for t in twin.model.tasks if t.reason == "suspect"]
            return False
        twin = self._twin(got.job_id)
        twin.model = done(actions.claim_suspect(twin.model, worker, got.branch))
        self._claimed(twin, worker, got.branch, got.fence)
        return True

    def _claimed(self, twin: Twin, worker: int, branch: int, fence: int) -> None:
        twin.fences[twin.model.last_fence] = fence
        first = find_belief(twin.model, worker, branch, twin.model.last_fence)
        if first is not None:
            self.theatre.seen[next(iter(actions.verdicts(twin.graph, twin.model, first)))[0]] += 1
        twin.model = run_on(twin.graph, twin.model, worker, branch, twin.model.last_fence)[-1]

    def _believed(self, worker: int, execution: Execution) -> tuple[Twin, Belief]:
        twin = self._twin(execution.claim.job_id)
        belief = twin.believe(worker, execution.claim.branch)
        assert belief is not None
        assert (belief.step, twin.fences[belief.fence]) == (execution.claim.step, execution.claim.fence)
        return twin, belief

    def _order(
        self,
        worker: int,
        execution: Execution,
        why: str,
        verdict: Verdict,
        *,
        loses: str | None = None,
        signals_between: bool = False,
    ) -> None:
        process = self.theatre.processes[worker]
        twin, belief = self._believed(worker, execution)
        self.theatre.seen[f"{why}: {verdict}" + (f", loses {loses}" if loses else "")] += 1
        is_held = twin.model.lease(belief.branch, belief.fence) is not None
        signals_between = signals_between and is_held and twin.model.end is None

        async def signal() -> None:
            await self.theatre.client.signal(twin.uuid, SIGNAL, {})

        async def real() -> None:
            process.wire.loses = loses
            process.wire.before_wait = signal if signals_between else None
            if why == "is drained":
                execution.cancel("drain")
            else:
                process.order(execution, ORDERS[why])
            await asyncio.sleep(0)
            await process.settle()
            process.wire.loses = process.wire.before_wait = None

        self.theatre.run(real())
        if verdict is Verdict.WAIT and not is_held:
            twin.model = twin.model.with_belief(belief)
            return
        if verdict is Verdict.WAIT and (taken := actions.take_signal(twin.model, belief)):
            twin.model = taken
            return
        sent = done(actions.send(twin.model, belief, verdict))
        if signals_between:
            sent = done(actions.give_signal(sent))
        twin.model = commit(twin.graph, sent, worker, belief, loses)
        twin.model = run_on(twin.graph, twin.model, worker, belief.branch, belief.fence)[-1]

    def _reconcile(self, worker: int) -> None:
        self.theatre.run(self.theatre.processes[worker].reconcile())
        for twin in self.twins:
            for belief in twin.model.beliefs:
                if belief.worker == worker and (stopped := actions.stop(twin.model, belief)):
                    twin.model = stopped

    def _release_orphans(self, worker: int) -> None:
        self.theatre.run(self.theatre.processes[worker].release_orphans())
        for twin in self.twins:
            for task in twin.model.tasks:
                if back := actions.release_orphan(twin.graph, twin.model, worker, task.branch):
                    twin.model = back

    def _crash(self, worker: int) -> None:
        self.theatre.seen["kill"] += 1
        self.theatre.run(self._kill(worker))
        for twin in self.twins:
            twin.model = actions.crash(twin.model, worker)

    async def _kill(self, worker: int) -> None:
        process = self.theatre.processes[worker]
        await process.kill()
        self.theatre.dead.append(process.worker_id)
        self.theatre.processes[worker] = await self.theatre.start_process()

    def _reclaim(self) -> None:
        frozen = self._processes(lambda p: p.is_frozen)

        async def real() -> None:
            ids = [self.theatre.processes[n].worker_id for n in frozen]
            for worker_id in ids:
                await self._set_beat(worker_id, "clock_timestamp() - interval '1 hour'")
            async with self.theatre.pool.transaction() as conn:
                await workers.reclaim_tasks(conn, worker_ids=[*ids, *self.theatre.dead], frozen_after_s=120.0)

        self.theatre.run(real())
        for twin in self.twins:
            for task in twin.model.tasks:
                if taken := actions.reclaim(
                    twin.graph, twin.model, task.branch, is_frozen=task.holder in frozen
                ):
                    twin.model = taken

    def _promote(self) -> None:
        async def real() -> None:
            async with self.theatre.pool.connection() as conn:
                await tasks.promote_due_tasks(conn, FAR)

        self.theatre.run(real())
        for twin in self.twins:
            for task in twin.model.tasks:
                twin.model = actions.promote(twin.model, task.branch) or twin.model

    def _thaw(self, worker: int) -> None:
        process = self.theatre.processes[worker]
        process.is_frozen = False
        self.theatre.run(self._set_beat(process.worker_id, "clock_timestamp()"))

    async def _set_beat(self, worker_id: int, at: str) -> None:
        async with self.theatre.pool.connection() as conn:
            await conn.execute(
                f"UPDATE rkyc.worker SET beat_at = {at}, ended_at = NULL WHERE id = $1", worker_id
            )

    @invariant()
    def both_agree(self) -> None:
        if not getattr(self, "twins", None):
            return
        rows = self.theatre.run(engine.read_rows(self.theatre.pool, [twin.number for twin in self.twins]))
        for twin in self.twins:
            assert find_violation(twin.graph, twin.model) is None
            assert self._differs(twin, twin.model, rows[twin.number]) is None
        believed = {
            (one.worker, twin.number, one.branch, twin.fences[one.fence], one.step)
            for twin in self.twins
            for one in twin.model.beliefs
        }
        held = {
            (n, one.claim.job_id, one.claim.branch, one.claim.fence, one.claim.step)
            for n, process in enumerate(self.theatre.processes)
            for one in process.executions
        }
        assert held == believed

    def _differs(self, twin: Twin, model: Job, row: dict[str, Any]) -> str | None:
        """Return how a job's rows differ from a state of the model, or None."""
        slots = {process.worker_id: n for n, process in enumerate(self.theatre.processes)}
        real = {
            "tasks": sorted(
                (*one[:6], one[6], slots.get(one[7], NOBODY) if one[7] else NOBODY, *one[8:])
                for one in row["tasks"]
            ),
            "done": sorted(map(tuple, row["done"])),
            "joins": sorted(map(tuple, row["joins"])),
            "state": row["state"],
            "left": sorted(map(tuple, row["open"])),
            "untaken": row["untaken"],
        }
        wanted = {
            "tasks": sorted(
                (
                    task.branch,
                    str(task.table),
                    task.step,
                    task.errors,
                    task.crashes,
                    task.alone,
                    twin.fences.get(task.fence, 0),
                    task.holder,
                    task.is_alone,
                    task.reason,
                )
                for task in model.tasks
            ),
            "done": sorted((one.step, twin.fences[one.fence]) for one in model.done),
            "joins": sorted((one.step, one.remaining) for one in model.joins),
            "state": model.end and model.end.state,
            "left": sorted(model.end.left) if model.end else [],
            "untaken": model.untaken,
        }
        differences = [f"{key}: {real[key]} is not {wanted[key]}" for key in real if real[key] != wanted[key]]
        return "; ".join(differences) or None

    def teardown(self) -> None:
        """Whatever the faults left: the engine by itself brings every job to its end."""
        for _ in range(40):
            if not getattr(self, "twins", None) or all(twin.model.end for twin in self.twins):
                break
            self._go_on()
            self.both_agree()
        else:
            raise AssertionError(f"stranded: {[twin.model for twin in self.twins if twin.model.end is None]}")

    def _go_on(self) -> None:
        """Do what a healthy fleet does, once."""
        if self._lost():
            self._reclaim()
        for worker in self._processes(lambda p: p.is_frozen):
            self._thaw(worker)
        for twin in self._paused():
            self._resume(twin)
        for twin in self._live():
            if any(task.reason == "signal" for task in twin.model.tasks):
                self._signal(twin)
        if self._standing(lambda task: task.table is Table.SCHEDULED):
            self._promote()
        for worker in range(PROCESSES):
            if self._stale():
                self._reconcile(worker)
            if self._orphans():
                self._release_orphans(worker)
            process = self.theatre.processes[worker]
            if not process.executions and self._standing(lambda task: task.reason == "suspect"):
                self._claim_suspect(worker)
            if not any(one.claim.is_alone for one in process.executions):
                while self._standing(lambda task: task.table is Table.READY):
                    self._claim(worker)
        for worker, execution in self._holding():
            if execution in self.theatre.processes[worker].executions:
                twin, belief = self._believed(worker, execution)
                why, verdict = next(iter(actions.verdicts(twin.graph, twin.model, belief)))
                self._order(worker, execution, why, verdict)

    def _lost(self) -> list[Task]:
        """Return the running tasks of processes that died or are frozen."""
        frozen = self._processes(lambda p: p.is_frozen)
        return self._standing(
            lambda task: task.table is Table.RUNNING and (task.holder == NOBODY or task.holder in frozen)
        )

    def _stale(self) -> list[Belief]:
        return [one for twin in self.twins for one in twin.model.beliefs if actions.stop(twin.model, one)]

    def _orphans(self) -> list[Job]:
        found = [
            actions.release_orphan(twin.graph, twin.model, task.holder, task.branch)
            for twin in self.twins
            for task in twin.model.tasks
        ]
        return [job for job in found if job is not None]

    def _standing(self, wanted: Callable[[Task], bool]) -> list[Task]:
        return [task for twin in self.twins for task in twin.model.tasks if wanted(task)]
