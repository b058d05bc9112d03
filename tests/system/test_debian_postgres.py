"""Another Postgres than the one in the wheel: as Debian ships it, without pgvector, for an ordinary role."""

from __future__ import annotations

import asyncio
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
from rkyc.store.migrate import migrate
from rkyc.store.pool import POSTGRES_VERSION_MIN, Pool
from rkyc.store.statements import load
from rkyc.telemetry.metrics import Metrics

pytestmark = [pytest.mark.system, pytest.mark.anyio]

PACKAGE = Path(server_binaries.__file__).parent.parent


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
