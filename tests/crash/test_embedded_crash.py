"""The private Postgres after kill -9 of its owner, of itself, and with lies in its pid file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from rkyc.store.embedded import EmbeddedServer, ensure_running, start_embedded, stop_embedded
from rkyc.store.pool import LOST_CONNECTION
from rkyc.store.server_process import is_running, wait_for_end
from tests.support.database import private_server
from tests.support.embedded_child import spawn_user

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def server(anyio_backend: object, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with private_server(tmp_path) as running:
        yield running


@pytest.fixture
def bystander() -> Iterator[int]:
    """The pid of a live process that is no Postgres."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.kill()
    process.communicate()


@pytest.fixture
def zombie() -> Iterator[int]:
    """The pid of a process that has ended but was not waited for."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


async def query(dsn: str, sql: str) -> object:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


async def kill_server(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await wait_for_end(pid)


async def test_the_server_outlives_a_killed_owner_and_is_adopted(tmp_path: Path) -> None:
    async with spawn_user(tmp_path / "server") as owner:
        await owner.kill()
    server = await start_embedded(tmp_path / "server")
    assert server.pid == owner.report["pid"]
    assert await stop_embedded(tmp_path / "server") is True
    assert not is_running(server.pid)


async def test_a_killed_server_comes_back_with_every_acknowledged_row(server: EmbeddedServer) -> None:
    await query(server.dsn, "CREATE TABLE written (n int)")
    acknowledged = await write_through_kills(server, kills=3)
    # The last kill may have left a backend that acknowledged one more row.
    await ensure_running(server.data_dir)
    rows = await query(server.dsn, "SELECT array_agg(n ORDER BY n) FROM written")
    assert isinstance(rows, list)
    assert len(acknowledged) > 100
    assert set(acknowledged) <= set(rows)
    # What was not acknowledged may be there, since its answer may have been lost; nothing twice.
    assert len(rows) == len(set(rows))


async def write_through_kills(server: EmbeddedServer, *, kills: int) -> list[int]:
    """Commit row after row while the server is killed; return the rows whose commit was acknowledged."""
    acknowledged: list[int] = []
    enough = asyncio.Event()

    async def write() -> None:
        n = 0
        while not enough.is_set():
            with contextlib.suppress(*LOST_CONNECTION, OSError):
                await ensure_running(server.data_dir)
                conn = await asyncpg.connect(server.dsn)
                try:
                    while not enough.is_set():
                        n += 1
                        await conn.execute("INSERT INTO written VALUES ($1)", n)
                        acknowledged.append(n)
                finally:
                    conn.terminate()

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        for _ in range(kills):
            goal = len(acknowledged) + 200
            while len(acknowledged) < goal:
                await asyncio.sleep(0.005)
            os.kill((await ensure_running(server.data_dir)).pid, signal.SIGKILL)
        goal = len(acknowledged) + 1
        while len(acknowledged) < goal:
            await asyncio.sleep(0.005)
        enough.set()
    return acknowledged


async def test_several_processes_bring_a_killed_server_back_once(server: EmbeddedServer) -> None:
    await kill_server(server.pid)
    async with AsyncExitStack() as stack:
        users = await asyncio.gather(
            *(stack.enter_async_context(spawn_user(server.data_dir)) for _ in range(3))
        )
        assert len({user.report["pid"] for user in users}) == 1
        assert users[0].report["pid"] != server.pid


async def test_many_tasks_of_one_process_bring_it_back_once(server: EmbeddedServer) -> None:
    await kill_server(server.pid)
    servers = await asyncio.gather(*(ensure_running(server.data_dir) for _ in range(20)))
    assert len({found.pid for found in servers}) == 1


async def test_a_backend_that_outlived_the_server_is_ended_first(server: EmbeddedServer) -> None:
    conn = await asyncpg.connect(server.dsn)
    backend = await conn.fetchval("SELECT pg_backend_pid()")
    # A backend in the middle of a computation does not look whether its postmaster lives.
    busy = asyncio.ensure_future(conn.execute("SELECT count(*) FROM generate_series(1, 3e9::bigint)"))
    while await query(server.dsn, f"SELECT state FROM pg_stat_activity WHERE pid = {backend}") != "active":
        await asyncio.sleep(0.005)
    await kill_server(server.pid)
    assert is_running(backend)
    again = await ensure_running(server.data_dir)
    assert not is_running(backend)
    assert again.pid != server.pid
    with pytest.raises(LOST_CONNECTION):
        await busy


async def test_a_shell_that_stands_in_the_data_folder_is_left_alone(server: EmbeddedServer) -> None:
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", "read line", stdin=subprocess.PIPE, cwd=server.data_dir / "pg"
    )
    await kill_server(server.pid)
    await ensure_running(server.data_dir)
    assert shell.returncode is None
    await shell.communicate(b"\n")
    assert shell.returncode == 0


async def test_a_reused_pid_in_the_pid_file_is_no_server(server: EmbeddedServer, bystander: int) -> None:
    await kill_server(server.pid)
    claim_pid(server, bystander)
    assert await query((await ensure_running(server.data_dir)).dsn, "SELECT 1") == 1


async def test_a_zombie_in_the_pid_file_is_no_server(server: EmbeddedServer, zombie: int) -> None:
    await kill_server(server.pid)
    claim_pid(server, zombie)
    assert await query((await ensure_running(server.data_dir)).dsn, "SELECT 1") == 1


async def test_the_postmaster_of_another_folder_in_the_pid_file_is_no_server(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with private_server(tmp_path / "other") as other:
        await kill_server(server.pid)
        claim_pid(server, other.pid)
        again = await ensure_running(server.data_dir)
        assert again.pid != other.pid
        assert await query(other.dsn, "SELECT 1") == 1


async def test_a_server_that_its_starter_has_not_waited_for_is_replaced(tmp_path: Path) -> None:
    async with private_server(tmp_path) as adopted, AsyncExitStack() as stack:
        await stop_embedded(adopted.data_dir)
        starter = await stack.enter_async_context(spawn_user(adopted.data_dir))
        pid = starter.report["pid"]
        starter.process.send_signal(signal.SIGSTOP)  # so that it can't reap its child
        os.kill(pid, signal.SIGKILL)
        await wait_for_end(pid)
        server = await ensure_running(adopted.data_dir)
        assert server.pid != pid
        assert await query(server.dsn, "SELECT 1") == 1


@pytest.mark.parametrize("content", ["", "12", "not a number\n/somewhere\n"])
async def test_a_torn_pid_file_does_not_stop_the_start(server: EmbeddedServer, content: str) -> None:
    await kill_server(server.pid)
    (server.data_dir / "pg" / "postmaster.pid").write_text(content)
    assert await query((await ensure_running(server.data_dir)).dsn, "SELECT 1") == 1


async def test_a_folder_left_half_made_is_made_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "server" / "pg.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    async with private_server(tmp_path) as server:
        assert await query(server.dsn, "SELECT 1") == 1
        assert not unfinished.exists()


async def test_a_server_whose_socket_was_cleaned_up_is_restarted(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.store.embedded._SOCKET_PATIENCE_S", 0.0)
    for path in server.socket_dir.iterdir():
        path.unlink()
    again = await ensure_running(server.data_dir)
    assert await query(again.dsn, "SELECT 1") == 1
    assert not is_running(server.pid)


async def test_ctrl_c_in_the_starters_session_leaves_the_server(tmp_path: Path) -> None:
    async with spawn_user(tmp_path / "server") as user:
        pid = user.report["pid"]
        assert os.getsid(pid) == pid
        user.process.send_signal(signal.SIGINT)
        await user.process.wait()
        assert is_running(pid)
    await stop_embedded(tmp_path / "server")
    assert not is_running(pid)


def claim_pid(server: EmbeddedServer, pid: int) -> None:
    """Write a pid into both files by which the killed server still claims to live."""
    for path in (server.data_dir / "pg" / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432.lock"):
        path.write_text("\n".join([str(pid), *path.read_text().split("\n")[1:]]))
