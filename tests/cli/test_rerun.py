"""`rkyc rerun --changed` on the example dossier, and `jobs fork|diff|runs|retry --from`, by the real program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.dossiers import HANBIT
from tests.support.hosts import Host, open_hosts
from tests.support.kyc_vendors import INSIGHT, script_of
from tests.support.vendors import open_vendors

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]
PROBES = ("--app", "tests.support.probes:registry")
KYC = ["snapshot", "doc_ingest", "external", "context", "signal", "validation", "index", "insight"]


async def test_after_a_changed_prompt_only_the_steps_it_reaches_run_and_the_saving_is_told(
    dsn: str, tmp_path: Path
) -> None:
    async with (
        open_vendors(tmp_path, script_of()) as vendors,
        open_hosts(tmp_path, {"RKYC_DSN": dsn, "PYTHONPATH": str(ROOT), **vendors.variables}) as (host,),
    ):
        server = await host.serve("--no-api")
        submitted = await host.run("submit", "kyc", "--dossier", HANBIT, "--wait")
        job_id = submitted.out.strip()
        assert submitted.code == 0, submitted
        same = await host.run("rerun", job_id, "--changed", "--json")
        assert (same.json["job_id"], same.json["again"]) == (None, []), same.json["reasons"]
        await server.stop()

        app = "tests.support.kyc_reprompted"
        server = await host.serve("--no-api", "--only-app", "--app", f"{app}:of_signal")
        planned = await host.run("rerun", job_id, "--changed", "--dry-run")
        assert "runs signal: kyc-direct@1:" in planned.err
        assert "runs insight: it comes after a step that runs again" in planned.err
        assert "keeps snapshot, doc_ingest, external, context\n" in planned.err
        await server.stop()

        asked_before = len(vendors.calls())
        await host.serve("--no-api", "--only-app", "--app", f"{app}:of_insight")
        done = await host.run("rerun", job_id, "--changed", "--wait", "--json")
        assert done.code == 0, done
        assert (done.json["kept"], done.json["again"]) == (KYC[:7], ["insight"])
        told = await host.run("rerun", job_id, "--changed", "--dry-run")
        asked = [call.short for call in vendors.calls()[asked_before:]]
        diff = (await host.run("jobs", "diff", job_id, done.json["job_id"], "--json")).json
        report = await host.run("jobs", "show", done.json["job_id"], "--json")
    assert f"{done.json['saved_usd']:.4f} USD" in told.err
    assert 0 < done.json["saved_usd"] == pytest.approx(done.json["before_usd"] - done.json["again_usd"])
    assert done.json["saved_calls"] > 0
    assert len(asked) == 1 and INSIGHT in asked[0], "one call alone is made and paid"
    assert float(done.json["spent_usd"]) == pytest.approx(done.json["again_usd"], rel=0.5)
    assert report.json["status"] == "completed"
    assert await ran(dsn, done.json["job_id"]) == ["insight"]
    assert set(diff["steps"]) <= {"insight"}
    assert diff["after"]["taken_over_usd"] == pytest.approx(done.json["saved_usd"])


async def ran(dsn: str, job_id: str) -> list[str]:
    """Return the steps that a job did itself: by a worker that began after the job was made."""
    conn = await asyncpg.connect(dsn)
    try:
        rows = await conn.fetch(
            """SELECT s.step FROM rkyc.step_status s JOIN rkyc.job j ON j.uuid = s.job_id
               WHERE s.job_id = $1 AND s.started_at >= j.created_at ORDER BY s.index""",
            job_id,
        )
    finally:
        await conn.close()
    return [row["step"] for row in rows]


async def test_a_job_is_forked_compared_and_started_again_from_a_step(host: Host, tmp_path: Path) -> None:
    await host.serve("--no-api", "--only-app", *PROBES)

    async def submit(**input: Any) -> str:
        text = json.dumps({"ledger": str(tmp_path / "ledger"), **input})
        return (await host.run("submit", "chained", *PROBES, "--input", text, "--wait")).out.strip()

    job_id = await submit(job=1)
    forked = await host.run("jobs", "fork", job_id, "--from", "s3", "--set", 's2={"step": "mine"}')
    assert forked.code == 0, forked
    forked_id = forked.out.strip()
    assert (await host.run("jobs", "watch", forked_id)).code == 0
    diff = await host.run("jobs", "diff", job_id, forked_id)
    assert "s2" in diff.out and "/step" in diff.out and "mine" in diff.out
    runs = (await host.run("jobs", "runs", job_id, "--json")).json
    assert [(run["job_id"], run["kind"]) for run in runs] == [(job_id, None), (forked_id, "fork")]
    again = await host.run("jobs", "retry", job_id, "--from", "s8", "--json")
    assert again.json["pipeline_step"] == "s8"
    assert (await host.run("jobs", "watch", job_id)).code == 0
    wrong = await host.run("jobs", "fork", job_id, "--from", "nowhere")
    assert wrong.code == 2 and "no step is called 'nowhere'" in wrong.err
    wrong = await host.run("jobs", "fork", job_id, "--from", "s3", "--set", "s2")
    assert wrong.code == 2 and "expected STEP=JSON" in wrong.err
    wrong = await host.run("jobs", "fork", job_id, "--from", "s3", "--set", "s2={")
    assert wrong.code == 2 and "--set s2 is not JSON" in wrong.err
    wrong = await host.run("jobs", "fork", job_id, "--from", "s3", "--version", "99999999999")
    assert wrong.code == 2 and "no version 99999999999 of chained" in wrong.err
    planned = await host.run("rerun", job_id, "--input", "null", "--dry-run", "--json")
    assert len(planned.json["again"]) == 8
    wrong = await host.run("rerun", job_id)
    assert wrong.code == 2 and "--changed, --degraded or --input" in wrong.err


async def test_jobs_and_lanes_are_paused_and_resumed(host: Host, tmp_path: Path) -> None:
    text = json.dumps({"ledger": str(tmp_path / "ledger"), "job": 1})
    job_id = (await host.run("submit", "single", *PROBES, "--input", text)).out.strip()
    assert (await host.run("jobs", "pause", job_id, "--reason", "later")).out == f"{job_id} paused\n"
    shown = (await host.run("jobs", "show", job_id, "--json")).json
    assert shown["wait_reason"] == "paused" and shown["wait_detail"].endswith(": later")
    assert (await host.run("jobs", "resume", job_id)).out == f"{job_id} resumed\n"
    assert (await host.run("lanes", "pause", "default", "--reason", "down")).out == "lane default paused\n"
    assert "was paused before" in (await host.run("lanes", "pause", "default")).out
    (listed,) = (await host.run("lanes", "list", "--json")).json
    assert (listed["name"], listed["reason"]) == ("default", "down")
    assert (await host.run("jobs", "list", "--json")).json[0]["wait_reason"] == "paused"
    assert (await host.run("lanes", "resume", "default")).out == "lane default resumed\n"
    assert (await host.run("pipelines", "pause", "nothing")).code == 2
    wrong = await host.run("tenants", "pause", "")
    assert wrong.code == 2 and "no tenant can be called ''" in wrong.err
    assert "no tenant is paused" in (await host.run("tenants", "list")).err


async def test_a_blocked_job_is_moved_to_the_newer_version(host: Host, tmp_path: Path) -> None:
    apps = [("--app", f"tests.support.deploys:{name}") for name in ("only_old", "casting")]
    text = json.dumps({"ledger": str(tmp_path / "ledger"), "job": 1})
    job_id = (await host.run("submit", "deployed", *apps[0], "--input", text)).out.strip()
    refused = await host.run("jobs", "migrate", job_id, "--app", "tests.support.deploys:only_new")
    assert refused.code == 2 and "no up-caster leads from deployed@1 to version 2" in refused.err
    moved = await host.run("jobs", "migrate", job_id, *apps[1])
    assert moved.out == f"{job_id} is of version 2 now\n", moved
    assert (
        await host.run("jobs", "migrate", "--pipeline", "deployed", *apps[1])
    ).out == "0 jobs of deployed moved\n"
    assert (await host.run("jobs", "migrate")).code == 2
    await host.serve("--no-api", "--only-app", *apps[1])
    assert (await host.run("jobs", "watch", job_id)).code == 0
