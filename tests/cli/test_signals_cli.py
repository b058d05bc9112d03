"""`rkyc jobs signal` and `rkyc jobs hook`, by the real program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.hosts import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
APP = ("--app", "tests.support.waiters:registry")


async def test_a_signal_that_is_sent_by_hand_ends_the_wait(host: Host, tmp_path: Path) -> None:
    await host.serve("--no-api", "--only-app", *APP)
    said = json.dumps({"ledger": str(tmp_path / "ledger"), "job": "1", "signals": 2})
    job_id = (await host.run("submit", "approved", *APP, "--input", said)).out.strip()
    sent = await host.run("jobs", "signal", job_id, "approve", '{"by": "kim"}', "--delivery", "a")
    assert (sent.code, sent.out) == (0, f"{job_id} signal approve sent\n")
    again = await host.run("jobs", "signal", job_id, "approve", '{"by": "kim"}', "--delivery", "a", "--json")
    assert (again.code, again.json["repeated"]) == (0, True)
    (noted,) = (await host.run("audit", job_id, "--json")).json
    assert (noted["action"], noted["details"]) == ("job.signal", {"name": "approve", "delivery_id": "a"})
    assert noted["who"].startswith("cli:")
    assert (await host.run("jobs", "signal", job_id, "approve")).code == 0
    watched = await host.run("jobs", "watch", job_id, "--json")
    assert (watched.code, watched.json["result"]["said"]) == (0, [{"by": "kim"}, None])
    late = await host.run("jobs", "signal", job_id, "approve")
    assert late.code == 2 and "has ended" in late.err
    wrong = await host.run("jobs", "signal", job_id, "approve", "{")
    assert wrong.code == 2 and "JSON is not JSON" in wrong.err
    hook = await host.run("jobs", "hook", job_id, "approve")
    assert hook.code == 2 and "RKYC_HOOK_SECRET is not set" in hook.err
