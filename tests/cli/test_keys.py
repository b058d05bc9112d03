"""`keys`: a tenant's payloads are sealed by the settings alone, its key is wrapped anew, and erased."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.engine import query
from tests.support.hosts import Host, open_hosts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
OLD, NEW = "11" * 32, "22" * 32
APP = ("--app", str(ROOT / "examples" / "contract_review.py:registry"))


@pytest.fixture
async def hosts(dsn: str, tmp_path: Path) -> AsyncIterator[list[Host]]:
    """Before the rotation, after it, and without the old key."""
    common = {"RKYC_DSN": dsn, "PYTHONPATH": str(ROOT), "RKYC_SEAL_PAYLOADS": "true"}
    settings = [
        {**common, "ENCRYPTION_KEY": OLD},
        {**common, "ENCRYPTION_KEY": NEW, "ENCRYPTION_KEY_V1": OLD},
        {**common, "ENCRYPTION_KEY": NEW},
    ]
    async with open_hosts(tmp_path, *settings) as opened:
        yield list(opened)


async def test_payloads_are_sealed_read_rotated_and_erased(hosts: list[Host], pool: Pool) -> None:
    before, both, after = hosts
    await before.serve("--no-api", "--only-app", *APP)
    given = json.dumps({"title": "Lease of Mr. Kim", "text": "It ends on 2027-03-31."})
    done = await before.run("submit", "contract-review", *APP, "--input", given, "--wait")
    assert done.code == 0, done
    job_id = done.out.split()[0]
    assert not await query(pool, "SELECT FROM rkyc.job WHERE input::text LIKE '%Kim%'")
    assert (await before.run("jobs", "show", job_id, "--json")).json["result"]["title"] == "Lease of Mr. Kim"
    assert "$rkyc" in (await after.run("jobs", "show", job_id, "--json")).json["result"]
    assert (await both.run("keys", "rotate", "--json")).json == {"rotated": 1}
    assert (await after.run("jobs", "show", job_id, "--json")).json["input"]["title"] == "Lease of Mr. Kim"
    assert [row["tenant"] for row in (await after.run("keys", "list", "--json")).json] == [""]
    assert (await after.run("keys", "erase", "", "--yes", "--json")).json == {"tenant": "", "erased": True}
    assert "$rkyc" in (await after.run("jobs", "show", job_id, "--json")).json["input"]
    assert (await after.run("keys", "erase", "", "--yes")).code == 1
    erased, rotated = (await after.run("audit", "--json")).json
    assert (erased["action"], erased["kind"], erased["object"]) == ("keys.erase", "tenant", "")
    assert (rotated["action"], rotated["details"]) == ("keys.rotate", {"rotated": 1})
    assert rotated["who"] == erased["who"] and rotated["who"].startswith("cli:")
