"""Migrations: once, in order, forward only, and what is said when they can't be applied."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from rkyc.errors import StoreUnsuitableError
from rkyc.store import migrate as module
from rkyc.store.migrate import check_version, migrate, read_migrations

pytestmark = pytest.mark.anyio

_FIRST = "CREATE SCHEMA rkyc; CREATE TABLE rkyc.schema_version (number int PRIMARY KEY, name text NOT NULL);"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of migrations in place of the program's own."""
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    (tmp_path / "0001_first.sql").write_text(_FIRST)
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE rkyc.second (n int)")
    (tmp_path / "notes.sql").write_text("not a migration")
    return tmp_path


async def test_migrations_are_applied_once_and_in_order(folder: Path, empty_dsn: str) -> None:
    conn = await asyncpg.connect(empty_dsn)
    assert [migration.name for migration in await migrate(conn)] == ["first", "second"]
    assert await migrate(conn) == []
    (folder / "0003_third.sql").write_text("ALTER TABLE rkyc.second ADD m int")
    with pytest.raises(StoreUnsuitableError, match="at version 2, expected 3: run `rkyc migrate`"):
        await check_version(conn)
    assert [migration.number for migration in await migrate(conn)] == [3]
    await check_version(conn)
    await conn.close()


async def test_processes_that_start_together_migrate_once(folder: Path, empty_dsn: str) -> None:
    connections = [await asyncpg.connect(empty_dsn) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(conn) for conn in connections))
    assert sorted(migration.number for part in applied for migration in part) == [1, 2]
    for conn in connections:
        await conn.close()


async def test_a_migration_that_fails_leaves_nothing_of_itself(folder: Path, empty_dsn: str) -> None:
    (folder / "0003_broken.sql").write_text("CREATE TABLE rkyc.third (n int); SELECT 1 / 0")
    conn = await asyncpg.connect(empty_dsn)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(conn)
    assert await conn.fetchval("SELECT to_regclass('rkyc.third')") is None
    assert await conn.fetchval("SELECT max(number) FROM rkyc.schema_version") == 2
    await conn.close()


async def test_a_schema_newer_than_the_program_is_refused(folder: Path, empty_dsn: str) -> None:
    conn = await asyncpg.connect(empty_dsn)
    await migrate(conn)
    (folder / "0002_second.sql").unlink()
    with pytest.raises(StoreUnsuitableError, match="at version 2, this program knows 1: upgrade rkyc"):
        await migrate(conn)
    await conn.close()


async def test_a_role_without_rights_is_told_what_to_grant(folder: Path, empty_dsn: str) -> None:
    async with _as_role(empty_dsn) as conn:
        with pytest.raises(
            StoreUnsuitableError, match=r"may not create the schema rkyc .*GRANT CREATE ON DATABASE"
        ):
            await migrate(conn)


async def test_a_role_that_may_not_read_the_schema_is_told_what_to_grant(
    folder: Path, empty_dsn: str
) -> None:
    owner = await asyncpg.connect(empty_dsn)
    await migrate(owner)
    await owner.close()
    async with _as_role(empty_dsn) as conn:
        with pytest.raises(StoreUnsuitableError, match=r"may not use the schema rkyc .*GRANT USAGE"):
            await check_version(conn)


async def test_the_programs_own_migrations_build_the_schema(empty_dsn: str) -> None:
    conn = await asyncpg.connect(empty_dsn)
    assert await migrate(conn) == read_migrations()
    assert await conn.fetchval("SELECT max(number) FROM rkyc.schema_version") == read_migrations()[-1].number
    await conn.close()


async def test_an_ordinary_role_can_own_the_schema(empty_dsn: str) -> None:
    async with _as_role(empty_dsn, may_create=True) as conn:
        assert await migrate(conn) == read_migrations()


def test_the_programs_own_migrations_are_numbered_without_gaps_and_say_their_lock() -> None:
    migrations = read_migrations()
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    for migration in migrations:
        assert re.match(r"--.*\block", migration.sql.split("\n\n")[0], re.DOTALL | re.IGNORECASE), (
            migration.name
        )


@contextlib.asynccontextmanager
async def _as_role(
    dsn: str, *, may_create: bool = False
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect under a role of the test's own that has no right but CONNECT (and CREATE)."""
    conn = await asyncpg.connect(dsn)
    database = await conn.fetchval("SELECT current_database()")
    role = f"role_of_{database}"
    await conn.execute(f"CREATE ROLE {role}")
    if may_create:
        await conn.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
    await conn.execute(f"SET SESSION AUTHORIZATION {role}")
    try:
        yield conn
    finally:
        await conn.execute("RESET SESSION AUTHORIZATION")
        await conn.execute(f"DROP OWNED BY {role}")
        await conn.execute(f"DROP ROLE {role}")
        await conn.close()
