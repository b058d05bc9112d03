"""`dlq` and `audit`: list, groups, show, requeue with a preview, discard, by the real program."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.support.hosts import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
PROBES = ("--app", "tests.support.probes:registry")


async def test_dead_letters_are_looked_through_started_again_and_discarded(
    host: Host, tmp_path: Path
) -> None:
    server = await host.serve("--no-api", "--only-app", *PROBES)
    for number, more in ((1, {"failures": 9}), (2, {"permanent": True})):
        values = {"ledger": str(tmp_path / "ledger"), "job": number, **more}
        await host.run("submit", "failing", *PROBES, "--input", json.dumps(values), "--wait")
    assert await server.stop() == 0
    (dead,) = (await host.run("dlq", "list", "--json")).json
    (archived,) = (await host.run("dlq", "list", "--archived", "--json")).json
    assert (dead["error_code"], archived["error_code"]) == ("RETRYABLE", "PERMANENT")
    table = (await host.run("dlq", "list", "--groups")).out
    assert dead["fingerprint"] in table and "dlq.default" in table
    shown = (await host.run("dlq", "show", dead["job_id"], "--json")).json
    assert (shown["id"], shown["input"]["failures"]) == (dead["id"], 9)
    unclear = await host.run("dlq", "requeue")
    assert unclear.code == 2 and "say which" in unclear.err
    by_kind = ("--fingerprint", dead["fingerprint"])
    preview = await host.run("dlq", "requeue", *by_kind, "--preview")
    assert preview.out == "1 dead letter would be requeued\n"
    assert (await host.run("dlq", "requeue", *by_kind)).out == "1 dead letter requeued\n"
    assert (await host.run("jobs", "show", dead["job_id"], "--json")).json["status"] == "pending"
    assert (await host.run("dlq", "discard", str(archived["id"]))).out == "1 dead letter discarded\n"
    nothing = await host.run("dlq", "list", "--archived")
    assert nothing.out == "" and "no dead letter" in nothing.err
    trail = (await host.run("audit", "--json")).json
    assert [one["action"] for one in trail] == ["dlq.discard", "dlq.requeue"]
    assert trail[0]["who"].startswith("cli:") and trail[0]["object"] == str(archived["id"])


async def test_what_is_not_there_is_said(host: Host) -> None:
    unknown = await host.run("dlq", "show", str(uuid.uuid4()))
    assert unknown.code == 2 and "has no dead letter" in unknown.err
    assert (await host.run("dlq", "show", "nonsense")).code == 2
