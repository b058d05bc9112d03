"""An analysis of the example by two real servers, with every provider set up and a ledger of their calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg

from tests.support.dossiers import HANBIT
from tests.support.hosts import Host, Server, open_hosts
from tests.support.vendors import Call, Vendors, open_vendors

STEPS = ("snapshot", "doc_ingest", "external", "context", "signal", "validation", "index", "insight")


@dataclass(frozen=True, slots=True)
class Scene:
    """Two servers on one database and the vendors. Looks by a connection of its own each time."""

    dsn: str
    host: Host
    servers: tuple[Server, Server]
    vendors: Vendors
    job_id: str

    async def query(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        conn = await asyncpg.connect(self.dsn)
        try:
            return await conn.fetch(sql, *values)
        finally:
            await conn.close()

    async def status(self) -> asyncpg.Record:
        rows = await self.query("SELECT * FROM rkyc.job_status WHERE job_id = $1", self.job_id)
        return rows[0]

    async def steps(self) -> dict[str, asyncpg.Record]:
        rows = await self.query("SELECT * FROM rkyc.step_status WHERE job_id = $1", self.job_id)
        return {row["step"]: row for row in rows}

    async def journalled(self) -> int:
        return int((await self.query("SELECT count(*) AS n FROM rkyc.journal"))[0]["n"])

    async def runs(self, step: str) -> bool:
        return bool((await self.steps())[step]["status"] == "running")

    async def has_ended(self) -> bool:
        return (await self.status())["status"] in ("completed", "failed", "cancelled")

    async def kill_the_one_that_runs_it(self) -> Server:
        """Kill the process that holds the job and return the other one."""
        worker = (await self.status())["worker"]
        victim, other = sorted(self.servers, key=lambda server: server.worker != worker)
        assert victim.worker == worker
        await victim.kill()
        return other


@asynccontextmanager
async def started(
    dsn: str,
    folder: Path,
    script: dict[str, Any],
    *options: str,
    with_case: bool = False,
    through: str | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Scene]:
    """Start vendors and two servers with these options, and submit the example.

    `through` is the DSN that the servers get, when it is not the one that the test looks through.
    """
    async with (
        open_vendors(folder, script) as vendors,
        open_hosts(folder, {"RKYC_DSN": through or dsn, **vendors.variables, **variables}) as (host,),
    ):
        if with_case:
            await _remember_case(dsn)
        first, second, submitted = await asyncio.gather(
            host.serve("--no-api", *options),
            host.serve("--no-api", *options),
            host.run("submit", "kyc", "--dossier", HANBIT),
        )
        assert submitted.code == 0, submitted
        yield Scene(dsn, host, (first, second), vendors, submitted.out.strip())


def repeated(calls: list[Call]) -> list[Call]:
    return [call for call, times in Counter(calls).items() if times > 1]


async def is_asked(scene: Scene) -> bool:
    """Whether the company's question to a model is under way, or was."""
    return any("chat/completions" in call.path for call in scene.vendors.calls())


async def _remember_case(dsn: str) -> None:
    """Keep a decision about the industry, with a vector, so that the fourth step embeds."""
    conn = await asyncpg.connect(dsn)
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
    await conn.close()
