"""The view of who holds back vacuum: sessions of any kind, as any role sees them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from rkyc.store.pool import Connection, Pool

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def opened(dsn: str, isolation: Any, sql: str) -> AsyncIterator[str]:
    """Run a statement in a transaction that stays open; yield the session's pid as text."""
    conn = await asyncpg.connect(dsn)
    try:
        async with conn.transaction(isolation=isolation):
            await conn.execute(sql)
            yield str(conn.get_server_pid())
    finally:
        await conn.close()


async def holders(conn: Connection, *pids: str) -> list[asyncpg.Record]:
    """Return the rows of these sessions, the one to blame first."""
    rows: list[asyncpg.Record] = await conn.fetch(
        "SELECT * FROM rkyc.horizon_holder WHERE id = ANY ($1) ORDER BY age_xids DESC, is_origin DESC",
        list(pids),
    )
    return rows


async def test_a_pinned_snapshot_holds_and_an_idle_reader_does_not(dsn: str, pool: Pool) -> None:
    async with (
        opened(dsn, "repeatable_read", "SELECT FROM rkyc.job") as pinned,
        opened(dsn, "read_committed", "SELECT FROM rkyc.job") as idle,
        pool.connection() as conn,
    ):
        assert [row["id"] for row in await holders(conn, pinned, idle)] == [pinned]
        assert (
            await conn.fetchval("SELECT count(*) FROM rkyc.horizon_holder WHERE id = pg_backend_pid()::text")
            == 0
        )


async def test_who_writes_is_named_before_those_who_began_meanwhile(dsn: str, pool: Pool) -> None:
    async with (
        opened(dsn, "read_committed", "CREATE TABLE public.t (n int)") as writer,
        # As old as the writer, or older, where another test's transaction was there before.
        opened(dsn, "repeatable_read", "SELECT FROM rkyc.job") as reader,
        pool.connection() as conn,
    ):
        first, second = await holders(conn, writer, reader)
        assert {first["id"], second["id"]} == {writer, reader}
        assert first["id"] == writer or first["age_xids"] > second["age_xids"]


async def test_a_writer_of_another_database_holds_and_a_reader_there_does_not(
    dsn: str, pool: Pool, admin_dsn: str
) -> None:
    async with (
        opened(admin_dsn, "read_committed", "CREATE TEMP TABLE t (n int)") as writer,
        opened(admin_dsn, "repeatable_read", "SELECT FROM pg_class") as reader,
        pool.connection() as conn,
    ):
        assert [row["id"] for row in await holders(conn, writer, reader)] == [writer]


async def test_an_ordinary_role_is_told_who_and_how_old(dsn: str, pool: Pool) -> None:
    async with opened(dsn, "repeatable_read", "SELECT FROM rkyc.job") as pinned, pool.connection() as conn:
        role = f"ordinary_{pinned}"
        await conn.execute(f"CREATE ROLE {role} NOSUPERUSER")
        try:
            await conn.execute(
                f"GRANT USAGE ON SCHEMA rkyc TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA rkyc TO {role}"
            )
            await conn.execute(f"SET ROLE {role}")
            (row,) = await holders(conn, pinned)
        finally:
            await conn.execute("RESET ROLE")
            await conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert row["owner"] is not None and row["age_xids"] >= 0
    assert (row["since"], row["state"]) == (None, None)
