"""Events to many over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.support.engine import query, wait_for
from tests.support.waiters import registry
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio
EVENTS = "/api/v1/events"


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    async with open_web(dsn, registry) as opened:
        yield opened


async def test_an_event_wakes_all_that_wait_for_its_topic_and_is_noted(web: Web) -> None:
    ids = [await web.submit("listening", {"topic": "rates"}) for _ in range(3)]
    await web.submit("listening", {"topic": "news"})

    async def all_wait() -> bool:
        return len(await query(web.app.pool, "SELECT FROM rkyc.waiting WHERE kind = 'event'")) == 4

    await wait_for(all_wait)
    said = {"topic": "rates", "payload": {"currency": "usd"}}
    assert await web.post(EVENTS, said) == (202, {"topic": "rates", "woken": 3})
    for job_id in ids:
        assert await web.app.client.result(UUID(job_id), 15) == {"heard": [{"currency": "usd"}]}
    assert await web.post(EVENTS, {"topic": "rates"}) == (202, {"topic": "rates", "woken": 0})
    _, trail = await web.get("/api/v1/audit", params={"object": "rates"})
    assert [(one["who"], one["action"], one["details"]) for one in trail["entries"]] == [
        ("api:127.0.0.1", "event.publish", {"woken": 0}),
        ("api:127.0.0.1", "event.publish", {"woken": 3}),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        ([], 422),
        ({}, 422),
        ({"topic": ""}, 422),
        ({"topic": "x" * 201}, 422),
        ({"topic": "a\nb"}, 422),
        ({"topic": "rates", "load": 1}, 422),
        ({"topic": "rates", "payload": "\0"}, 422),
    ],
)
async def test_what_can_not_be_published_is_refused(web: Web, body: Any, status: int) -> None:
    answer, said = await web.post(EVENTS, body)
    assert (answer, said["status"]) == (status, status), said
    assert await query(web.app.pool, "SELECT FROM rkyc.published") == []
