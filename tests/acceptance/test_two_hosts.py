"""Bytes travel with the database: another machine, without the dossier's folder, ends a job begun here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from lxml import html

from tests.support.dossiers import HANBIT, copy_dossier
from tests.support.engine import wait_for
from tests.support.expected import judge, reported
from tests.support.hosts import Server, open_hosts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_another_host_ends_the_job_and_shows_its_evidence(dsn: str, tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {"RKYC_DSN": dsn}, {"RKYC_DSN": dsn}) as (first, second):
        dossier = copy_dossier(HANBIT, first.folder)
        beginner = await first.serve("--no-api", "--pause-in", "external:100")
        submitted = await first.run("submit", "kyc", "--dossier", dossier)
        assert submitted.code == 0, submitted
        job_id = submitted.out.strip()
        await _wait_for_step(dsn, job_id, "external", "running")
        await beginner.kill()
        shutil.rmtree(first.folder)

        finisher = await second.serve("--port", "0")
        await _wait_for_step(dsn, job_id, "insight", "completed")
        shown, result = await _read_report(finisher, job_id)
    assert [step["attempts"] for step in result["steps"][:3]] == [1, 1, 2]
    assert judge(result, HANBIT).is_met
    quoted = [
        place
        for signal in reported(result)
        for place in signal["evidence"]
        if place["ref_type"] != "SNAPSHOT_KEYPATH"
    ]
    assert len(quoted) >= 6
    marks = _marks(shown)
    assert [place["quote"] for place in quoted if place["quote"] not in marks] == []


async def _wait_for_step(dsn: str, job_id: str, step: str, status: str) -> None:
    conn = await asyncpg.connect(dsn)

    async def look() -> bool:
        row = await conn.fetchval(
            "SELECT status FROM rkyc.step_status WHERE job_id = $1 AND step = $2", job_id, step
        )
        return bool(row == status)

    try:
        await wait_for(look, timeout_s=60, what=f"{step} {status}")
    finally:
        await conn.close()


async def _read_report(server: Server, job_id: str) -> tuple[str, dict[str, Any]]:
    place = f"{server.url}/api/v1/jobs/{job_id}/report"
    async with aiohttp.ClientSession() as session:
        async with session.get(place) as response:
            assert (response.status, response.content_type) == (200, "text/html")
            shown = await response.text()
        async with session.get(place, params={"format": "json"}) as response:
            assert response.status == 200
            return shown, json.loads(await response.text())


def _marks(shown: str) -> set[str]:
    """Return the texts between the marks of each quote."""
    texts: dict[str, str] = {}
    for mark in html.document_fromstring(shown).iter("mark"):
        name = mark.get("data-quote")
        assert name is not None
        texts[name] = texts.get(name, "") + "".join(map(str, mark.itertext()))
    return set(texts.values())
