"""The pool: what a caller is told when Postgres can't be had, can't serve, or goes away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from rkyc.errors import (
    DatabaseConnectionError,
    OutputInvalidError,
    StepTimeoutError,
    StoreUnavailableError,
    StoreUnsuitableError,
)
from rkyc.store.embedded import EmbeddedServer
from rkyc.store.pool import (
    QUEUE_SETTINGS,
    Connection,
    Pool,
    describe_dsn,
    execute_many,
    fetch,
    fetch_row,
    fetch_value,
    refuse_data_errors,
    translate_errors,
)
from rkyc.store.statements import Statement
from tests.support.database import private_server, with_database
from tests.support.fake_postgres import fake_postgres

pytestmark = pytest.mark.anyio

_SLEEP = "SELECT pg_sleep(60)"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, held so that nobody else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
async def strict_server(anyio_backend: object, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server where the role `limited` needs the password `right` and may do nothing."""
    async with private_server(tmp_path) as server:
        rules = server.data_dir / "pg" / "pg_hba.conf"
        rules.write_text("local all limited scram-sha-256\n" + rules.read_text())
        conn = await asyncpg.connect(server.dsn)
        await conn.execute("CREATE ROLE limited LOGIN PASSWORD 'right'; SELECT pg_reload_conf()")
        await conn.execute("CREATE DATABASE closed")
        await conn.execute("REVOKE ALL ON DATABASE closed FROM public")
        await conn.close()
        yield server


def as_limited(server: EmbeddedServer, password: str, database: str = "postgres") -> str:
    return f"postgresql://limited:{password}@/{database}?host={server.socket_dir}"


async def test_a_closed_port_is_unavailable_and_named(closed_port: int) -> None:
    with pytest.raises(
        StoreUnavailableError, match=f"127.0.0.1:{closed_port}/db can't be reached.*RKYC_DSN"
    ) as caught:
        await Pool.open(f"postgresql://user:secret@127.0.0.1:{closed_port}/db")
    assert "secret" not in caught.value.message
    assert caught.value.retryable


async def test_a_missing_socket_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=str(tmp_path)):
        await Pool.open(f"postgresql://user@/db?host={tmp_path}")


async def test_a_silent_server_is_unavailable_after_the_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match="TimeoutError"):
            await Pool.open(f"postgresql://user@127.0.0.1:{port}/db?sslmode=disable", connect_timeout_s=0.05)


async def test_a_server_that_is_too_old_is_unsuitable() -> None:
    async with fake_postgres(version="13.16 (Debian 13.16-1)") as dsn:
        with pytest.raises(StoreUnsuitableError, match=r"Postgres 13 is too old: rkyc needs 15 or newer"):
            await Pool.open(dsn)


@pytest.mark.parametrize("password", ["wrong", ""], ids=["wrong", "missing"])
async def test_a_bad_password_is_unsuitable_and_not_shown(
    strict_server: EmbeddedServer, password: str
) -> None:
    with pytest.raises(
        StoreUnsuitableError, match="refused the login: check user and password in RKYC_DSN"
    ) as caught:
        await Pool.open(as_limited(strict_server, password))
    assert "wrong" not in caught.value.message


async def test_a_database_that_the_role_may_not_enter_is_unsuitable(strict_server: EmbeddedServer) -> None:
    with pytest.raises(StoreUnsuitableError, match="may not connect: GRANT CONNECT"):
        await Pool.open(as_limited(strict_server, "right", "closed"))


async def test_a_missing_database_is_unsuitable(admin_dsn: str) -> None:
    with pytest.raises(StoreUnsuitableError, match="no such database: create it"):
        await Pool.open(with_database(admin_dsn, "absent"))


@pytest.mark.parametrize(
    "dsn",
    [
        "host=h password=secret",
        "mysql://u:secret@h/db",
        "postgresql://u:secret@h:port/db",
        "postgresql://u:a/secret@h/db",
    ],
)
async def test_an_unreadable_dsn_is_unsuitable_and_its_password_not_shown(dsn: str) -> None:
    with pytest.raises((StoreUnsuitableError, StoreUnavailableError)) as caught:
        await Pool.open(dsn, connect_timeout_s=0.5)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://u:p@ss@h:5433/db?sslmode=disable&password=x", "h:5433/db"),
        ("postgresql://rkyc@/postgres?host=/run/rkyc%20x", "/run/rkyc x/postgres"),
        ("postgresql://", "the local socket"),
        ("host=h password=x", "an unreadable DSN"),
    ],
)
def test_a_dsn_is_described_without_its_secret(dsn: str, place: str) -> None:
    assert describe_dsn(dsn) == place


async def test_statements_run_with_named_values(pool: Pool) -> None:
    make = Statement("make", "CREATE TEMP TABLE pair (name text, n int)")
    put = Statement("put", "INSERT INTO pair VALUES (:name, :n)")
    get = Statement("get", "SELECT n, name FROM pair WHERE n >= :least::int ORDER BY n")
    async with pool.connection() as conn:
        await conn.execute(make.text)
        await execute_many(conn, put, [{"n": 1, "name": "하나"}, {"n": 2, "name": "둘"}])
        assert [tuple(row) for row in await fetch(conn, get, least=1)] == [(1, "하나"), (2, "둘")]
        assert await fetch_value(conn, get, least=2) == 2
        assert await fetch_row(conn, get, least=3) is None


async def test_a_transaction_is_undone_by_an_error(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute("CREATE TABLE kept (n int)")

    async def insert_and_fail() -> None:
        async with pool.transaction() as conn:
            await conn.execute("INSERT INTO kept VALUES (1)")
            raise LookupError

    with pytest.raises(LookupError):
        await insert_and_fail()
    async with pool.transaction() as conn:
        assert await conn.fetchval("SELECT count(*) FROM kept") == 0


async def test_a_connection_killed_in_mid_query_is_a_connection_error(pool: Pool, admin_dsn: str) -> None:
    started = asyncio.Event()
    victim = 0

    async def wait_in_query() -> None:
        nonlocal victim
        async with pool.connection() as conn:
            victim = conn.get_server_pid()
            started.set()
            await conn.execute(_SLEEP)

    waiting = asyncio.ensure_future(wait_in_query())
    await started.wait()
    await terminate(admin_dsn, victim)
    with pytest.raises(DatabaseConnectionError) as caught:
        await waiting
    assert caught.value.retryable
    async with pool.connection() as conn:
        assert await conn.fetchval("SELECT 1") == 1


async def test_a_connection_killed_in_a_transaction_is_a_connection_error(pool: Pool, admin_dsn: str) -> None:
    async def lose_it() -> None:
        async with pool.transaction() as conn:
            await terminate(admin_dsn, conn.get_server_pid())
            await conn.execute("SELECT 1")

    with pytest.raises(DatabaseConnectionError):
        await lose_it()


async def test_a_connection_killed_while_idle_in_the_pool_is_replaced(pool: Pool, admin_dsn: str) -> None:
    async with pool.connection() as conn:
        victim = conn.get_server_pid()
    await terminate(admin_dsn, victim)
    for _ in range(2):
        try:
            async with pool.connection() as conn:
                assert await conn.fetchval("SELECT 1") == 1
        except DatabaseConnectionError:
            continue
        return
    pytest.fail("the pool did not recover")


async def test_a_server_that_is_gone_is_a_connection_error_to_the_next_caller(tmp_path: Path) -> None:
    async with private_server(tmp_path) as server:
        pool = await Pool.open(server.dsn)
    with pytest.raises(DatabaseConnectionError):
        async with pool.connection() as conn:
            await conn.fetchval("SELECT 1")
    await pool.close()


@pytest.mark.parametrize("error", [FileNotFoundError("report.html"), TimeoutError(), LookupError()])
async def test_an_error_of_the_callers_own_passes_as_it_is(pool: Pool, error: Exception) -> None:
    with pytest.raises(type(error)):
        async with pool.connection():
            raise error


@pytest.mark.parametrize(
    ("sql", "value"), [("SELECT $1::int", 10**30), ("SELECT $1::int", "text"), ("SELECT 1", 1)]
)
async def test_a_value_that_can_not_be_sent_is_no_connection_error(
    pool: Pool, sql: str, value: object
) -> None:
    with pytest.raises((asyncpg.DataError, asyncpg.InterfaceError)):
        async with pool.connection() as conn:
            await conn.fetchval(sql, value)


async def test_a_closed_connection_is_a_connection_error(pool: Pool) -> None:
    conn = await pool.dedicated(application_name="mine")
    assert await conn.fetchval("SHOW application_name") == "mine"
    await conn.close()
    with pytest.raises(DatabaseConnectionError), translate_errors():
        await conn.fetchval("SELECT 1")


async def test_only_dedicated_connections_plan_as_the_queue_wants(pool: Pool) -> None:
    async def settings(conn: Connection) -> dict[str, str]:
        return {name: await conn.fetchval(f"SHOW {name}") for name in QUEUE_SETTINGS}

    conn = await pool.dedicated()
    assert await settings(conn) == QUEUE_SETTINGS
    await conn.close()
    async with pool.connection() as lent:
        assert await settings(lent) != QUEUE_SETTINGS


async def test_a_pooler_that_refuses_settings_is_connected_to_without_them() -> None:
    async with fake_postgres(version="16.0", refused=next(iter(QUEUE_SETTINGS))) as dsn:
        pool = await Pool.open(dsn)
        for _ in range(2):
            conn = await pool.dedicated(application_name="mine")
            assert not conn.is_closed()
            conn.terminate()
        await pool.close()


async def test_a_closed_pool_is_a_connection_error(dsn: str) -> None:
    pool = await Pool.open(dsn)
    await pool.close()
    with pytest.raises(DatabaseConnectionError):
        async with pool.connection():
            pass


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT $1::int", [10**30]),
        ("SELECT $1::text", ["nul \0"]),
        ("SELECT $1::jsonb", ['"\\u0000"']),
        ("SELECT $1::text", ["\ud800"]),
        ("SELECT 1 / $1::int", [0]),
    ],
)
async def test_a_value_that_postgres_can_not_hold_is_refused_for_good(
    pool: Pool, sql: str, values: list[object]
) -> None:
    async with pool.connection() as conn:
        with (
            pytest.raises(OutputInvalidError, match="the output of step x"),
            refuse_data_errors("the output of step x"),
        ):
            await conn.fetchval(sql, *values)
        assert await conn.fetchval("SELECT 1") == 1


async def test_a_broken_constraint_is_named(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute("CREATE TABLE small (n int CONSTRAINT is_small CHECK (n < 10))")
        with pytest.raises(OutputInvalidError, match="is_small") as caught, refuse_data_errors("a row"):
            await conn.execute("INSERT INTO small VALUES (11)")
    assert caught.value.details == {"constraint": "is_small"}


async def test_a_statement_over_its_time_limit_is_a_step_timeout(pool: Pool) -> None:
    async with pool.transaction() as conn:
        await conn.execute("SET LOCAL statement_timeout = '20ms'")
        with pytest.raises(StepTimeoutError), refuse_data_errors("save"):
            async with conn.transaction():
                await conn.execute(_SLEEP)


async def terminate(admin_dsn: str, pid: int) -> None:
    """End a backend and wait until it is gone."""
    conn = await asyncpg.connect(admin_dsn)
    try:
        assert await conn.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    finally:
        await conn.close()
