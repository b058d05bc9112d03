"""Brings the schema `rkyc` to the version of this program.

Migrations are numbered `.sql` files, applied in order, each in a transaction of its own, under a
transaction-level advisory lock, so that processes which start together do it once. They only go
forward and are never edited; a schema newer than the program refuses the start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from rkyc.errors import StoreUnsuitableError
from rkyc.store.pool import Connection

_FOLDER = Path(__file__).parent / "migrations"
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
# Any constant will do: "rkyc" in ASCII.
_LOCK_KEY = 0x726B7963
_IS_THERE = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'rkyc' AND tablename = 'schema_version')"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `0001_engine.sql` is number 1, name `engine`."""

    number: int
    name: str
    sql: str


def read_migrations() -> list[Migration]:
    """Return all migrations of this program in order."""
    found = []
    for path in sorted(_FOLDER.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return found


def write_script() -> str:
    """Return all migrations as one script for psql, for a database without the schema."""
    parts = [
        f"BEGIN;\n{migration.sql.strip()}\n"
        f"INSERT INTO rkyc.schema_version (number, name) VALUES ({migration.number}, '{migration.name}');\nCOMMIT;\n"
        for migration in read_migrations()
    ]
    return "\\set ON_ERROR_STOP on\n" + "\n".join(parts)


async def migrate(conn: Connection) -> list[Migration]:
    """Apply what is missing and return it.

    Raises:
        StoreUnsuitableError: the role may not create the schema, or the schema is newer than the program.
    """
    applied: list[Migration] = []
    migrations = read_migrations()
    if await _version(conn) == migrations[-1].number:
        return applied
    try:
        for migration in migrations:
            async with conn.transaction():
                await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
                if await _version(conn) >= migration.number:
                    continue
                await conn.execute(migration.sql)
                await conn.execute(
                    "INSERT INTO rkyc.schema_version (number, name) VALUES ($1, $2)",
                    migration.number,
                    migration.name,
                )
                applied.append(migration)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreUnsuitableError(
            f"the role may not create the schema rkyc ({error}): GRANT CREATE ON DATABASE to it, "
            "or let an owner run `rkyc migrate --sql | psql` once"
        ) from error
    await check_version(conn)
    return applied


async def check_version(conn: Connection) -> None:
    """Refuse a schema that this program does not know.

    Raises:
        StoreUnsuitableError: newer than the program, or not migrated.
    """
    newest = read_migrations()[-1].number
    version = await _version(conn)
    if version > newest:
        raise StoreUnsuitableError(
            f"the schema rkyc is at version {version}, this program knows {newest}: upgrade rkyc, or use another database"
        )
    if version < newest:
        raise StoreUnsuitableError(
            f"the schema rkyc is at version {version}, expected {newest}: run `rkyc migrate`"
        )


async def _version(conn: Connection) -> int:
    """Return the number of the last applied migration; 0 when there is no schema yet."""
    try:
        # Not to_regclass(): after waiting for the lock it may still answer from a cache of before.
        if not await conn.fetchval(_IS_THERE):
            return 0
        return int(await conn.fetchval("SELECT coalesce(max(number), 0) FROM rkyc.schema_version"))
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreUnsuitableError(
            f"the role may not use the schema rkyc ({error}): let its owner "
            "GRANT USAGE ON SCHEMA rkyc, and SELECT, INSERT, UPDATE, DELETE on its tables, to it"
        ) from error
