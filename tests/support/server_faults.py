"""Faults of a database server, and a run of two full workers through one of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from rkyc.engine.client import Client
from rkyc.store.embedded import EmbeddedServer, ensure_running
from rkyc.store.pool import LOST_CONNECTION
from rkyc.store.server_process import is_running
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import wait_for
from tests.support.fleet import Fleet
from tests.support.ledger import count

Fault = Callable[[EmbeddedServer], Awaitable[None]]


async def ask(server: EmbeddedServer, sql: str, *values: Any) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own, once the server takes one."""

    async def attempt() -> list[list[asyncpg.Record]]:
        with contextlib.suppress(OSError, *LOST_CONNECTION):
            conn = await asyncpg.connect(server.dsn)
            try:
                return [await conn.fetch(sql, *values)]
            finally:
                conn.terminate()
        return []

    (rows,) = await wait_for(attempt, timeout_s=20, what="the server")
    return list(rows)


async def kill_postmaster(server: EmbeddedServer) -> None:
    """The server is gone as by the OOM killer; whoever uses an embedded one brings it back."""
    os.kill(server.pid, signal.SIGKILL)


async def restart_immediately(server: EmbeddedServer) -> None:
    """What `pg_ctl restart -m immediate` does."""
    os.kill(server.pid, signal.SIGQUIT)
    while is_running(server.pid):
        await asyncio.sleep(0.01)
    await ensure_running(server.data_dir)


async def stay_away(server: EmbeddedServer) -> None:
    """The server is down for some seconds."""
    os.kill(server.pid, signal.SIGQUIT)
    while is_running(server.pid):
        await asyncio.sleep(0.01)
    await asyncio.sleep(6)
    await ensure_running(server.data_dir)


async def crash_backend(server: EmbeddedServer) -> None:
    """One backend dies: the server ends all others and recovers, under the same postmaster."""
    conn = await asyncpg.connect(server.dsn)
    pid = await conn.fetchval("SELECT pg_backend_pid()")
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(*LOST_CONNECTION):
        await conn.fetchval("SELECT 1")
    conn.terminate()


async def end_presences(server: EmbeddedServer) -> None:
    rows = await ask(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'rkyc worker %'",
    )
    assert len(rows) == 2


async def end_all_connections(server: EmbeddedServer) -> None:
    await ask(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'rkyc%' AND pid <> pg_backend_pid()",
    )


async def run_through(
    fleet: Fleet, server: EmbeddedServer, folder: Path, fault: Fault, *, number: int, wait_s: float
) -> None:
    """Run two workers full of tasks into a fault; every body must run once and every job complete."""
    members = await asyncio.gather(fleet.start(), fleet.start())
    async with Client(server.dsn) as client:
        await client.enqueue_many(
            "calling", [make_input(folder, name, waits={"call_and_pause": wait_s}) for name in range(number)]
        )
    await wait_entries(folder, "began", number, step="call_and_pause")
    await fault(server)

    async def completed() -> bool:
        (row,) = await ask(server, "SELECT count(*) AS n FROM rkyc.history WHERE state = 'completed'")
        return bool(row["n"] == number)

    await wait_for(completed, timeout_s=wait_s + 60, what=f"the end of {number} jobs")
    assert all(member.is_alive for member in members)
    for what in ("began", "ended"):
        steps = count(entries(folder), what)
        assert len(steps) == 3 * number
        assert set(steps.values()) == {1}
    assert set(count(entries(folder), "asked").values()) == {1}
    assert {one.attempt for one in entries(folder)} == {1}
    assert not [line for member in members for line in member.log_lines("task.reclaimed")]
    assert not [line for member in members for line in member.log_lines("executor.failed")]
    (left,) = await ask(
        server, "SELECT (SELECT count(*) FROM rkyc.running) + (SELECT count(*) FROM rkyc.ready) AS n"
    )
    assert left["n"] == 0
