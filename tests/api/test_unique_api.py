"""Unique keys over HTTP."""

from __future__ import annotations

import pytest

from tests.support.probes import registry
from tests.support.web import open_web

pytestmark = pytest.mark.anyio


async def test_a_held_key_answers_with_the_job_that_holds_it(dsn: str) -> None:
    async with open_web(dsn, registry, works=False) as web:
        body = {"pipeline": "single", "input": {}, "unique": {"key": "corp-7", "while": "pending"}}
        answers = []
        for _ in range(2):
            async with web.session.post("/api/v1/jobs", json=body) as response:
                answers.append((response.status, (await response.json())["job_id"]))
        assert [status for status, _ in answers] == [202, 200]
        assert answers[0][1] == answers[1][1]
        wrong = body | {"unique": {"key": "corp-7", "while": "pending", "for_s": 5}}
        async with web.session.post("/api/v1/jobs", json=wrong) as response:
            assert (response.status, (await response.json())["code"]) == (422, "INPUT_INVALID")
