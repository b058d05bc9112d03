"""`rkyc jobs output`, by the real program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
PROBES = ("--app", "tests.support.probes:registry", "--app", "tests.support.map_probes:registry")


async def run(host: Host, tmp_path: Path, pipeline: str, **more: Any) -> str:
    """Return the id of a job that has ended."""
    given = json.dumps({"ledger": str(tmp_path / "ledger"), "job": 1, **more})
    done = await host.run("submit", pipeline, *PROBES, "--input", given, "--wait")
    return done.out.split()[0]


async def test_what_a_step_gave_is_printed_as_json(host: Host, tmp_path: Path) -> None:
    await host.serve("--no-api", "--only-app", *PROBES)
    job_id = await run(host, tmp_path, "chained", job=2**70)
    assert (await host.run("jobs", "output", job_id, "s3")).json == {"job": 2**70, "step": "s3"}
    # By default what was done last.
    assert (await host.run("jobs", "output", job_id, "--json")).json == {
        "job_id": job_id,
        "step": "s8",
        "output": {"job": 2**70, "step": "s8"},
    }
    wrong = await host.run("jobs", "output", job_id, "s9")
    assert (wrong.code, wrong.out) == (2, "")
    assert "no output of a step 's9': there is s1, s2" in wrong.err
    mapped = await run(host, tmp_path, "mapped", items=3)
    assert (await host.run("jobs", "output", mapped, "checked", "--item", "2")).out == "[\n  2,\n  2\n]\n"
    unnamed = await host.run("jobs", "output", mapped, "checked")
    assert unnamed.code == 2 and "name one of 3, by its key or number: 0, 1, 2" in unnamed.err
