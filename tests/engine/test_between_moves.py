"""What others do at the one moment between two statements of a move, or of a look and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest

from rkyc.engine import slots as slots_module
from rkyc.engine.client import Client
from rkyc.errors import ConflictError, DatabaseConnectionError
from rkyc.flow.graph import chain, group, map_over
from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.flow.unique import Unique
from rkyc.store.pool import Pool
from rkyc.store.queue import commits, pauses
from tests.support.engine import announce, query, read_job, serve, wait_all_ended, wait_for, wait_status
from tests.support.meter import Meter

pytestmark = pytest.mark.anyio


def after_locking(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Act once, right after somebody locked a job's leases."""
    lock_leases, acted = commits.lock_leases, False

    async def lock(conn: Any, job_id: int) -> Any:
        nonlocal acted
        held = await lock_leases(conn, job_id)
        if not acted:
            acted = True
            await act()
        return held

    monkeypatch.setattr(commits, "lock_leases", lock)


@pytest.mark.parametrize("saves", [False, True], ids=["in its body", "in its save"])
async def test_a_holder_that_has_just_begun_is_kept_whole(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, saves: bool
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def save(conn: Any, output: Any) -> None:
        if saves:
            begun.set()
            await gate.wait()

    @step(lane="low", save=save)
    async def left(ctx: Any, job: Any) -> None:
        if not saves:
            begun.set()
            await gate.wait()

    async def idle(ctx: Any, job: Any) -> None:
        return None

    line = Pipeline(
        "forked", 1, chain(step(idle).named("first"), group(left, step(lane="low")(idle).named("right")))
    )
    client = Client(pool=pool)

    async def ask(on_conflict: Any = "keep") -> Any:
        return await client.submit("forked", {}, unique=Unique("k", on_conflict=on_conflict))

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve(dsn, line, lanes=("default",)))
        first = await ask()
        await wait_for(lambda: query(pool, "SELECT FROM rkyc.ready WHERE branch > 1"))

        async def begin() -> None:
            await stack.enter_async_context(serve(dsn, line, lanes=("low",), slots=1))
            await begun.wait()

        after_locking(monkeypatch, begin)
        again = await ask("replace")
        gate.set()
        assert (again.is_new, again.job_id) == (False, first.job_id)
        assert (await wait_status(pool, first.job_id))["status"] == "completed"


async def test_a_place_that_was_given_stays_when_the_connection_is_lost_right_after(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter()

    @step(limits=("a",))
    async def one(ctx: Any, input: Any) -> None:
        await meter.run(1)

    @step(limits=("a", "b"))
    async def both(ctx: Any, input: Any) -> None:
        await meter.run(1)

    lines = [Pipeline("one", 1, one), Pipeline("both", 1, both)]
    await announce(pool, *lines)
    for line in lines:
        await Client(pool=pool).enqueue(line.name, {})
    take_all, lost = slots_module._take_all, []

    async def lose(conn: Any, wishes: Any) -> Any:
        if not lost:
            lost.append(wishes)
            raise DatabaseConnectionError("lost between two statements of a round")
        return await take_all(conn, wishes)

    monkeypatch.setattr(slots_module, "_take_all", lose)
    async with serve(dsn, *lines, limits={"a": 1, "b": 1}):
        await wait_all_ended(pool, 2)
    assert (len(lost), meter.most) == (1, 1)


async def test_a_map_that_is_spread_while_it_is_paused_keeps_its_bound(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, meter = asyncio.Event(), Meter()

    @step
    async def give(ctx: Any, input: Any) -> list[int]:
        await gate.wait()
        return list(range(8))

    @step
    async def item(ctx: Any, input: Any) -> None:
        await meter.run(0.6)

    line = Pipeline("mapped", 1, chain(give, map_over(item, at_once=2)))
    client, find = Client(pool=pool), pauses.find_kept_place

    async def find_and_spread(conn: Any, job_id: int) -> Any:
        found = await find(conn, job_id)
        if not gate.is_set():
            gate.set()
            # Where the leases are locked before, the list can't be committed now.
            await asyncio.sleep(0.5)
        return found

    async with serve(dsn, line):
        job_id = await client.enqueue("mapped", {})
        await wait_status(pool, job_id, "running")
        monkeypatch.setattr(pauses, "find_kept_place", find_and_spread)
        try:
            await client.pause(job_id)
        except ConflictError:
            pass
        else:
            await client.resume(job_id)
        await wait_status(pool, job_id)
    assert meter.most <= 2


async def test_a_wait_for_a_rate_is_left_alone_by_those_who_look_for_lost_limits(
    dsn: str, pool: Pool
) -> None:
    @step(limits=(Limit("mail", rate=1, per_s=3600, burst=1),))
    async def send(ctx: Any, input: Any) -> None:
        return None

    line = Pipeline("mailing", 1, send)

    async def waits() -> list[Any]:
        return [
            tuple(row) for row in await query(pool, "SELECT job_id, since FROM rkyc.waiting ORDER BY job_id")
        ]

    async def all_wait() -> bool:
        return len(await waits()) == 3

    async with serve(dsn, line):
        await Client(pool=pool).enqueue_many("mailing", [{}] * 4)
        await wait_for(all_wait)
        before = await waits()
        # A process looks when it starts.
        async with serve(dsn, line):
            await asyncio.sleep(1)
            assert await waits() == before


async def cancel_booking(ctx: Any, input: Any) -> None:
    return None


@step(compensate=cancel_booking)
async def book(ctx: Any, input: Any) -> dict[str, Any]:
    return {}


@step(lane="low")
async def stay(ctx: Any, job: Any) -> None:
    return None


@pytest.mark.parametrize("is_forked", [False, True], ids=["chain", "forked"])
async def test_a_job_whose_up_caster_says_what_cannot_be_stored_stays_as_it_is(
    dsn: str, pool: Pool, is_forked: bool
) -> None:
    def cast(input: Any, outputs: Any) -> Any:
        raise ValueError("not read: 'ab\0c'")

    parts = chain(book, group(stay.named("a"), stay.named("b"))) if is_forked else chain(book, stay)
    async with serve(dsn, Pipeline("travel", 1, parts), lanes=("default",)):
        job_id = await Client(pool=pool).enqueue("travel", {})
        await wait_for(lambda: query(pool, "SELECT FROM rkyc.ready WHERE lane = 'low'"))
    async with serve(dsn, Pipeline("travel", 2, parts, upcast={(1, 2): cast})):

        async def is_blocked() -> bool:
            return (await read_job(pool, job_id))["wait_reason"] == "version_blocked"

        await wait_for(is_blocked)


async def test_what_the_engine_cannot_go_on_with_is_undone_by_a_process_of_its_version(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*given: Any) -> Any:
        raise RuntimeError("meant to fail")

    parts = chain(book, group(stay.named("a"), stay.named("b")))
    old = Pipeline("travel", 1, parts)
    async with serve(dsn, old, lanes=("default",)):
        job_id: UUID = await Client(pool=pool).enqueue("travel", {})
        await wait_for(lambda: query(pool, "SELECT FROM rkyc.ready WHERE lane = 'low'"))
    with monkeypatch.context() as patch:
        patch.setattr("rkyc.engine.executor.move_blocked", fail)
        async with serve(dsn, Pipeline("travel", 2, parts)):
            await wait_for(lambda: query(pool, "SELECT FROM rkyc.undo_status"))
    async with serve(dsn, old):
        assert (await wait_status(pool, job_id))["error_code"] == "WORKER_ERROR"
    assert await query(pool, "SELECT FROM rkyc.waiting UNION ALL SELECT FROM rkyc.ready") == []
