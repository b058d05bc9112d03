"""Databases for tests: a server per test run, a migrated template in it, a fresh clone per test.

The server runs with fsync off; tests that kill a server take a `private_server` of their own, which
is as durable as the users' one. All workers of a parallel run share the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from rkyc.store.embedded import EmbeddedServer, start_embedded, stop_embedded
from rkyc.store.scratch import create_database, drop_database, make_template, with_database

__all__ = ["FAST_SETTINGS", "fresh_database", "make_template", "private_server", "with_database"]

# Fast, and safe for nothing but tests: a power cut may lose all.
FAST_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "autovacuum_naptime": "1h",
}


@contextlib.asynccontextmanager
async def fresh_database(admin_dsn: str, template: str = "template0") -> AsyncIterator[str]:
    """Clone a database, yield its DSN, drop it with whatever is still connected."""
    dsn = await create_database(admin_dsn, template)
    try:
        yield dsn
    finally:
        await drop_database(admin_dsn, dsn)


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
