"""What one step of a job gave, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from rkyc.flow.pipeline import Registry
from tests.engine.test_maps import READING, job
from tests.support import probes
from tests.support.engine import wait_status
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio
UNKNOWN = "019a0000-0000-7000-8000-000000000000"


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    async with open_web(dsn, Registry([*probes.registry, READING])) as opened:
        yield opened


async def run(web: Web, pipeline: str, given: object) -> str:
    """Submit a job and return the address of its steps when it has ended."""
    job_id = await web.submit(pipeline, given)
    await wait_status(web.app.pool, UUID(job_id))
    return f"/api/v1/jobs/{job_id}/steps"


async def test_the_output_of_a_step_is_shown_as_it_was_written(web: Web, tmp_path: Path) -> None:
    steps = await run(web, "chained", {"ledger": str(tmp_path / "ledger"), "job": 2**60})
    async with web.session.get(f"{steps}/s3/output") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert b'"output":{"job": 1152921504606846976, "step": "s3"}}' in await response.read()
    status, said = await web.get(f"{steps}/s9/output")
    assert (status, said["code"]) == (404, "NOT_FOUND")
    assert said["detail"].endswith("there is s1, s2, s3, s4, s5, s6, s7, s8")
    status, said = await web.get(f"{steps}/s3/output", params={"item": "0"})
    assert (status, said["code"]) == (422, "INPUT_INVALID")


async def test_the_output_of_an_item_is_shown_by_its_key(web: Web, tmp_path: Path) -> None:
    steps = await run(web, "reading", job(tmp_path, {"name": "a"}, {"name": "b"}))
    status, said = await web.get(f"{steps}/read/output", params={"item": "b"})
    assert (status, said["step"], said["item"], said["item_key"]) == (200, "read", 1, "b")
    assert said["output"]["element"] == {"name": "b"}
    status, said = await web.get(f"{steps}/read/output")
    assert status == 422 and said["detail"].endswith("by its key or number: a, b")
    assert (await web.get(f"{steps}/read/output", params={"item": "c"}))[0] == 404


async def test_what_is_not_there_is_refused(web: Web) -> None:
    assert (await web.get(f"/api/v1/jobs/{UNKNOWN}/steps/s1/output"))[0] == 404
    assert (await web.get("/api/v1/jobs/nonsense/steps/s1/output"))[0] == 400
    assert (await web.get(f"/api/v1/jobs/{UNKNOWN}/steps/s1/output", params={"key": "a"}))[0] == 422
