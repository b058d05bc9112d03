"""Databases for tests: a migrated template per server, a clone of it per test, dropped afterwards.

For a server of one's own: the role must be allowed to create databases. The template's name holds a
hash of the migrations, so that a server which outlives an upgrade gets a new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg

from rkyc.store.migrate import migrate, read_migrations
from rkyc.store.pool import Connection, fetch, fetch_value, translate_connect_errors
from rkyc.store.statements import load

_SQL = load(__file__)
# Any constant will do.
_TEMPLATES_KEY = 4711


async def make_template(admin_dsn: str) -> str:
    """Make the migrated template, once per server and schema, and return its name."""
    text = "\n".join(migration.sql for migration in read_migrations())
    name = f"rkyc_template_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    async with _connect(admin_dsn) as admin:
        await fetch(admin, _SQL["lock_templates"], key=_TEMPLATES_KEY)
        if await fetch_value(admin, _SQL["has_database"], name=name):
            return name
        unfinished = f"{name}_new"
        await admin.execute(f"DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {unfinished} TEMPLATE template0 ENCODING 'UTF8'")
        async with _connect(with_database(admin_dsn, unfinished)) as conn:
            await migrate(conn)
        await admin.execute(f"ALTER DATABASE {unfinished} RENAME TO {name}")
    return name


async def create_database(admin_dsn: str, template: str = "template0") -> str:
    """Clone a database under a name of chance and return the clone's DSN."""
    name = f"test_{secrets.token_hex(6)}"
    async with _connect(admin_dsn) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return with_database(admin_dsn, name)


async def drop_database(admin_dsn: str, dsn: str) -> None:
    """Drop what `create_database` made, with whatever is still connected."""
    name = urlsplit(dsn).path.lstrip("/")
    async with _connect(admin_dsn) as admin:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def with_database(dsn: str, name: str) -> str:
    """Return the DSN of another database of the same server."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


@contextlib.asynccontextmanager
async def _connect(dsn: str) -> AsyncIterator[Connection]:
    with translate_connect_errors(dsn):
        conn: Connection = await asyncpg.connect(dsn)
    try:
        yield conn
    finally:
        await conn.close()
