"""`rkyc schedules`, by the real program."""

from __future__ import annotations

import pytest

from rkyc.store.pool import Pool
from tests.support.engine import announce
from tests.support.hosts import Host
from tests.support.probes import registry

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def test_a_schedule_is_added_listed_run_and_removed(host: Host, pool: Pool) -> None:
    await announce(pool, *registry)
    added = await host.run(
        "schedules", "add", "nightly", "single", "--cron", "0 3 * * *", "--input", '{"job": 1}'
    )
    assert added.code == 0 and added.out.startswith("nightly runs next at ")
    (row,) = (await host.run("schedules", "list", "--json")).json
    assert (row["name"], row["cron"], row["paused"], row["origin"]) == (
        "nightly",
        "0 3 * * *",
        False,
        "person",
    )
    job_id = (await host.run("schedules", "run", "nightly")).out.strip()
    (listed,) = (await host.run("jobs", "list", "--json")).json
    assert listed["job_id"] == job_id
    assert (await host.run("schedules", "pause", "nightly")).out == "nightly paused\n"
    assert "yes" in (await host.run("schedules", "list")).out
    wrong = await host.run("schedules", "add", "other", "single")
    assert wrong.code == 2 and "either cron or interval_s" in wrong.err
    assert (await host.run("schedules", "remove", "nightly")).code == 0
    missing = await host.run("schedules", "resume", "nightly")
    assert missing.code == 2 and "no schedule is called 'nightly'" in missing.err
