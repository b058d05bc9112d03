"""`rkyc jobs output` and `rkyc jobs history`, by the real program."""

from __future__ import annotations

import json
import re
import uuid
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


async def test_what_happened_is_printed_a_line_per_event(host: Host, tmp_path: Path) -> None:
    server = await host.serve("--no-api", "--only-app", *PROBES)
    job_id = await run(host, tmp_path, "failing", failures=1)
    done = await host.run("jobs", "history", job_id)
    assert done.code == 0, done
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.out.splitlines()[2:] if line.strip()]
    assert [line[1] for line in lines] == [
        "job.created", "job.started", "step.started", "step.completed", "step.started", "step.retrying",
        "step.completed", "step.started", "step.completed", "job.completed",
    ]  # fmt: skip
    assert lines[5][2:5] == ["fail", "1", server.worker]
    assert lines[5][5].startswith("RETRYABLE not yet; again at 20")
    assert lines[6][2:] == ["fail", "2", server.worker]
    events = (await host.run("jobs", "history", job_id, "--json")).json
    assert [event["type"] for event in events] == [line[1] for line in lines]
    assert events[5]["error"] == {"code": "RETRYABLE", "message": "not yet"}
    assert (events[5]["worker"], events[-1]["status"]) == (server.worker, "completed")
    part = await host.run("jobs", "history", job_id, "--json", "--limit", "4")
    assert part.json == events[:4]
    assert f"rkyc jobs history {job_id} --after {events[3]['id']}" in part.err
    rest = await host.run("jobs", "history", job_id, "--json", "--after", str(events[3]["id"]))
    assert (rest.json, rest.err) == (events[4:], "")
    failed = await run(host, tmp_path, "failing", permanent=True)
    told = (await host.run("jobs", "history", failed)).out
    assert told.count("PERMANENT meant to fail") == 2
    unknown = await host.run("jobs", "history", str(uuid.UUID(int=1)))
    assert (unknown.code, unknown.out) == (2, "") and "no job" in unknown.err
