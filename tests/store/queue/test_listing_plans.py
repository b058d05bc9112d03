"""Guards of plans: a page of jobs touches as many rows as it shows, whatever else is there.

Each way in is run on tens of thousands of jobs, with plans for any values and with plans for the values
at hand, and with statistics that are true or say that nothing is there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from rkyc.store.pool import Connection
from rkyc.store.queue import listing
from rkyc.store.statements import Statement

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

ROWS = 30_000
# Of each kind that is rare, all of them among the oldest; a page of so many.
RARE = 20
# Pages that one job's row of the view may touch, and a statement besides.
PAGES_PER_ROW = 60
PAGES = 200
_VALUES: dict[str, Any] = {
    "before": UUID(int=2**127),
    "below": 2**62,
    "corp": "7",
    "from_id": UUID(int=0),
    "from_number": 0,
    "limit": RARE,
    "pipeline": None,
    "since": None,
    "status": None,
}
# The way in, what it is asked for beside the values above, and how many rows it must find.
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("find_bounds", {}, 1),
    ("list_all_jobs", {}, RARE),
    ("list_jobs_of_pipeline", {"pipeline": "rare"}, RARE),
    ("list_jobs_of_pipeline", {"pipeline": "rare", "status": "completed"}, RARE),
    ("list_completed_jobs", {}, RARE),
    ("list_unsuccessful_jobs", {"status": "failed"}, RARE),
    ("list_unsuccessful_jobs", {"status": "cancelled", "pipeline": "single"}, RARE),
    ("list_running_jobs", {}, RARE),
    ("list_pending_jobs", {}, RARE),
    ("list_jobs_of_corp", {}, RARE),
    ("list_jobs_of_corp", {"status": "completed"}, RARE),
]
_FILL = """
INSERT INTO rkyc.pipeline_version (name, version, graph, first_step) VALUES ('single', 1, '{"steps": [{"name": "s1"}]}', 's1');
-- From the oldest on: four rare kinds that have ended, one that runs; then the completed ones; then those for later.
INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, metadata, created_at)
  SELECT rkyc.uuid7('2026-01-01'::timestamptz + n * interval '1 s'), CASE WHEN n <= $rare THEN 'rare' ELSE 'single' END, 1, 'default', '{}',
    CASE WHEN n > 3 * $rare AND n <= 4 * $rare THEN '{"corp": "7"}' ELSE '{}' END::jsonb, '2026-01-01'::timestamptz + n * interval '1 s'
  FROM generate_series(1, 5 * $rare + 2 * $rows) n;
INSERT INTO rkyc.history (job_id, state, seq, step, worker_id, error_code, finished_at)
  SELECT id, k.state, 1, 's1', 1, CASE k.state WHEN 'failed' THEN 'PERMANENT' END, now()
  FROM rkyc.job CROSS JOIN LATERAL (
    SELECT CASE (id - 1) / $rare WHEN 1 THEN 'failed' WHEN 2 THEN 'cancelled' ELSE 'completed' END AS state) k
  WHERE id <= 4 * $rare OR id > 5 * $rare AND id <= 5 * $rare + $rows;
INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, attempt, fence, worker_id, started_at, finished_at)
  SELECT job_id, 1, 0, 's0', 1, 1, 1, now(), now() FROM rkyc.history;
INSERT INTO rkyc.running (job_id, branch, fence, worker_id, lane, step, events, error_attempts, crash_attempts, alone_crashes,
                          started_at, step_started_at, claimed_at)
  SELECT id, 0, id, 1, 'default', 's1', 0, 0, 0, 0, now(), now(), now() FROM rkyc.job WHERE id > 4 * $rare AND id <= 5 * $rare;
INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step)
  SELECT '2999-01-01', 'scheduled', 'default', id, 's1' FROM rkyc.job WHERE id > 5 * $rare + $rows;
"""


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()


async def prepare(conn: Connection) -> None:
    for name, statement in listing._SQL.items():
        await conn.execute(f"PREPARE {name} AS {statement.text}")


async def call(conn: Connection, statement: Statement, changes: dict[str, Any]) -> str:
    """Write the EXECUTE of a prepared statement."""
    types = await conn.fetchval(
        "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = $1", statement.name
    )
    casts = ", ".join(f"quote_nullable(${number}::{type_}::text)" for number, type_ in enumerate(types, 1))
    values = [{**_VALUES, **changes}[param] for param in statement.params]
    return f"EXECUTE {statement.name} ({', '.join(await conn.fetchval(f'SELECT ARRAY[{casts}]', *values))})"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def find_problems(conn: Connection) -> list[str]:
    found = []
    for name, changes, rows in CASES:
        text = await call(conn, listing._SQL[name], changes)
        plan = json.loads(await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}"))[0]["Plan"]
        label = f"{name} {changes}"
        if plan["Actual Rows"] != rows:
            found.append(f"{label} found {plan['Actual Rows']} rows, expected {rows}")
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        if pages > PAGES + PAGES_PER_ROW * rows:
            found.append(f"{label} touches {pages} pages")
        most = max(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in nodes(plan)
        )
        if most > 50 * RARE:
            found.append(f"{label} goes through {most} rows")
    return found


def fill() -> str:
    return _FILL.replace("$rows", str(ROWS)).replace("$rare", str(RARE))


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("statistics", ["true", "of empty tables"])
async def test_a_page_costs_a_page(conn: Connection, mode: str, statistics: str) -> None:
    await conn.execute("VACUUM ANALYZE")
    await conn.execute(fill())
    if statistics == "true":
        await conn.execute("VACUUM ANALYZE")
    await conn.execute(f"SET plan_cache_mode = {mode}")
    await prepare(conn)
    assert await find_problems(conn) == []


async def test_the_guard_names_a_page_whose_index_is_gone(conn: Connection) -> None:
    await conn.execute(fill())
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("DROP INDEX rkyc.history_unsuccessful, rkyc.checkpoint_corp")
    await prepare(conn)
    problems = " ".join(await find_problems(conn))
    assert "list_unsuccessful_jobs" in problems and "list_jobs_of_corp" in problems
