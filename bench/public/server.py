"""The server that the cases run on: private, with the settings of the public benchmark, and stopped at will.

Its postgres.conf there raises max_connections to 400 and spells out the defaults of autovacuum; the
same is set here. With BENCH_DSN the cases run on a server of yours, which is not restarted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from bench.machine import describe_postgres
from rkyc.store.embedded import start_embedded, stop_embedded

_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "400",
    "shared_buffers": "256MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "wal_level": "replica",
    "autovacuum": "on",
    "autovacuum_naptime": "60s",
    "autovacuum_vacuum_cost_delay": "2ms",
    "autovacuum_vacuum_cost_limit": "200",
    "autovacuum_vacuum_scale_factor": "0.2",
    "autovacuum_analyze_scale_factor": "0.1",
    "autovacuum_vacuum_threshold": "50",
    "autovacuum_analyze_threshold": "50",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers; `home` is its folder when it is private, and None when it is yours."""

    dsn: str
    folder: Path
    home: Path | None
    postgres: dict[str, str]

    async def stop(self) -> None:
        """Shut it down at once, as `docker compose stop` does: connections are cut, nothing is lost."""
        assert self.home is not None
        await stop_embedded(self.home)

    async def start(self) -> None:
        """Start it again, and wait until it answers."""
        assert self.home is not None
        await start_embedded(self.home, settings=_SETTINGS)

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Make a database with the extension that counts dead tuples; yield its DSN."""
        name = f"bench_{secrets.token_hex(4)}"
        dsn = urlsplit(self.dsn)._replace(path=f"/{name}").geturl()
        await self._run(self.dsn, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'", "CHECKPOINT")
        try:
            await self._run(dsn, "CREATE EXTENSION pgstattuple")
            yield dsn
        finally:
            await self._run(self.dsn, f"DROP DATABASE {name} WITH (FORCE)")

    async def _run(self, dsn: str, *statements: str) -> None:
        conn = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await conn.execute(statement)
        finally:
            await conn.close()


@contextlib.asynccontextmanager
async def open_server() -> AsyncIterator[Server]:
    """Start or reach the server, and clean up at the end."""
    folder = Path(tempfile.mkdtemp(prefix="rkyc-public-"))
    given = os.environ.get("BENCH_DSN")
    home = None if given else folder / "server"
    try:
        dsn = given or (await start_embedded(folder / "server", settings=_SETTINGS)).dsn
        conn = await asyncpg.connect(dsn)
        try:
            postgres = await describe_postgres(conn)
        finally:
            await conn.close()
        yield Server(dsn, folder, home, postgres)
    finally:
        if home is not None:
            await stop_embedded(home)
            # Under root the data may lie elsewhere, behind a link.
            shutil.rmtree((home / "pg").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
