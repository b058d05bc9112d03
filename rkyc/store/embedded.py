"""The private Postgres: started from the programs of a wheel, shared by all processes of a data folder.

    DATA_DIR/pg           the data of Postgres (a link, where root must run it under another account)
    DATA_DIR/socket       its unix socket, the only way in; under /tmp when this path is too long
    DATA_DIR/postgres.log what the server says
    DATA_DIR/lock         held while a process starts the server
    DATA_DIR/users        held shared by every process that uses it, for as long as it lives

The first process starts the server, every further one adopts it. It is durable, outlives its starter
and any kill -9; whoever leaves last by `stop_embedded` stops it. After a kill -9 of all users it stays
up and the next process adopts it. After a kill -9 of the server itself, `ensure_running` of any user
starts it again, however long its recovery takes up to `START_PATIENCE_S`. Databases, roles and
migrations are not its business.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from rkyc.errors import EmbeddedError
from rkyc.store import server_binaries, server_process
from rkyc.store.server_account import Account, Place, choose_account, settle
from rkyc.store.server_binaries import find_binaries
from rkyc.store.server_probe import DATABASE, SUPERUSER, Answer, probe

__all__ = ["EmbeddedServer", "ensure_running", "find_binaries", "start_embedded", "stop_embedded"]

# Seconds for a start: a first start takes one, a recovery after a crash under load may take a minute.
START_PATIENCE_S = 120.0
# Seconds to wait for another process that starts or stops the server; longer than its own patience.
_LOCK_PATIENCE_S = START_PATIENCE_S + 30.0
# Seconds for a clean stop, which writes out all dirty pages.
_STOP_PATIENCE_S = 60.0
# Seconds after which a live server without a socket file is taken as cut off from the world.
_SOCKET_PATIENCE_S = 5.0
_LOG_BYTES_MAX = 8 << 20
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

# Written into postgresql.conf when the data folder is made; an operator may edit them there.
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "jit": "off",  # compiling costs more than any statement of ours runs
}

# The shared locks of this process on `users`, by data folder. Globals, since a lock belongs to the process.
_USING: dict[Path, int] = {}


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that answered. `pid` is its postmaster; `dsn` holds no secret."""

    dsn: str
    socket_dir: Path
    data_dir: Path
    pid: int


async def start_embedded(data_dir: Path, *, settings: Mapping[str, str] = _NO_SETTINGS) -> EmbeddedServer:
    """Return the running server of this data folder, starting it when none answers.

    This process counts as its user from now on, until `stop_embedded` or its end. `settings` are
    server settings for a start by this call; a running server keeps its own. May be called again
    at any time and by any number of processes: when the server is there it costs one handshake.

    Raises:
        EmbeddedError: it can't be started; says why and what to do.
    """
    home = await asyncio.to_thread(_open_home, Path(data_dir))
    is_new = await _register_user(home)
    try:
        place = Place.of(home)
        if await probe(place.socket) is not Answer.READY:
            async with _exclusive(home / "lock"):
                place = await _bring_up(home, settings)
    except BaseException:
        if is_new:
            _unregister_user(home)
        raise
    return _describe(place)


async def ensure_running(data_dir: Path, *, settings: Mapping[str, str] = _NO_SETTINGS) -> EmbeddedServer:
    """Start the server again if it died; the same as `start_embedded`, named for a running process."""
    return await start_embedded(data_dir, settings=settings)


async def stop_embedded(data_dir: Path) -> bool:
    """Leave the server; the last user to leave stops it. True: it is stopped now.

    Open connections of this process should be closed before: a stop cuts them.
    """
    home = await asyncio.to_thread(Path(data_dir).resolve)
    if not (home / "users").exists():
        return False
    descriptor = _USING.pop(home, None)
    if descriptor is None:
        descriptor = os.open(home / "users", os.O_RDWR | os.O_CLOEXEC)
    try:
        # Turning the shared lock into an exclusive one lets go of it first, so of several that
        # leave at once the last one always gets it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return await _stop(Place.of(home))
    finally:
        # A forked child holds the same lock: closing alone would not free it.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open_home(data_dir: Path) -> Path:
    try:
        # Root's may be passed through, not listed: another account may have to run the server.
        data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        for name in ("lock", "users"):
            os.close(os.open(data_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise EmbeddedError(
            f"the data folder {data_dir} can't be written ({error.strerror}): give this user the right to write it, "
            "point RKYC_DATA_DIR to another folder, or set RKYC_DSN to a running Postgres"
        ) from error
    return data_dir.resolve()


async def _register_user(home: Path) -> bool:
    """Take the shared lock on `users`. False: this process holds it already."""
    if home in _USING:
        return False
    descriptor = await _lock(home / "users", fcntl.LOCK_SH)
    if home in _USING:
        os.close(descriptor)
        return False
    _USING[home] = descriptor
    return True


def _unregister_user(home: Path) -> None:
    descriptor = _USING.pop(home)
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextlib.asynccontextmanager
async def _exclusive(path: Path) -> AsyncIterator[None]:
    descriptor = await _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


async def _lock(path: Path, kind: int) -> int:
    """Lock a file and return its descriptor. Asks again and again: a blocked call could not be cancelled."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        async with asyncio.timeout(_LOCK_PATIENCE_S):
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                    return descriptor
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        os.close(descriptor)
        raise EmbeddedError(
            f"another process has been starting or stopping the Postgres in {path.parent} for {_LOCK_PATIENCE_S:.0f} s: "
            f"see {path.parent / 'postgres.log'}, or end that process (`fuser {path}` names it)"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise


async def _bring_up(home: Path, settings: Mapping[str, str]) -> Place:
    """Wait for the server that is there, or start one, until it answers. The caller holds `lock`."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    started: int | None = None
    pause_s = 0.005
    while (waited_s := loop.time() - began_at) < START_PATIENCE_S:
        place = Place.of(home)
        answer = await probe(place.socket)
        if answer is Answer.READY:
            return place
        if answer is Answer.ABSENT and (started is None or not server_process.is_running(started)):
            if started is not None:
                _explain_death(place)
            postmaster = server_process.running_postmaster(place.data)
            if postmaster is None:
                await server_process.end_orphans(place.data)
                try:
                    started = await asyncio.to_thread(_launch, place, settings)
                except OSError as error:
                    raise EmbeddedError(
                        f"the Postgres in {home} can't be started ({error}): mend that, "
                        "point RKYC_DATA_DIR to another folder, or set RKYC_DSN"
                    ) from error
            elif waited_s > _SOCKET_PATIENCE_S and not place.socket.exists():
                # Something cleaned up its socket: nobody can reach this server any more.
                os.kill(postmaster, signal.SIGINT)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)
    raise EmbeddedError(
        f"the Postgres in {home} did not answer within {START_PATIENCE_S:.0f} s; it may still be recovering: "
        f"try again, or see {home / 'postgres.log'}, which ends: {_log_tail(home)}"
    )


def _explain_death(place: Place) -> None:
    """Raise what the log says about a server that died while starting, unless another try may do."""
    tail = _log_tail(place.home)
    if "shared memory block" in tail:
        return  # backends of a killed server that we can't see are still ending
    raise EmbeddedError(
        f"the Postgres in {place.data} ended while starting: {tail}; correct that, point RKYC_DATA_DIR to another "
        f"folder, or set RKYC_DSN (the whole log: {place.home / 'postgres.log'})"
    )


def _launch(place: Place, settings: Mapping[str, str]) -> int:
    """Start a postmaster and return its pid; it may not answer yet."""
    account = choose_account(place)
    place = settle(place, account)
    binaries = _usable_binaries(place, account)
    if not (place.data / "PG_VERSION").exists():
        _initialise(place, account, binaries, settings)
    server_process.disown_pid_file(place.data)
    # No server lives here; the lock file beside its socket may name a pid that does.
    for leftover in (place.socket, place.socket.with_name(f"{place.socket.name}.lock")):
        leftover.unlink(missing_ok=True)
    command = [str(binaries / "postgres"), "-D", str(place.data)]
    chosen = {
        **settings,
        "listen_addresses": "",
        "port": "5432",  # only a part of the socket's name
        "unix_socket_directories": str(place.sockets),
        "unix_socket_permissions": "0700",
    }
    for name, value in chosen.items():
        command += ["-c", f"{name}={value}"]
    log_path = place.home / "postgres.log"
    with contextlib.suppress(FileNotFoundError):
        if log_path.stat().st_size > _LOG_BYTES_MAX:
            log_path.replace(log_path.with_name("postgres.log.1"))
    with open(log_path, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        pid = account.spawn(command, log)
    server_process.adopt_child(pid)
    return pid


def _usable_binaries(place: Place, account: Account) -> Path:
    binaries = find_binaries()
    is_executable = server_binaries.make_executable(binaries)
    if (
        is_executable
        and account.reaches(binaries / "postgres")
        and not server_binaries.vanishes_at_exit(binaries)
    ):
        return binaries
    return server_binaries.copy_binaries(binaries, place.data.parent)


def _initialise(place: Place, account: Account, binaries: Path, settings: Mapping[str, str]) -> None:
    """Make the data folder beside its final name, so that it is there whole or not at all."""
    unfinished = place.data.with_name("pg.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account.own(unfinished)
    command = [str(binaries / "initdb"), "-D", str(unfinished), f"--username={SUPERUSER}", "--auth=trust"]
    # With the plain C locale pg_trgm finds no letters in Korean text.
    command += ["--encoding=UTF8", "--locale=C.UTF-8"]
    if settings.get("fsync") == "off":
        command.append("--no-sync")
    try:
        done = account.run(command, timeout_s=START_PATIENCE_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(
            f"can't run {binaries / 'initdb'} ({error}): reinstall rkyc[embedded], or set RKYC_DSN"
        ) from error
    if done.returncode != 0:
        said = " | ".join(done.stdout.decode(errors="replace").strip().splitlines()[-4:])
        raise EmbeddedError(
            f"can't make the Postgres data folder {place.data}: {said}; make room or mend that, "
            "point RKYC_DATA_DIR to another folder, or set RKYC_DSN"
        )
    with open(unfinished / "postgresql.conf", "a", encoding="utf-8") as file:
        file.write("\n# rkyc\n" + "".join(f"{name} = '{value}'\n" for name, value in _SETTINGS.items()))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(place.data)
    # Without this a power cut could bring back the unfinished name, whose folder the next start removes.
    parent = os.open(place.data.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


async def _stop(place: Place) -> bool:
    """Ask for a fast shutdown and wait for its end."""
    pid = server_process.running_postmaster(place.data)
    if pid is None:
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    try:
        async with asyncio.timeout(_STOP_PATIENCE_S):
            await server_process.wait_for_end(pid)
    except TimeoutError:
        return False  # it goes on stopping without us; nothing is lost
    if place.sockets.parent != place.data.parent:
        with contextlib.suppress(OSError):
            place.sockets.rmdir()
    return True


def _describe(place: Place) -> EmbeddedServer:
    return EmbeddedServer(
        dsn=f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(place.sockets), safe='/')}",
        socket_dir=place.sockets,
        data_dir=place.home,
        pid=server_process.read_pid(place.data) or 0,
    )


def _log_tail(home: Path) -> str:
    try:
        text = (home / "postgres.log").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return " | ".join(text.strip().splitlines()[-6:])[-1500:]
