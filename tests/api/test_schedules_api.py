"""Schedules over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.probes import registry
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio
SCHEDULES = "/api/v1/schedules"


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    async with open_web(dsn, registry, works=False) as opened:
        yield opened


async def post(web: Web, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    async with web.session.post(path, json=body if body is not None else {}) as response:
        return response.status, await response.json(content_type=None)


async def test_a_schedule_is_added_run_paused_resumed_and_removed(web: Web) -> None:
    asked = {
        "name": "nightly",
        "pipeline": "single",
        "cron": "30 6 * * *",
        "time_zone": "Asia/Seoul",
        "input": {"job": 1},
    }
    assert await post(web, SCHEDULES, asked) == (201, {"name": "nightly"})
    status, said = await web.get(SCHEDULES)
    (row,) = said["schedules"]
    assert (status, row["name"], row["cron"], row["time_zone"], row["paused"]) == (
        200,
        "nightly",
        "30 6 * * *",
        "Asia/Seoul",
        False,
    )
    assert row["next_fire"].split("T")[1].startswith("21:30:00")
    status, said = await post(web, f"{SCHEDULES}/nightly/run")
    assert status == 202
    assert (await web.get(f"/api/v1/jobs/{said['job_id']}"))[1]["metadata"]["schedule"] == "nightly"
    assert await post(web, f"{SCHEDULES}/nightly/pause") == (200, {"name": "nightly", "paused": True})
    assert await post(web, f"{SCHEDULES}/nightly/resume") == (200, {"name": "nightly", "paused": False})
    async with web.session.delete(f"{SCHEDULES}/nightly") as response:
        assert response.status == 200
    assert (await web.get(SCHEDULES))[1] == {"schedules": []}


async def test_mistakes_are_problems_that_say_what_to_do(web: Web) -> None:
    status, said = await post(web, SCHEDULES, {"name": "nightly", "pipeline": "single", "cron": "at noon"})
    assert (status, said["code"]) == (422, "INPUT_INVALID")
    assert "expected five fields" in str(said["detail"])
    status, said = await post(web, SCHEDULES, {"name": "nightly", "pipeline": "none", "interval_s": 5})
    assert (status, said["code"]) == (422, "PIPELINE_UNKNOWN")
    assert (await post(web, SCHEDULES, {"name": "n", "pipeline": "single", "interval_s": 5, "evry": 1}))[
        0
    ] == 422
    status, said = await post(web, f"{SCHEDULES}/nowhere/run")
    assert (status, said["code"]) == (404, "NOT_FOUND")
