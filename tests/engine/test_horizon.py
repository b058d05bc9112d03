"""Who holds back vacuum is named once, with what to do, and forgotten when it lets go."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import asyncpg
import pytest

from rkyc.engine.horizon import HorizonWatch
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.flow.pipeline import Pipeline
from rkyc.store.migrate import migrate
from rkyc.store.pool import Connection, Pool
from rkyc.telemetry.metrics import Metrics
from tests.support.database import private_server
from tests.support.engine import serve, wait_for
from tests.support.probes import pause

pytestmark = pytest.mark.anyio


def held_seconds(metrics: Metrics) -> float:
    value = metrics.registry.get_sample_value("vacuum_horizon_held_seconds")
    assert value is not None
    return value


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if line.getMessage().startswith("horizon.held")]


async def name_session(conn: Connection, pid: int) -> str:
    """Return a session as a beat would name it; another test's session may be older."""
    name = await conn.fetchval(
        "SELECT concat_ws(' ', kind, id, xid) FROM rkyc.horizon_holder WHERE kind = 'session' AND id = $1",
        str(pid),
    )
    return str(name)


async def test_a_session_that_pins_a_snapshot_is_named_once_and_forgotten(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    metrics = Metrics()
    watch = HorizonWatch(metrics=metrics, limit_s=0.0)
    reader = await pool.dedicated(application_name="some report")
    async with pool.connection() as conn:
        async with reader.transaction(isolation="repeatable_read", readonly=True):
            await reader.fetchval("SELECT count(*) FROM rkyc.job WHERE lane = 'Kim'")
            pid = await reader.fetchval("SELECT pg_backend_pid()")
            holder = await name_session(conn, pid)
            for _ in range(3):
                await watch.note(conn, holder)
            (line,) = warnings(caplog)
            for part in (
                f"pid={pid}",
                'application="some report"',
                f"pg_terminate_backend({pid})",
                "query_start=",
            ):
                assert part in line
            assert re.search(r"since=\d", line) and "owner=" in line and 'state="idle in transaction"' in line
            # What a query compares with may be personal.
            assert "Kim" not in line
            assert held_seconds(metrics) > 0
        await watch.note(conn, None)
        assert held_seconds(metrics) == 0
        assert [line.getMessage().split()[0] for line in caplog.records][-1] == "horizon.free"
        await watch.note(conn, None)
    assert len(warnings(caplog)) == 1
    await reader.close()


async def test_a_holder_that_changes_is_not_warned_of(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    watch = HorizonWatch(metrics=metrics, limit_s=60.0)
    async with pool.connection() as conn:
        for number in range(5):
            await watch.note(conn, f"session 1 {number}")
            assert held_seconds(metrics) == 0
    assert warnings(caplog) == []


async def test_a_holder_that_is_gone_when_it_is_looked_at_is_not_warned_of(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    watch = HorizonWatch(metrics=Metrics(), limit_s=0.0)
    async with pool.connection() as conn:
        await watch.note(conn, "session 1 17")
        await watch.note(conn, "session 1 17")
    assert warnings(caplog) == []


async def test_looks_are_further_apart_than_beats_may_be() -> None:
    watch = HorizonWatch(metrics=Metrics(), limit_s=60.0)
    assert watch.is_due()
    watch._looked_at = float("inf")
    assert not watch.is_due()


async def test_a_worker_warns_of_what_its_beat_sees_and_a_prepared_transaction_has_no_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a server of its own: transactions of other tests would be older."""
    options = UpkeepOptions(beat_s=0.1, poll_s=0.1, horizon_warning_s=0.2)
    async with private_server(tmp_path, settings={"max_prepared_transactions": "2"}) as server:
        conn = await asyncpg.connect(server.dsn)
        await migrate(conn)
        async with serve(server.dsn, Pipeline("single", 1, pause), upkeep=options) as worker:

            async def is_warned_of() -> bool:
                return bool(warnings(caplog))

            async def is_free() -> bool:
                return held_seconds(worker._metrics) == 0

            await conn.execute("BEGIN; CREATE TABLE public.t (n int); PREPARE TRANSACTION 'left over'")
            await wait_for(is_warned_of)
            assert held_seconds(worker._metrics) > 0
            await conn.execute("ROLLBACK PREPARED 'left over'")
            await wait_for(is_free)
        await conn.close()
    (line,) = warnings(caplog)
    assert "kind=prepared" in line and "ROLLBACK PREPARED 'left over'" in line
