"""`submit` and `jobs`: enqueue, list, show, watch, cancel, retry, by the real program."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rkyc.engine.client import Client
from rkyc.store.pool import Pool
from tests.support import sagas
from tests.support.dossiers import SAEBOM
from tests.support.engine import query, serve, wait_for
from tests.support.hosts import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
PROBES = ("--app", "tests.support.probes:registry")


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


async def submit(host: Host, pipeline: str, *options: str, **input: Any) -> str:
    done = await host.run("submit", pipeline, *PROBES, "--input", json.dumps(input), *options)
    assert done.code == 0, done
    return str(uuid.UUID(done.out.strip()))


async def test_job_is_followed_to_its_end_and_shown(host: Host, ledger: str) -> None:
    server = await host.serve("--no-api", "--only-app", *PROBES)
    assert server.ready["event"] == "ready" and server.ready["url"] is None
    done = await host.run(
        "submit", "chained", *PROBES, "--input", json.dumps({"ledger": ledger, "job": 1}), "--wait"
    )
    job_id = done.out.strip()
    assert done.code == 0
    assert "s8: completed" in done.err and f"{job_id} completed" in done.err
    shown = (await host.run("jobs", "show", job_id, "--json")).json
    assert (shown["status"], shown["input"]["job"]) == ("completed", 1)
    assert [(step["status"], step["attempt"]) for step in shown["steps"]] == [("completed", 1)] * 8
    table = await host.run("jobs", "show", job_id)
    assert "s8" in table.out and server.worker in table.out
    watched = await host.run("jobs", "watch", job_id)
    assert (watched.code, watched.out) == (0, f"{job_id} completed\n")


async def test_failed_job_is_exit_code_one_and_is_started_again_where_it_ended(
    host: Host, ledger: str
) -> None:
    server = await host.serve("--no-api", "--only-app", *PROBES)
    job_id = await submit(host, "failing", ledger=ledger, job=1, permanent=True)
    watched = await host.run("jobs", "watch", job_id)
    assert watched.code == 1
    assert "failed in fail" in watched.out and "PERMANENT" in watched.out and "meant to fail" in watched.out
    assert await server.stop() == 0
    assert (await host.run("jobs", "retry", job_id)).out == f"{job_id} pending at fail\n"
    again = await host.run("jobs", "retry", job_id)
    assert again.code == 2 and "neither failed nor cancelled" in again.err


async def test_waiting_job_says_that_no_worker_is_alive_and_can_be_cancelled(host: Host, ledger: str) -> None:
    job_id = await submit(host, "single", ledger=ledger, job=1)
    (listed,) = (await host.run("jobs", "list", "--json", "--status", "pending")).json
    assert (listed["job_id"], listed["wait_reason"]) == (job_id, "queued")
    assert (await host.run("workers", "--json")).json == []
    assert (await host.run("jobs", "cancel", job_id)).out == f"{job_id} cancelled\n"
    assert "had ended before: cancelled" in (await host.run("jobs", "cancel", job_id)).out
    assert (await host.run("jobs", "watch", job_id)).code == 1


async def test_cancel_says_what_is_undone_first_and_a_second_one_stops_it(
    host: Host, dsn: str, pool: Pool, ledger: str
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=sagas.registry):
        given = {"ledger": ledger, "job": 1, "stay": "signal", "wait": 60}
        job_id = await client.enqueue("trip", given)
        await wait_for(lambda: query(pool, "SELECT FROM rkyc.waiting"))
        said = (await host.run("jobs", "cancel", str(job_id))).out
        assert said == f"{job_id} is cancelled when what it did is undone: hotel, flight\n"
        assert "(left: hotel, flight)" in (await host.run("jobs", "why", str(job_id))).out
        said = (await host.run("jobs", "cancel", str(job_id), "--json")).json
        assert said == {"job_id": str(job_id), "cancelled": True, "status": "cancelled"}


async def test_same_key_is_the_same_job_and_another_input_a_conflict(host: Host, ledger: str) -> None:
    first = await submit(host, "single", "--key", "k", ledger=ledger, job=1)
    assert await submit(host, "single", "--key", "k", ledger=ledger, job=1) == first
    done = await host.run("submit", "single", *PROBES, "--key", "k", "--input", '{"job": 2}')
    assert done.code == 2 and "'k'" in done.err


async def test_dossier_is_uploaded_and_its_manifest_is_the_input(host: Host, dsn: str) -> None:
    by_option = await host.run("submit", "kyc", "--dossier", SAEBOM, "--corp", "7")
    by_input = await host.run("submit", "kyc", "--input", json.dumps({"dossier": str(SAEBOM)}))
    shown = [
        (await host.run("jobs", "show", done.out.strip(), "--json")).json for done in (by_option, by_input)
    ]
    assert shown[0]["input"] == shown[1]["input"]
    assert {ref["name"] for ref in shown[0]["input"]["files"]} >= {"statements.csv", "bank.json"}
    assert shown[0]["metadata"]["corp"] == "7"
    (found,) = (await host.run("jobs", "list", "--corp", "7", "--json")).json
    assert found["job_id"] == by_option.out.strip()


async def test_jobs_are_found_by_their_metadata(host: Host, ledger: str) -> None:
    later = ("--run-at", "2999-01-01T00:00:00+00:00")
    found, *_ = [
        await submit(host, "single", *later, *meta, ledger=ledger, job=1)
        for meta in (
            ("--meta", "desk=seoul", "--meta", "round=2"),
            ("--meta", "desk=seoul", "--meta", "round=1"),
            ("--meta", "desk=busan"),
        )
    ]
    shown = (await host.run("jobs", "list", "--meta", "desk=seoul", "--meta", "round=2", "--json")).json
    assert [row["job_id"] for row in shown] == [found]
    assert len((await host.run("jobs", "list", "--meta", "desk=seoul", "--json")).json) == 2
    wrong = await host.run("jobs", "list", "--meta", "desk")
    assert wrong.code == 2 and "KEY=VALUE" in wrong.err


async def test_job_for_later_waits(host: Host, ledger: str) -> None:
    job_id = await submit(host, "single", "--run-at", "2999-01-01T00:00:00+00:00", ledger=ledger, job=1)
    shown = (await host.run("jobs", "show", job_id, "--json")).json
    assert (shown["status"], shown["wait_reason"]) == ("pending", "scheduled")


async def test_limits_and_tenant_of_a_job_are_given_with_it(host: Host, dsn: str, ledger: str) -> None:
    options = (
        "--deadline",
        "60",
        "--budget",
        "2.5",
        "--fair-key",
        "acme",
        "--weight",
        "2",
        "--tenant",
        "bank",
    )
    job_id = await submit(host, "single", *options, ledger=ledger, job=1)
    conn = await asyncpg.connect(dsn)
    row = await conn.fetchrow(
        """SELECT budget_usd::float8 AS budget_usd, extract(epoch FROM deadline_at - created_at)::float8 AS deadline_s,
                  traits::text AS traits FROM rkyc.job WHERE uuid = $1""",
        uuid.UUID(job_id),
    )
    await conn.close()
    assert (row["budget_usd"], round(row["deadline_s"])) == (2.5, 60)
    traits = json.loads(row["traits"])
    assert (traits["fair_key"], traits["weight"], traits["tenant"]) == ("acme", 2, "bank")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("submit", "nothing"), ("nothing", "this database knows")),
        (("submit", "kyc", "--input", '{"files": 3}'), ("input of kyc", "corp", "--dossier")),
        (("submit", "kyc", "--input", "{"), ("--input", "not JSON", "@FILE")),
        (("submit", "kyc", "--input", "@nowhere.json"), ("nowhere.json", "can't be read")),
        (("submit", "kyc", "--dossier", ".", "--input", "{}"), ("exclude each other",)),
        (("submit", "kyc", "--dossier", str(SAEBOM), "--run-at", "soon"), ("soon", "2030-01-31")),
        (("submit", "kyc", "--dossier", str(SAEBOM), "--lane", "fast"), ("fast", "high, default, low")),
        (("submit", "kyc", "--dossier", str(SAEBOM), "--weight", "0"), ("--weight", "0.01")),
        (("lanes", "pause", "urgent"), ("urgent", "high, default, low")),
        (("pipelines", "pause", "nothing"), ("nothing", "this database knows")),
        (("submit", "x", "--app", "nowhere:registry"), ("nowhere", "no module")),
        (("jobs", "show", "17"), ("JOB_ID", "UUID")),
        (("jobs", "show", str(uuid.UUID(int=1))), ("no job", "jobs list")),
        (("jobs", "watch", str(uuid.UUID(int=1))), ("no job",)),
        (("jobs", "list", "--status", "done"), ("done", "pending")),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
async def test_mistake_is_told_with_what_to_do(
    arguments: tuple[str, ...], told: tuple[str, ...], host: Host
) -> None:
    done = await host.run(*arguments)
    assert (done.code, done.out) == (2, ""), done
    assert [part for part in told if part not in done.err] == []
    assert "Traceback" not in done.err


async def test_why_says_it_in_one_line(host: Host) -> None:
    done = await host.run("submit", "single", "--app", "tests.support.probes:registry", "--input", '{"n": 1}')
    job_id = done.out.strip()
    told = await host.run("jobs", "why", job_id)
    expected = "lane default is served by no live worker. To do: start one: rkyc serve --lanes default."
    assert (told.code, told.out.strip()) == (0, expected)
    shown = (await host.run("jobs", "why", job_id, "--json")).json
    assert (shown["job_id"], shown["reason"], shown["facts"]["step"]) == (job_id, "lane_unserved", "only")
