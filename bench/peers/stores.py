"""Where a rival keeps its jobs: a fresh database on the bench's Postgres, or a private Redis that was emptied.

A store is asked one question, by us and not by the rival's client: is every job finished? What that
means is the rival's own: a state, a row that moved on, or a row that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import asyncpg

from bench.harness import Bench, Connection
from bench.peers.errors import RivalError

_START_PATIENCE_S = 20.0


class OpenStore(Protocol):
    """A store with one rival's jobs in it."""

    @property
    def url(self) -> str:
        """What the rival connects to."""

    @property
    def pid(self) -> int | None:
        """The server's first process, when it is on this machine."""

    async def is_drained(self) -> bool:
        """Whether every job is finished."""

    async def settle(self) -> None:
        """Have the server look at what was just written, before a worker starts."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What the bench has running: Postgres always, Redis when a rival needs it."""

    bench: Bench
    redis: RedisServer | None


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """`drained` is a statement: true when every job is finished."""

    drained: str

    @contextlib.asynccontextmanager
    async def open(self, servers: Servers) -> AsyncIterator[OpenStore]:
        """Make a database, and drop it at the end."""
        dsn, name = servers.bench.dsn, f"bench_{secrets.token_hex(4)}"
        admin = await asyncpg.connect(dsn)
        try:
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
            # What earlier runs left to write must not be written in the next one.
            await admin.execute("CHECKPOINT")
            url = urlsplit(dsn)._replace(path=f"/{name}").geturl()
            conn = await asyncpg.connect(url)
            try:
                yield _OpenPostgres(url, servers.bench.postmaster, conn, self.drained)
            finally:
                await conn.close()
                await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await admin.close()


@dataclass(frozen=True, slots=True)
class _OpenPostgres:
    url: str
    pid: int | None
    conn: Connection
    drained: str

    async def is_drained(self) -> bool:
        return bool(await self.conn.fetchval(self.drained))

    async def settle(self) -> None:
        # A table that was just filled has no statistics until autovacuum comes by.
        await self.conn.execute("ANALYZE")


@dataclass(frozen=True, slots=True)
class RedisStore:
    """`unfinished` are commands that each count jobs: all are finished when every answer is 0."""

    unfinished: Sequence[str]

    @contextlib.asynccontextmanager
    async def open(self, servers: Servers) -> AsyncIterator[OpenStore]:
        """Empty the private Redis.

        Raises:
            RivalError: there is none.
        """
        if servers.redis is None:
            raise RivalError("redis-server is not on PATH: install it (Debian: apt-get install redis-server)")
        reader, writer = await asyncio.open_connection("127.0.0.1", servers.redis.port)
        try:
            store = _OpenRedis(servers.redis.url, servers.redis.pid, self.unfinished, reader, writer)
            await store.ask("FLUSHALL")
            yield store
        finally:
            writer.close()
            await writer.wait_closed()


@dataclass(frozen=True, slots=True)
class _OpenRedis:
    url: str
    pid: int | None
    unfinished: Sequence[str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def is_drained(self) -> bool:
        answers = [await self.ask(command) for command in self.unfinished]
        return all(answer == ":0" for answer in answers)

    async def settle(self) -> None:
        pass

    async def ask(self, command: str) -> str:
        """Send a command of plain words and return its one line."""
        self.writer.write(f"{command}\r\n".encode())
        answer = (await self.reader.readline()).decode().strip()
        if answer.startswith("-") or not answer:
            raise RivalError(f"redis answered {answer!r} to {command}")
        return answer


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A private Redis that writes each command to its log and syncs it every second."""

    port: int
    pid: int
    version: str

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@contextlib.asynccontextmanager
async def start_redis(folder: Path, is_needed: bool) -> AsyncIterator[RedisServer | None]:
    """Run Redis with its files in a folder; None when nobody needs it or this machine has none."""
    if not is_needed or shutil.which("redis-server") is None:
        yield None
        return
    port = _free_port()
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": folder,
        "appendonly": "yes",
        "appendfsync": "everysec",
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    process = await asyncio.create_subprocess_exec(
        "redis-server", *words, "--save", "", stdout=subprocess.DEVNULL
    )
    try:
        await _wait_for_port(port)
        yield RedisServer(port, process.pid, _redis_version())
    finally:
        process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _redis_version() -> str:
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split("v=")[1].split()[0]


async def _wait_for_port(port: int) -> None:
    async with asyncio.timeout(_START_PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.02)
