"""A server from the system's programs, and databases in it that belong to an ordinary role."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from rkyc.store import server_binaries
from rkyc.store.embedded import EmbeddedServer
from tests.support.database import FAST_SETTINGS, fresh_database, private_server, with_database


@contextlib.asynccontextmanager
async def open_debian_server(
    folder: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[EmbeddedServer]:
    """Run a private server from the system's programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_binaries, "_from_wheel", lambda: None)
        patch.setattr(server_binaries, "_from_pg_config", lambda: None)
        async with private_server(folder, settings=settings) as server:
            yield server


@contextlib.asynccontextmanager
async def open_ordinary_database(admin_dsn: str) -> AsyncIterator[str]:
    """Make a database for a role that may connect and create schemas there, no more; yield its DSN."""
    async with fresh_database(admin_dsn) as dsn:
        admin = await asyncpg.connect(dsn)
        database = await admin.fetchval("SELECT current_database()")
        role = f"role_{database}"
        await admin.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
        await admin.execute(f"GRANT CREATE, CONNECT ON DATABASE {database} TO {role}")
        await admin.close()
        place = urlsplit(dsn)
        yield place._replace(netloc=f"{role}@{place.netloc.rpartition('@')[2]}").geturl()
        admin = await asyncpg.connect(with_database(dsn, "postgres"))
        await admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
        await admin.execute(f"DROP ROLE {role}")
        await admin.close()


@pytest.fixture(scope="session")
async def debian_dsn(anyio_backend: object, fast_folder: Path) -> AsyncIterator[str]:
    """A superuser's DSN on a server that the tests share."""
    async with open_debian_server(fast_folder / "debian", FAST_SETTINGS) as server:
        yield server.dsn


@pytest.fixture
async def ordinary_dsn(debian_dsn: str) -> AsyncIterator[str]:
    """A database of this test's own, for an ordinary role."""
    async with open_ordinary_database(debian_dsn) as dsn:
        yield dsn
