"""What each kind of phase does to the server or to the replicas while it lasts.

A fault is a context manager around the phase. What it counted, and the moments that recovery is
counted from, go to the stage's notes.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg

from bench.public.fleet import Fleet
from bench.public.scenarios import HIGH_LOAD, Phase
from bench.public.server import Server
from rkyc.store.statements import load

_SQL = load(__file__)
_READERS = 4
_READ_PAUSE_S = 0.1
# Between a kill and the next start of the same replica, in repeated kills.
_DEAD_S = 1.0
_REFUSED = (asyncpg.PostgresError, OSError)


@dataclass(slots=True)
class Stage:
    """What a fault may touch, and where it notes what it did."""

    dsn: str
    server: Server
    fleet: Fleet
    # What was counted, such as backends killed.
    counts: dict[str, float] = field(default_factory=dict)
    # When replicas were killed, and when the server answered again.
    killed_at: list[dt.datetime] = field(default_factory=list)
    server_back_at: float | None = None

    @property
    def database(self) -> str:
        return urlsplit(self.dsn).path.lstrip("/")


Fault: TypeAlias = "Callable[[Stage, Phase], AbstractAsyncContextManager[None]]"


@contextlib.asynccontextmanager
async def _nothing(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def _hold_transaction(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    """A transaction that has written and does nothing more: no dead tuple younger than it can be removed."""
    conn = await asyncpg.connect(stage.dsn)
    try:
        async with conn.transaction():
            await conn.fetchval(_SQL["take_xid"].text)
            yield
    finally:
        await conn.close()


@contextlib.asynccontextmanager
async def _read(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    """Readers that count the hot table again and again, each in one long transaction."""
    async with _in_background(*(_read_forever(stage.dsn) for _ in range(_READERS))):
        yield


async def _read_forever(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        async with conn.transaction(isolation="repeatable_read"):
            while True:
                await conn.fetchval(_SQL["count_hot_rows"].text)
                await asyncio.sleep(_READ_PAUSE_S)
    finally:
        conn.terminate()


@contextlib.asynccontextmanager
async def _ask_for_more(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    rate = stage.fleet.rate
    stage.fleet.ask(rate * HIGH_LOAD)
    try:
        yield
    finally:
        stage.fleet.ask(rate)


@contextlib.asynccontextmanager
async def _restart_server(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    """Down for the first half of the phase."""

    async def restart() -> None:
        await stage.server.stop()
        stopped_at = time.time()
        await asyncio.sleep(phase.seconds / 2)
        await stage.server.start()
        stage.server_back_at = time.time()
        stage.counts["server_down_s"] = stage.server_back_at - stopped_at

    restarting = asyncio.create_task(restart())
    try:
        yield
    finally:
        # The next phase needs a server, however this one ended.
        await restarting


@contextlib.asynccontextmanager
async def _kill_backends(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    """End all sessions of the replicas that do something, so many times a second."""
    stage.counts["backends_killed"] = 0

    async def kill() -> None:
        conn = await asyncpg.connect(stage.server.dsn)
        try:
            while True:
                killed = await conn.fetch(_SQL["kill_busy_backends"].text, stage.database)
                stage.counts["backends_killed"] += len(killed)
                await asyncio.sleep(1 / phase.options["per_second"])
        finally:
            conn.terminate()

    async with _in_background(kill()):
        yield


@contextlib.asynccontextmanager
async def _hold_connections(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    """Idle connections, as many as asked for or as the server gives."""
    held: list[asyncpg.Connection[asyncpg.Record]] = []

    async def hold() -> None:
        with contextlib.suppress(*_REFUSED):
            while len(held) < phase.options["connections"]:
                held.append(await asyncpg.connect(stage.dsn))
        stage.counts["connections_held"] = len(held)
        await asyncio.Event().wait()

    try:
        async with _in_background(hold()):
            yield
    finally:
        for conn in held:
            conn.terminate()


@contextlib.asynccontextmanager
async def _kill_first(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    await _kill(stage)
    yield


@contextlib.asynccontextmanager
async def _start_first(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    await stage.fleet.start(0)
    yield


@contextlib.asynccontextmanager
async def _kill_repeatedly(stage: Stage, phase: Phase) -> AsyncIterator[None]:
    is_over = asyncio.Event()

    async def kill() -> None:
        while not await _is_set_within(is_over, phase.options["period_s"]):
            await _kill(stage)
            await asyncio.sleep(_DEAD_S)
            # Not cancelled at the end of the phase: the replica must run in the next one.
            await stage.fleet.start(0)

    killing = asyncio.create_task(kill())
    try:
        yield
    finally:
        is_over.set()
        await killing


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _kill(stage: Stage) -> None:
    stage.killed_at.append(dt.datetime.now(dt.UTC))
    await stage.fleet.kill(0)


@contextlib.asynccontextmanager
async def _in_background(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these until the end of the block; one that failed fails the phase."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


FAULTS: dict[str, Fault] = {
    "warmup": _nothing,
    "clean": _nothing,
    "idle-in-tx": _hold_transaction,
    "active-readers": _read,
    "high-load": _ask_for_more,
    "postgres-restart": _restart_server,
    "pg-backend-kill": _kill_backends,
    "pool-exhaustion": _hold_connections,
    "kill-worker": _kill_first,
    "start-worker": _start_first,
    "repeated-kill": _kill_repeatedly,
}
