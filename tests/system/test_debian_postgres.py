"""Another Postgres than the one in the wheel: as Debian ships it, without pgvector, for an ordinary role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from rkyc.engine.client import Client
from rkyc.engine.worker import Worker, WorkerOptions
from rkyc.errors import StoreUnsuitableError
from rkyc.flow.graph import chain, group
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from rkyc.store import server_binaries
from rkyc.store.embedded import start_embedded, stop_embedded
from rkyc.store.migrate import migrate
from rkyc.store.pool import POSTGRES_VERSION_MIN, Pool
from rkyc.store.statements import load
from rkyc.telemetry.metrics import Metrics
from tests.support.database import FAST_SETTINGS, fresh_database, with_database

pytestmark = [pytest.mark.system, pytest.mark.anyio]

PACKAGE = Path(server_binaries.__file__).parent.parent


@pytest.fixture(scope="module")
async def debian_dsn(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A superuser's DSN on a server run from the system's programs."""
    home = tmp_path_factory.mktemp("debian") / "server"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_binaries, "_from_wheel", lambda: None)
        patch.setattr(server_binaries, "_from_pg_config", lambda: None)
        server = await start_embedded(home, settings=FAST_SETTINGS)
    yield server.dsn
    await stop_embedded(home)


@pytest.fixture
async def ordinary_dsn(debian_dsn: str) -> AsyncIterator[str]:
    """A database of this test's own, for a role that may connect and create schemas there, no more."""
    async with fresh_database(debian_dsn) as dsn:
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


async def test_server_is_an_older_one_without_pgvector(debian_dsn: str) -> None:
    conn = await asyncpg.connect(debian_dsn)
    assert POSTGRES_VERSION_MIN <= conn.get_server_version().major < 18
    assert await conn.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") == 0
    await conn.close()


async def test_ordinary_role_migrates_and_every_statement_prepares(ordinary_dsn: str) -> None:
    conn = await asyncpg.connect(ordinary_dsn)
    assert await conn.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    await migrate(conn)
    broken = {}
    for path in PACKAGE.rglob("*.sql"):
        if path.parent.name == "migrations" or path.name == "schema.sql":
            continue
        for name, statement in load(str(path)).items():
            try:
                await conn.prepare(statement.text)
            except asyncpg.PostgresError as error:
                broken[f"{path.stem}.{name}"] = str(error)
    assert broken == {}
    await conn.close()


async def test_role_without_rights_is_told_what_to_grant(debian_dsn: str, ordinary_dsn: str) -> None:
    database = urlsplit(ordinary_dsn).path.removeprefix("/")
    admin = await asyncpg.connect(debian_dsn)
    await admin.execute(f"REVOKE CREATE ON DATABASE {database} FROM role_{database}")
    await admin.close()
    conn = await asyncpg.connect(ordinary_dsn)
    with pytest.raises(StoreUnsuitableError, match="GRANT CREATE ON DATABASE"):
        await migrate(conn)
    await conn.close()


@step
async def double(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"n": input["n"] * 2}


@step
async def add(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"n": sum(part["n"] for part in input.values())}


REGISTRY = Registry(
    [Pipeline("doubling", 1, chain(double, group(double.named("left"), double.named("right")), add))]
)


async def test_jobs_with_branches_run_to_their_end(ordinary_dsn: str) -> None:
    pool = await Pool.open(ordinary_dsn)
    async with pool.connection() as conn:
        await migrate(conn)
    worker = Worker(pool=pool, registry=REGISTRY, resources={}, metrics=Metrics(), options=WorkerOptions())
    running = asyncio.create_task(worker.run())
    client = Client(pool=pool)
    await asyncio.wait_for(worker.ready.wait(), 10)
    ids = [await client.enqueue("doubling", {"n": n}) for n in range(50)]
    assert [await client.result(job_id, 10) for job_id in ids] == [{"n": 8 * n} for n in range(50)]
    async with pool.connection() as conn:
        states = await conn.fetch("SELECT status, count(*) FROM rkyc.job_status GROUP BY status")
    assert [tuple(row) for row in states] == [("completed", 50)]
    worker.stop()
    await running
    await pool.close()
