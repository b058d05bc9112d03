"""Through a PgBouncer in transaction mode: with a direct connection for presence, and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.engine import wait_for
from tests.support.kyc_scene import STEPS, repeated, started
from tests.support.kyc_vendors import script_of
from tests.support.pgbouncer import open_pgbouncer

pytestmark = [pytest.mark.system, pytest.mark.anyio, pytest.mark.timeout(180)]

# The promises: 3 s by presence; 20 s without a beat, when there is nothing but the pooler. Twice that for
# a machine that runs other tests beside.
BY_PRESENCE_S = 6.0
BY_BEATS_S = 40.0


async def test_pooler_is_told_from_a_server_and_no_plan_is_kept_there(ordinary_dsn: str) -> None:
    kept = "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"
    async with open_pgbouncer(ordinary_dsn) as through:
        for dsn, count in ((through, 0), (ordinary_dsn, 1)):
            pool = await Pool.open(dsn)
            conn = await pool.dedicated()
            assert await conn.fetchval(kept) == count
            assert (await conn.fetchval("SHOW enable_seqscan") == "off") == (dsn == ordinary_dsn)
            await conn.close()
            await pool.close()


@pytest.mark.parametrize(
    ("has_direct", "limit_s"), [(True, BY_PRESENCE_S), (False, BY_BEATS_S)], ids=["direct", "pooler-only"]
)
async def test_analysis_ends_though_its_process_dies(
    has_direct: bool, limit_s: float, ordinary_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_pgbouncer(ordinary_dsn) as through:
        variables = {"RKYC_STATEMENT_CACHE": "0", **({"RKYC_DIRECT_DSN": ordinary_dsn} if has_direct else {})}
        options = ["--pause-in", "signal:100"]
        async with started(
            ordinary_dsn, tmp_path, script_of(), *options, through=through, variables=variables
        ) as scene:
            await wait_for(lambda: scene.runs("signal"), timeout_s=60, what="a running signal")
            await scene.kill_the_one_that_runs_it()
            killed_at = (await scene.query("SELECT clock_timestamp() AS now"))[0]["now"]
            await wait_for(scene.has_ended, timeout_s=90, what="the job's end")
            job, steps = await scene.status(), await scene.steps()
            assert job["status"] == "completed", dict(job)
            assert {name: row["status"] for name, row in steps.items()} == dict.fromkeys(STEPS, "completed")
            assert {name: row["attempt"] for name, row in steps.items()} == {
                name: 2 if name == "signal" else 1 for name in STEPS
            }
            assert repeated(scene.vendors.calls()) == []
            resumed_s = (steps["signal"]["started_at"] - killed_at).total_seconds()
    assert resumed_s < limit_s
    with capsys.disabled():
        print(f"\n  goes on after {resumed_s:.2f} s")
