"""The protocol's model and the real engine, side by side: one Hypothesis rule per action, compared after each."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from rkyc.flow.protocol import actions
from rkyc.flow.protocol.state import NOBODY, Table, Verdict
from tests.support import protocol_engine as engine
from tests.support.protocol_play import Play
from tests.support.protocol_theatre import ENDS, JOBS_MAX, ORDERS, PROCESSES, SHAPES, Twin, done, find_belief

LOSSES = st.sampled_from([None, None, None, "request", "answer"])


class SideBySide(Play):
    """Random graphs, outcomes, deaths, freezes, lost answers, cancels, new starts, forks and signals."""

    @initialize(shapes=st.lists(SHAPES, min_size=1, max_size=2))
    def begin(self, shapes: list[Any]) -> None:
        self.twins = []
        self.theatre.seen["histories"] += 1
        self.theatre.run(self.theatre.clear())
        for shape in shapes:
            self._enqueue(shape, is_later=False)

    @precondition(lambda self: len(self.twins) < JOBS_MAX)
    @rule(shape=SHAPES, is_later=st.booleans())
    def enqueue(self, shape: Any, is_later: bool) -> None:
        self._enqueue(shape, is_later=is_later)

    @precondition(lambda self: self._live())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        twin = data.draw(st.sampled_from(self._live()))
        assert self.theatre.run(self.theatre.client.cancel(twin.uuid))
        twin.model = done(actions.cancel(twin.graph, twin.model))

    @precondition(lambda self: len(self._live()) < len(self.twins))
    @rule(data=st.data())
    def start_again(self, data: st.DataObject) -> None:
        ended = [twin for twin in self.twins if twin.model.end and twin.model.end.state != "completed"]
        if not ended:
            return
        twin = data.draw(st.sampled_from(ended))
        self.theatre.run(self.theatre.client.retry(twin.uuid))
        twin.model = done(actions.revive(twin.model))

    @precondition(lambda self: len(self._live()) < len(self.twins))
    @rule(data=st.data())
    def start_again_from_a_step(self, data: st.DataObject) -> None:
        twin = data.draw(st.sampled_from([twin for twin in self.twins if twin.model.end]))
        name = data.draw(st.sampled_from(sorted(twin.graph.places)))
        self.theatre.seen["start again from a step"] += 1
        self.theatre.run(self.theatre.client.retry_from(twin.uuid, name))
        twin.model = done(actions.restart(twin.graph, twin.model, name))

    @precondition(lambda self: self.twins and len(self.twins) < JOBS_MAX)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(self.twins))
        name = data.draw(st.sampled_from(sorted(source.graph.places)))
        self.theatre.seen["fork"] += 1

        async def real() -> tuple[int, UUID]:
            uuid = await self.theatre.client.fork(source.uuid, name)
            return await engine.find_number(self.theatre.pool, uuid), uuid

        number, uuid = self.theatre.run(real())
        model = actions.fork(source.graph, source.model, name)
        # What it takes over was done under no lease of its own.
        self.twins.append(Twin(number, uuid, source.graph, model, dict.fromkeys(source.fences, -1)))

    @precondition(lambda self: len(self._paused()) < len(self._live()))
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        twin = data.draw(st.sampled_from([twin for twin in self._live() if twin not in self._paused()]))
        self.theatre.seen["pause"] += 1
        assert self.theatre.run(self.theatre.client.pause(twin.uuid))
        twin.model = done(actions.pause(twin.graph, twin.model))

    @precondition(lambda self: self._standing(lambda task: task.reason == "paused"))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        self._resume(data.draw(st.sampled_from(self._paused())))

    @precondition(lambda self: self._live())
    @rule(data=st.data())
    def signal(self, data: st.DataObject) -> None:
        self._signal(data.draw(st.sampled_from(self._live())))

    @precondition(lambda self: self._standing(lambda task: task.table is Table.READY))
    @rule(data=st.data(), hears=st.sampled_from([True, True, True, True, False]))
    def claim(self, data: st.DataObject, hears: bool) -> None:
        able = self._processes(
            lambda p: not p.is_frozen and not any(one.claim.is_alone for one in p.executions)
        )
        if able:
            self._claim(data.draw(st.sampled_from(able)), hears=hears)

    @precondition(lambda self: self._standing(lambda task: task.table is Table.READY))
    @rule(data=st.data())
    def claim_another(self, data: st.DataObject) -> None:
        self.claim(data, True)

    @precondition(lambda self: self._standing(lambda task: task.reason == "suspect"))
    @rule(data=st.data())
    def claim_suspect(self, data: st.DataObject) -> None:
        able = self._processes(lambda p: not p.is_frozen and not p.executions)
        if able:
            self._claim_suspect(data.draw(st.sampled_from(able)))

    # A rule is as likely as any other: this one stands here three times.
    @precondition(lambda self: self._holding())
    @rule(data=st.data(), loses=LOSSES)
    def end_body(self, data: st.DataObject, loses: str | None) -> None:
        worker, execution = data.draw(st.sampled_from(self._holding()))
        twin, belief = self._believed(worker, execution)
        why, verdict = data.draw(st.sampled_from(list(actions.verdicts(twin.graph, twin.model, belief))))
        signals_between = verdict is Verdict.WAIT and not twin.model.untaken and data.draw(st.booleans())
        self._order(worker, execution, why, verdict, loses=loses, signals_between=signals_between)

    @precondition(lambda self: self._holding())
    @rule(data=st.data(), loses=LOSSES)
    def end_another_body(self, data: st.DataObject, loses: str | None) -> None:
        self.end_body(data, loses)

    @precondition(lambda self: self._holding())
    @rule(data=st.data(), loses=LOSSES)
    def end_one_more_body(self, data: st.DataObject, loses: str | None) -> None:
        self.end_body(data, loses)

    @precondition(lambda self: self._stale())
    @rule(data=st.data())
    def reconcile(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self._processes(lambda p: not p.is_frozen) or [NOBODY]))
        if worker != NOBODY:
            self._reconcile(worker)

    @precondition(lambda self: self._orphans())
    @rule(data=st.data())
    def release_orphans(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self._processes(lambda p: not p.is_frozen) or [NOBODY]))
        if worker != NOBODY:
            self._release_orphans(worker)

    @precondition(lambda self: any(twin.model.beliefs for twin in self.twins))
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self._crash(data.draw(st.integers(0, PROCESSES - 1)))

    @precondition(lambda self: self._standing(lambda task: task.table is Table.READY))
    @rule(times=st.sampled_from([1, 1, 2, 3, 6]))
    def wear_down(self, times: int) -> None:
        """Let process after process die right after a claim: to suspects, and to poison."""
        for _ in range(times):
            if self.theatre.processes[0].is_frozen or self.theatre.processes[0].executions:
                return
            got = self._claim(0) or self._claim_suspect(0)
            self.both_agree()
            if not got:
                return
            self._crash(0)
            self._reclaim()

    @precondition(lambda self: self._holding())
    @rule(data=st.data(), holds=st.sampled_from(["request", "answer"]))
    def kill_in_commit(self, data: st.DataObject, holds: str) -> None:
        """Kill a process whose body has ended: before its commit landed, or before it heard that it did."""
        worker, execution = data.draw(st.sampled_from(self._holding()))
        twin, belief = self._believed(worker, execution)
        options = [one for one in actions.verdicts(twin.graph, twin.model, belief) if one[0] in ENDS]
        if not options:
            return
        why, verdict = data.draw(st.sampled_from(options))
        process = self.theatre.processes[worker]
        self.theatre.seen[f"kill in commit: {verdict}, {holds}"] += 1

        async def real() -> None:
            process.wire.holds = holds
            process.order(execution, ORDERS[why])
            async with asyncio.timeout(engine.SETTLE_S):
                await process.wire.reached.wait()
            await self._kill(worker)

        self.theatre.run(real())
        sent = done(actions.send(twin.model, belief, verdict))
        lost = find_belief(sent, worker, belief.branch, belief.fence)
        assert lost is not None
        twin.model = done(actions.lose(twin.graph, sent, lost, landed=holds == "answer"))
        for each in self.twins:
            each.model = actions.crash(each.model, worker)

    @precondition(lambda self: self._holding())
    @rule(data=st.data())
    def take_over(self, data: st.DataObject) -> None:
        """A process freezes, another one goes on with its tasks, and it thaws: what it still does is stale."""
        worker, _ = data.draw(st.sampled_from(self._holding()))
        other = (worker + 1) % PROCESSES
        self.theatre.processes[worker].is_frozen = True
        self._reclaim()
        process = self.theatre.processes[other]
        if not process.is_frozen and not any(one.claim.is_alone for one in process.executions):
            self._claim(other)
        self._thaw(worker)
        for stale in [one for n, one in self._holding() if n == worker]:
            twin, belief = self._believed(worker, stale)
            why, verdict = data.draw(st.sampled_from(list(actions.verdicts(twin.graph, twin.model, belief))))
            self._order(worker, stale, why, verdict)

    @precondition(lambda self: self._holding())
    @rule(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        busy = self._processes(lambda p: not p.is_frozen and bool(p.executions))
        if busy:
            self.theatre.processes[data.draw(st.sampled_from(busy))].is_frozen = True

    @precondition(lambda self: self._processes(lambda p: p.is_frozen))
    @rule(data=st.data())
    def thaw(self, data: st.DataObject) -> None:
        self._thaw(data.draw(st.sampled_from(self._processes(lambda p: p.is_frozen))))

    @precondition(lambda self: self._lost())
    @rule()
    def reclaim(self) -> None:
        self._reclaim()

    @precondition(
        lambda self: any(t.table is Table.SCHEDULED for twin in self.twins for t in twin.model.tasks)
    )
    @rule()
    def promote(self) -> None:
        self._promote()
