"""EXPLAIN of the engine's own statements: which tables they scan, how many pages they touch.

`explain` runs a statement as the program sends it, prepared, in a transaction that is rolled back. Its
parameters are found by name in the table of examples of tests/support/plan_scene.py: a changed
statement needs a changed example and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

import rkyc.store.queue
from bench.filled import fill
from bench.pages import count_pages, own_pages_of, walk
from rkyc.store.pool import Connection
from rkyc.store.statements import Statement, load
from tests.support.database import with_database
from tests.support.plan_scene import ROWS, find_example, set_scene

# All statements of the queue by name, as they stand in the files.
STATEMENTS: Mapping[str, Statement] = {
    name: statement
    for folder in rkyc.store.queue.__path__
    for path in sorted(Path(folder).glob("*.sql"))
    for name, statement in load(str(path)).items()
}
# Tables that stay small however long the system runs.
BOUNDED_TABLES = frozenset(
    {
        "start_limit",
        "retention",
        "schema_version",
        "lane",
        "pipeline_version",
        "boot",
        "worker",
        "limit_rule",
        "breaker",
        "pause",
    }
)
# Shared buffers that one statement may touch: so many at all, and so many for each row of its example.
PAGES_MAX = 100
PAGES_PER_ROW_MAX = 40
# A guard shall fail, not hang.
TIME_MAX_MS = 5_000
# Any constant: workers of one run fill the template once.
_TEMPLATE_LOCK = 4712


@dataclass(frozen=True, slots=True)
class Plan:
    """What EXPLAIN (ANALYZE, BUFFERS) said about one statement."""

    statement: str
    tree: dict[str, Any]

    def find_scans(self, small_pages: int = 0) -> set[str]:
        """Return the tables of the engine that it read from end to end, but those of at most so many pages."""
        return {
            node["Relation Name"]
            for node in walk(self.tree)
            if node["Node Type"].endswith("Seq Scan")
            and not node["Relation Name"].startswith("pg_")
            and (not small_pages or own_pages_of(node) > small_pages)
        }

    @property
    def has_found(self) -> bool:
        """Whether it met any row of a table: a statement that found nothing shows nothing."""
        readers = [
            node for node in walk(self.tree) if "Relation Name" in node and "Scan" in node["Node Type"]
        ]
        # Below Postgres 18 it is an average per loop, rounded: a 0 does not tell.
        rounded = [
            node for node in readers if isinstance(node["Actual Rows"], int) and node["Actual Loops"] > 1
        ]
        return not readers or bool(rounded) or any(node["Actual Rows"] > 0 for node in readers)

    @property
    def pages(self) -> int:
        """Shared buffers that it touched, hit or read."""
        return count_pages(self.tree)

    def pages_by_table(self) -> Counter[str]:
        """The same by table, as far as a node of the plan names one."""
        counts: Counter[str] = Counter()
        for node in walk(self.tree):
            if "Relation Name" in node:
                counts[node["Relation Name"]] += own_pages_of(node)
        return counts

    def find_problems(self, *, may_scan: Set[str] = frozenset(), small_pages: int = 0) -> list[str]:
        """Say what is wrong with it.

        It may scan the tables that are named, and tables of at most `small_pages`: there a scan is the best
        plan, and no harm where plans are not kept.
        """
        scanned = self.find_scans(small_pages) - BOUNDED_TABLES - may_scan
        found = [f"{self.statement} scans {table}" for table in sorted(scanned)]
        limit = PAGES_MAX + PAGES_PER_ROW_MAX * ROWS
        if self.pages > limit:
            found.append(f"{self.statement} touches {self.pages} pages, at most {limit}")
        if not self.has_found:
            found.append(f"{self.statement} found no row: its example does not fit")
        return found


@contextlib.asynccontextmanager
async def connect(dsn: str, settings: Mapping[str, str]) -> AsyncIterator[Connection]:
    """Open a connection with settings of its own."""
    conn: Connection = await asyncpg.connect(dsn, server_settings=dict(settings))
    try:
        yield conn
    finally:
        await conn.close()


async def prepare(conn: Connection, statement: Statement) -> None:
    """Plan a statement for the life of the connection, if its settings ask for generic plans."""
    await conn.execute(f"PREPARE {statement.name} AS {statement.text}")
    await conn.fetch(f"EXPLAIN {await _call(conn, statement)}")


async def explain(conn: Connection, statement: Statement) -> Plan:
    """Run a statement with its example, take back what it did, and return the plan.

    Raises:
        TimeoutError: it took so long that it can't have gone along an index.
    """
    if not await conn.fetchval(
        "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = $1)", statement.name
    ):
        await conn.execute(f"PREPARE {statement.name} AS {statement.text}")
    call = await _call(conn, statement)
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(f"SET LOCAL statement_timeout = {TIME_MAX_MS}")
        text = await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}")
    except asyncpg.QueryCanceledError as error:
        raise TimeoutError(f"{statement.name} takes more than {TIME_MAX_MS} ms") from error
    finally:
        await transaction.rollback()
    return Plan(statement.name, json.loads(text)[0]["Plan"])


async def _call(conn: Connection, statement: Statement) -> str:
    """Write the EXECUTE of a prepared statement with its example as literals."""
    types = await conn.fetchval(
        "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = $1", statement.name
    )
    if not types:
        return f"EXECUTE {statement.name}"
    values = [
        find_example(statement.name, param, type_)
        for param, type_ in zip(statement.params, types, strict=True)
    ]
    casts = ", ".join(f"quote_nullable(${number}::{type_}::text)" for number, type_ in enumerate(types, 1))
    literals = await conn.fetchval(f"SELECT ARRAY[{casts}]", *values)
    return f"EXECUTE {statement.name} ({', '.join(literals)})"


@contextlib.asynccontextmanager
async def filled_database(admin_dsn: str, template: str, *, rows: int) -> AsyncIterator[str]:
    """Clone a database with a past and the scene; it is filled once per server, after it was analyzed while empty."""
    name = f"{template}_{rows}"
    clone = f"test_{secrets.token_hex(6)}"
    async with connect(admin_dsn, {}) as admin:
        await admin.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
        if not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
            await admin.execute(f"DROP DATABASE IF EXISTS {name}_new WITH (FORCE)")
            await admin.execute(f"CREATE DATABASE {name}_new TEMPLATE {template}")
            async with connect(with_database(admin_dsn, f"{name}_new"), {}) as conn:
                await conn.execute("VACUUM ANALYZE")
                await fill(conn, finished=rows, scheduled=rows // 10)
                await set_scene(conn)
            await admin.execute(f"ALTER DATABASE {name}_new RENAME TO {name}")
        # As files: through the log it would take several times as long.
        await admin.execute(f"CREATE DATABASE {clone} TEMPLATE {name} STRATEGY FILE_COPY", timeout=100)
        await admin.execute("SELECT pg_advisory_unlock($1)", _TEMPLATE_LOCK)
        try:
            yield with_database(admin_dsn, clone)
        finally:
            await admin.execute(f"DROP DATABASE {clone} WITH (FORCE)")
