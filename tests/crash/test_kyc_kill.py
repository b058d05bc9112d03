"""kill -9 of a real `rkyc serve` inside each step of an analysis, with a second one beside it.

Providers are set up for all there is, and told apart by a ledger outside of both processes: what was
answered and journalled is never asked again, and what a completed step did is never done again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.dossiers import HANBIT
from tests.support.engine import wait_for
from tests.support.hosts import Host, Server, open_hosts
from tests.support.kyc_vendors import DIRECT, INDUSTRY_SEARCH, INSIGHT, script_of
from tests.support.vendors import Call, Vendors, open_vendors

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

STEPS = ("snapshot", "doc_ingest", "external", "context", "signal", "validation", "index", "insight")
# The promise is 3 s; a machine that runs other tests beside may take longer to do the same.
RESUME_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Two servers on one database, the vendors, and a connection to look at the job."""

    host: Host
    servers: tuple[Server, Server]
    vendors: Vendors
    conn: asyncpg.Connection[asyncpg.Record]
    job_id: str

    async def status(self) -> asyncpg.Record:
        row = await self.conn.fetchrow("SELECT * FROM rkyc.job_status WHERE job_id = $1", self.job_id)
        assert row is not None
        return row

    async def steps(self) -> dict[str, asyncpg.Record]:
        rows = await self.conn.fetch("SELECT * FROM rkyc.step_status WHERE job_id = $1", self.job_id)
        return {row["step"]: row for row in rows}

    async def journalled(self) -> int:
        return int(await self.conn.fetchval("SELECT count(*) FROM rkyc.journal"))

    async def runs(self, step: str) -> bool:
        return bool((await self.steps())[step]["status"] == "running")

    async def kill_the_one_that_runs_it(self) -> Server:
        """Kill the process that holds the job and return the other one."""
        worker = (await self.status())["worker"]
        victim, other = sorted(self.servers, key=lambda server: server.worker != worker)
        assert victim.worker == worker
        await victim.kill()
        return other


@asynccontextmanager
async def started(
    dsn: str, folder: Path, script: dict[str, Any], *options: str, with_case: bool = False
) -> AsyncIterator[Scene]:
    """Start vendors and two servers, and submit the example."""
    async with (
        open_vendors(folder, script) as vendors,
        open_hosts(folder, {"RKYC_DSN": dsn, **vendors.variables}) as hosts,
    ):
        host = hosts[0]
        conn = await asyncpg.connect(dsn)
        if with_case:
            await _remember_case(conn)
        servers = await asyncio.gather(*(host.serve("--no-api", *options) for _ in range(2)))
        submitted = await host.run("submit", "kyc", "--dossier", HANBIT)
        assert submitted.code == 0, submitted
        try:
            yield Scene(host, (servers[0], servers[1]), vendors, conn, submitted.out.strip())
        finally:
            await conn.close()


@pytest.mark.parametrize("step", STEPS)
async def test_job_goes_on_elsewhere_when_its_process_is_killed_at_the_start_of(
    step: str, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with started(dsn, tmp_path, script_of(), "--pause-in", f"{step}:60", with_case=True) as scene:
        await wait_for(lambda: scene.runs(step), timeout_s=60, what=f"a running {step}")
        resumed_s = await _kill_and_finish(scene, step)
        assert repeated(scene.vendors.calls()) == []
        say(capsys, f"killed in {step}: goes on after {resumed_s:.2f} s")


@pytest.mark.parametrize(
    ("step", "kind", "words", "answered"),
    [
        ("external", "searches", INDUSTRY_SEARCH, 4),
        ("context", "embeddings", "한빛정밀", 5),
        ("signal", "rules", DIRECT, 9),
        ("index", "embeddings", "부채비율", 10),
        ("insight", "rules", INSIGHT, 11),
    ],
)
async def test_only_the_unanswered_call_is_made_again_when_killed_while_it_waits_in(
    step: str,
    kind: str,
    words: str,
    answered: int,
    dsn: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = script_of((kind, words))
    async with started(dsn, tmp_path, script, with_case=True) as scene:
        await wait_for(lambda: hangs(scene, answered), timeout_s=60, what="one call without an answer")
        before = scene.vendors.calls()
        resumed_s = await _kill_and_finish(scene, step)
        again = repeated(scene.vendors.calls())
        assert len(again) == 1 and words in again[0].asked, [call.short for call in again]
        assert Counter(scene.vendors.calls())[again[0]] == 2
        assert len(before) == answered + 1
        say(capsys, f"killed in {step}, {answered} answers journalled: goes on after {resumed_s:.2f} s")


async def hangs(scene: Scene, answered: int) -> bool:
    """Say whether all calls but one are answered and remembered."""
    return await scene.journalled() == answered and len(scene.vendors.calls()) == answered + 1


async def _kill_and_finish(scene: Scene, step: str) -> float:
    """Kill, wait for the end, check it; return the seconds until the step ran again, by the database's clock."""
    assert await scene.runs(step)
    other = await scene.kill_the_one_that_runs_it()
    killed_at = await scene.conn.fetchval("SELECT clock_timestamp()")
    await wait_for(lambda: ended(scene), timeout_s=60, what="the job's end")
    job, steps = await scene.status(), await scene.steps()
    assert job["status"] == "completed", dict(job)
    assert {name: row["status"] for name, row in steps.items()} == dict.fromkeys(STEPS, "completed")
    assert {name: row["attempt"] for name, row in steps.items()} == {
        name: 2 if name == step else 1 for name in STEPS
    }
    assert job["error_attempts"] == 0
    assert steps[step]["worker"] == other.worker
    rows = await scene.conn.fetch("SELECT step, count(*) AS n FROM rkyc.checkpoint GROUP BY step")
    assert {row["step"]: row["n"] for row in rows} == dict.fromkeys(STEPS[:-1], 1)
    resumed_s: float = (steps[step]["started_at"] - killed_at).total_seconds()
    assert resumed_s < RESUME_S_MAX
    return resumed_s


async def ended(scene: Scene) -> bool:
    return (await scene.status())["status"] in ("completed", "failed", "cancelled")


async def _remember_case(conn: asyncpg.Connection[asyncpg.Record]) -> None:
    """Keep a decision about the industry, with a vector, so that the fourth step embeds."""
    case_id = await conn.fetchval(
        """INSERT INTO rkyc.case_memory (industry_code, event_type, summary, outcome, decided_at)
           VALUES ('C30399', 'LEGAL_PROCEEDING', '거래처가 손해배상을 청구함', 'CONFIRMED', '2024-05-02') RETURNING id"""
    )
    await conn.execute(
        """INSERT INTO rkyc.embedding (owner_type, owner_id, model, text_sha256, vector)
           VALUES ('case', $1, 'text-embedding-3-small', 'x', $2)""",
        case_id,
        [1.0] + [0.0] * 1535,
    )


def repeated(calls: list[Call]) -> list[Call]:
    return [call for call, times in Counter(calls).items() if times > 1]


def say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        print(f"\n  {line}")
