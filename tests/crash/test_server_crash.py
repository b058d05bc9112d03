"""The database crashes, restarts or loses connections under running tasks: bodies run on, once each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.store.embedded import EmbeddedServer
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.database import private_server
from tests.support.engine import wait_for
from tests.support.fleet import open_fleet
from tests.support.server_faults import (
    Fault,
    crash_backend,
    end_all_connections,
    end_presences,
    kill_postmaster,
    restart_immediately,
    run_through,
    stay_away,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
NUMBER = 40
WAIT_S = 4


@pytest.fixture
async def server(anyio_backend: object, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with private_server(tmp_path) as running:
        yield running


async def test_the_postmaster_of_the_embedded_server_is_killed(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path, data_dir=server.data_dir) as fleet:
        await run_through(fleet, server, tmp_path, kill_postmaster, number=NUMBER, wait_s=WAIT_S)


@pytest.mark.parametrize(
    "fault", [restart_immediately, stay_away, crash_backend, end_presences, end_all_connections]
)
async def test_a_server_by_dsn(server: EmbeddedServer, tmp_path: Path, fault: Fault) -> None:
    async with open_fleet(tmp_path, dsn=server.dsn) as fleet:
        await run_through(fleet, server, tmp_path, fault, number=NUMBER, wait_s=WAIT_S)


async def test_who_dies_after_a_crash_of_the_server_is_missed_all_the_same(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path, dsn=server.dsn) as fleet:
        first, second = await asyncio.gather(fleet.start(), fleet.start())
        await crash_backend(server)
        for member in (first, second):
            await wait_for(lambda member=member: _has_returned(member), timeout_s=20)
        async with Client(server.dsn) as client:
            await client.enqueue_many("single", [make_input(tmp_path, name, wait=3) for name in range(20)])
        await wait_entries(tmp_path, "began", 20)
        held = {one.job for one in entries(tmp_path) if one.pid == first.pid}
        killed_at = time.monotonic()
        await first.kill()
        await wait_entries(tmp_path, "began", 20 + len(held))
        # Not 12 s: a presence that was seen after the crash is judged at once.
        assert time.monotonic() - killed_at <= 6.0


async def _has_returned(member: Any) -> bool:
    return bool(member.log_lines("presence.restored"))
