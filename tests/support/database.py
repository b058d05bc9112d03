"""Databases for tests: a server per test run, a migrated template in it, a fresh clone per test.

The server runs with fsync off; tests that kill a server take a `private_server` of their own, which
is as durable as the users' one. All workers of a parallel run share the first.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from rkyc.store.embedded import EmbeddedServer, start_embedded, stop_embedded
from rkyc.store.migrate import migrate

# Fast, and safe for nothing but tests: a power cut may lose all.
FAST_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "autovacuum_naptime": "1h",
}
_TEMPLATE = "rkyc_template"
# Any constant: workers of one run make the template once.
_TEMPLATE_LOCK = 4711


def with_database(dsn: str, name: str) -> str:
    """Return the DSN of another database of the same server."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


async def make_template(admin_dsn: str) -> str:
    """Make the migrated template once per server and return its name."""
    async with _connect(admin_dsn) as admin:
        await admin.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
        if await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", _TEMPLATE):
            return _TEMPLATE
        unfinished = f"{_TEMPLATE}_new"
        await admin.execute(f"DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {unfinished} TEMPLATE template0 ENCODING 'UTF8'")
        async with _connect(with_database(admin_dsn, unfinished)) as conn:
            await migrate(conn)
        await admin.execute(f"ALTER DATABASE {unfinished} RENAME TO {_TEMPLATE}")
    return _TEMPLATE


@contextlib.asynccontextmanager
async def fresh_database(admin_dsn: str, template: str = "template0") -> AsyncIterator[str]:
    """Clone a database, yield its DSN, drop it with whatever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    async with _connect(admin_dsn) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield with_database(admin_dsn, name)
    finally:
        async with _connect(admin_dsn) as admin:
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.asynccontextmanager
async def private_server(
    folder: Path, *, settings: Mapping[str, str] | None = None
) -> AsyncIterator[EmbeddedServer]:
    """Run a durable server of the test's own in `folder`; whoever killed it meanwhile, it is gone afterwards."""
    data_dir = folder / "server"
    try:
        yield await start_embedded(data_dir, settings={"shared_buffers": "32MB", **(settings or {})})
    finally:
        await stop_embedded(data_dir)


@contextlib.asynccontextmanager
async def _connect(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    conn = await asyncpg.connect(dsn)
    try:
        yield conn
    finally:
        await conn.close()
