"""A PgBouncer in transaction mode in front of one database, as a process of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tests.support.engine import wait_for

PROGRAM = "/usr/sbin/pgbouncer"
# Small: transactions of different clients meet on the same connections.
SERVERS_MAX = 8


@contextlib.asynccontextmanager
async def open_pgbouncer(dsn: str) -> AsyncIterator[str]:
    """Listen on a free port for the database of `dsn`, and yield a DSN that leads through."""
    place = urlsplit(dsn)
    host = parse_qs(place.query)["host"][0]
    database, user = place.path.removeprefix("/"), place.username
    port = _free_port()
    # Not the test's folder: the server's account may not be allowed to enter that.
    folder = Path(tempfile.mkdtemp(prefix="rkyc-pgbouncer-"))
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"""[databases]
{database} = host={host} dbname={database} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SERVERS_MAX}
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
"""
    )
    process = _start(config, Path(host))
    through = f"postgresql://{user}@127.0.0.1:{port}/{database}"
    try:
        await wait_for(lambda: _answers(through), timeout_s=10, what="the pooler")
        yield through
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
        shutil.rmtree(folder)


def _start(config: Path, sockets: Path) -> subprocess.Popen[bytes]:
    """Start it as the server runs: it refuses root, so a root-owned server's namespace trick serves here too."""
    account = (sockets / ".s.PGSQL.5432").stat().st_uid
    command = [PROGRAM, "-q", str(config)]
    if account == 0:
        return subprocess.Popen(
            ["unshare", "--user", "--map-user=65534", "--", *command], stderr=subprocess.DEVNULL
        )
    return subprocess.Popen(command, user=account, stderr=subprocess.DEVNULL)


async def _answers(dsn: str) -> bool:
    try:
        conn = await asyncpg.connect(dsn, statement_cache_size=0)
    except OSError:
        return False
    await conn.close()
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
