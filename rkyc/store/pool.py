"""Connections to Postgres, and the one edge where its errors become ours.

`Pool` lends connections for short work and opens dedicated ones for the worker's claim, flush and
presence. JSON travels as text: callers use orjson, since a codec in the driver costs more than the
parsing. Nothing here depends on session state, so it works behind a transaction-mode pooler.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import asyncpg

from rkyc.errors import (
    DatabaseConnectionError,
    InvalidInputError,
    OutputInvalidError,
    StepTimeoutError,
    StoreUnavailableError,
    StoreUnsuitableError,
)
from rkyc.store.statements import Statement

LentConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
# A pooled proxy and a dedicated connection have the same methods.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | LentConnection"
Record: TypeAlias = asyncpg.Record

POSTGRES_VERSION_MIN = 15

# How a dedicated connection lets the server plan, where it is direct: once per statement, and along indexes. A
# scan looks cheap to a plan that is made while a table is empty, and the plan is kept.
QUEUE_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        # Below Postgres 18 a scan that can't be avoided has a cost at which statements are compiled.
        "jit": "off",
    }
)
# What a pooler says to start-up parameters that it does not know.
_SETTINGS_REFUSED: tuple[type[BaseException], ...] = (
    asyncpg.ProtocolViolationError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.CantChangeRuntimeParamError,
)

# What says "the connection is gone, the answer of what was under way is unknown". An InterfaceError
# says so only when `_is_misuse` denies it; a plain OSError (a missing file, a time-out) says so only while connecting.
LOST_CONNECTION: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # "connection is closed", "connection was closed in the middle of operation"
    asyncpg.InternalClientError,  # "cannot switch to state …": a connection killed in mid-operation
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    ConnectionError,
)
# Server answers that a later try may not give.
_TRY_LATER: tuple[type[BaseException], ...] = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # a fail-over: this server is now the standby
)
_TRANSIENT: tuple[type[BaseException], ...] = LOST_CONNECTION + _TRY_LATER
_CANNOT_CONNECT: tuple[type[BaseException], ...] = (*_TRANSIENT, OSError)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the driver's connection errors into `DatabaseConnectionError`, which a step may retry.

    A text that no database holds becomes `InvalidInputError`, whatever it was meant for. Everything else (a constraint, a
    bad value) passes as it is: it says something about the data.
    """
    try:
        yield
    except asyncpg.DataError as error:
        # The server refuses a NUL; the half of a surrogate pair the driver can't even send.
        is_text = isinstance(error, asyncpg.CharacterNotInRepertoireError)
        if not is_text and not isinstance(error.__cause__, UnicodeEncodeError):
            raise
        raise InvalidInputError(
            "a text can't be stored: expected valid Unicode without NUL; take such characters out"
        ) from error
    except _TRANSIENT as error:
        if _is_misuse(error):
            raise
        raise _connection_error(error) from error


def _connection_error(error: BaseException) -> DatabaseConnectionError:
    return DatabaseConnectionError(
        f"the database connection failed ({type(error).__name__}): tried again by the retry policy",
        {"original_error": type(error).__name__},
    )


def _is_misuse(error: BaseException) -> bool:
    """Whether an error of the driver is about the call (a wrong count of values, a busy connection), not a loss."""
    # The driver has one class for both; what concerns the connection says that something was closed or released.
    return isinstance(error, asyncpg.InterfaceError) and not any(
        word in str(error) for word in ("clos", "released")
    )


@contextlib.contextmanager
def refuse_data_errors(subject: str) -> Iterator[None]:
    """Turn what Postgres says about a value or a statement into `OutputInvalidError`: permanent.

    A statement that Postgres ended for its time limit becomes `StepTimeoutError`.
    """
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise StepTimeoutError(f"{subject} passed its time limit in the database: {error}") from error
    except _TRANSIENT:
        raise
    except asyncpg.PostgresError as error:
        constraint = getattr(error, "constraint_name", None)
        where = f" ({constraint})" if constraint else ""
        raise OutputInvalidError(
            f"{subject} was refused by the database: {type(error).__name__}{where}: {error}",
            {"constraint": constraint},
        ) from error


class Pool:
    """Lends connections; opens dedicated ones.

    Make it with `Pool.open`; close it with `close`.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], dsn: str, settings: dict[str, Any]) -> None:
        self._pool = pool
        self._settings = settings
        # Whether the place of a DSN takes `QUEUE_SETTINGS`; a pooler does not.
        self._takes_settings: dict[str, bool] = {}
        self.dsn = dsn
        # Brings a private server back that was killed; None where the server is somebody else's.
        self.revive: Callable[[], Awaitable[None]] | None = None

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        size_max: int = 10,
        application_name: str = "rkyc",
        statement_cache_size: int = 256,
        connect_timeout_s: float = 10.0,
    ) -> Pool:
        """Connect and check that the server can serve.

        Behind a pooler no statement is kept (`statement_cache_size` is 0): its plan would be kept with it, and
        may have been made while a table was empty.

        Raises:
            StoreUnavailableError: not reached.
            StoreUnsuitableError: wrong password, no such database, too old.
        """
        settings: dict[str, Any] = {
            "dsn": dsn,
            "timeout": connect_timeout_s,
            "statement_cache_size": statement_cache_size,
            "server_settings": {"application_name": application_name},
        }
        with translate_connect_errors(dsn):
            takes_settings = await _takes_queue_settings(settings)
            if not takes_settings:
                settings["statement_cache_size"] = 0
            pool = await asyncpg.create_pool(
                min_size=0, max_size=size_max, init=_check_version, reset=_keep_session, **settings
            )
        self = cls(pool, dsn, settings)
        self._takes_settings[dsn] = takes_settings
        return self

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode.

        Raises:
            DatabaseConnectionError: lost or not to be had; try later.
        """
        with translate_errors():
            conn = await self.lend()
            try:
                yield conn
            finally:
                await self.take_back(conn)

    async def lend(self) -> LentConnection:
        """Lend a connection until `take_back`; `connection` does both.

        Raises:
            DatabaseConnectionError
        """
        with translate_errors():
            try:
                return await self._pool.acquire()
            except (OSError, StoreUnavailableError) as error:
                if self.revive is not None:
                    await self.revive()
                raise _connection_error(error) from error

    async def take_back(self, conn: LentConnection) -> None:
        """Take a connection back that was lent."""
        await self._pool.release(conn)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that commits at the end of the block."""
        async with self.connection() as conn, conn.transaction():
            yield conn

    async def dedicated(self, *, dsn: str | None = None, application_name: str | None = None) -> Connection:
        """Open a connection of the caller's own, which the caller closes; it plans by `QUEUE_SETTINGS` if it can.

        Raises:
            StoreUnavailableError, StoreUnsuitableError
        """
        settings = dict(self._settings)
        if dsn is not None:
            settings["dsn"] = dsn
        if application_name is not None:
            settings["server_settings"] = {"application_name": application_name}
        try:
            return await self._connect(settings)
        except StoreUnavailableError:
            if self.revive is None:
                raise
            await self.revive()
            return await self._connect(settings)

    async def _connect(self, settings: dict[str, Any]) -> Connection:
        dsn = settings["dsn"]
        with translate_connect_errors(dsn):
            if dsn not in self._takes_settings:
                self._takes_settings[dsn] = await _takes_queue_settings(settings)
            chosen = _plan_as_queue(settings) if self._takes_settings[dsn] else settings
            conn: Connection = await asyncpg.connect(**chosen)
        return conn

    async def close(self) -> None:
        """Close all, waiting at most 5 s for the ones that are lent."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except _CANNOT_CONNECT:  # a time-out is an OSError too
            self._pool.terminate()


async def _takes_queue_settings(settings: dict[str, Any]) -> bool:
    """Connect once, and return whether the server is there itself; a pooler refuses parameters that it does not know."""
    try:
        conn: Connection = await asyncpg.connect(**_plan_as_queue(settings))
    except _SETTINGS_REFUSED:
        conn, takes_settings = await asyncpg.connect(**settings), False
    else:
        takes_settings = True
    try:
        await _check_version(conn)
    finally:
        await conn.close()
    return takes_settings


def _plan_as_queue(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "server_settings": {**settings["server_settings"], **QUEUE_SETTINGS}}


async def _keep_session(conn: Connection) -> None:
    """Send nothing when a connection comes back: the driver's RESET ALL would double the cost of short work.

    Nothing here sets session state, and a transaction that was left open is rolled back before this.
    """


async def _check_version(conn: Connection) -> None:
    version = conn.get_server_version()
    if version.major < POSTGRES_VERSION_MIN:
        raise StoreUnsuitableError(
            f"Postgres {version.major} is too old: rkyc needs {POSTGRES_VERSION_MIN} or newer. "
            "Point RKYC_DSN at a newer server, or unset it to use the embedded one."
        )


@contextlib.contextmanager
def translate_connect_errors(dsn: str) -> Iterator[None]:
    """Turn what goes wrong while connecting into a message that says what to do, without the password."""
    place = describe_dsn(dsn)
    try:
        yield
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise StoreUnsuitableError(
            f"Postgres at {place} refused the login: check user and password in RKYC_DSN"
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise StoreUnsuitableError(
            f"Postgres at {place} has no such database: create it (createdb) or correct RKYC_DSN"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreUnsuitableError(
            f"the role at {place} may not connect: GRANT CONNECT ON DATABASE to it, or use another role"
        ) from error
    except ssl.SSLError as error:
        raise StoreUnsuitableError(
            f"Postgres at {place} and this program can't agree on TLS ({error.reason}): "
            "check its certificate and sslmode in RKYC_DSN"
        ) from error
    except ValueError as error:
        # The driver's own text may hold a part of the password.
        raise StoreUnsuitableError(
            "RKYC_DSN can't be read: expected postgresql://user:password@host:port/database, "
            "with @ : / ? # in user and password percent-encoded"
        ) from error
    except _CANNOT_CONNECT as error:
        raise StoreUnavailableError(
            f"Postgres at {place} can't be reached ({type(error).__name__}): is it running, and is RKYC_DSN right?"
        ) from error


def describe_dsn(dsn: str) -> str:
    """Say where a DSN points, without the user's secret: `host:port/database`, or the socket's folder."""
    _, separator, rest = dsn.partition("://")
    if not separator:
        return "an unreadable DSN"
    place, _, query = rest.rpartition("@")[2].partition("?")
    hosts = parse_qs(query).get("host", [])
    return (hosts[0] if hosts else "") + place or "the local socket"


async def fetch(conn: Connection, statement: Statement, **values: Any) -> list[Record]:
    """Run a statement with named values and return its rows."""
    rows: list[Record] = await conn.fetch(statement.text, *statement.args(**values))
    return rows


async def fetch_row(conn: Connection, statement: Statement, **values: Any) -> Record | None:
    """Run a statement and return its first row, or None."""
    return await conn.fetchrow(statement.text, *statement.args(**values))


async def fetch_value(conn: Connection, statement: Statement, **values: Any) -> Any:
    """Run a statement and return the first column of its first row, or None."""
    return await conn.fetchval(statement.text, *statement.args(**values))


async def count_written(conn: Connection, statement: Statement, **values: Any) -> int:
    """Run an INSERT, UPDATE or DELETE and return how many rows it wrote."""
    # The count stands at the end of the command's tag: "INSERT 0 5".
    tag: str = await conn.execute(statement.text, *statement.args(**values))
    return int(tag.rpartition(" ")[2])


async def execute_many(conn: Connection, statement: Statement, rows: Sequence[dict[str, Any]]) -> None:
    """Run a statement once for each row of named values, in one round trip."""
    await conn.executemany(statement.text, [statement.args(**row) for row in rows])
