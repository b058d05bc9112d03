"""`rkyc publish`, by the real program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from tests.support.engine import query, wait_for
from tests.support.hosts import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
APP = ("--app", "tests.support.waiters:registry")


async def test_an_event_wakes_all_that_wait_for_its_topic(host: Host, pool: Pool, tmp_path: Path) -> None:
    await host.serve("--no-api", "--only-app", *APP)
    given = json.dumps({"topic": "rates", "match": {"currency": "usd"}})
    ids = [(await host.run("submit", "listening", *APP, "--input", given)).out.strip() for _ in range(2)]

    async def all_wait() -> bool:
        return len(await query(pool, "SELECT FROM rkyc.waiting WHERE kind = 'event'")) == 2

    await wait_for(all_wait)
    told = tmp_path / "rates.json"
    told.write_text('{"currency": "eur"}')
    other = await host.run("publish", "rates", f"@{told}")
    assert (other.code, other.out) == (0, "rates published: 0 waiting tasks woken\n")
    done = await host.run("publish", "rates", '{"currency": "usd"}', "--json")
    assert done.json == {"topic": "rates", "woken": 2}
    for job_id in ids:
        watched = await host.run("jobs", "watch", job_id, "--json")
        assert watched.json["result"] == {"heard": [{"currency": "usd"}]}
    noted = (await host.run("audit", "rates", "--json")).json
    assert [(one["action"], one["details"]) for one in noted] == [
        ("event.publish", {"woken": 2}),
        ("event.publish", {"woken": 0}),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("rates", "{"), ("JSON is not JSON", "@FILE")),
        (("rates", "@nowhere.json"), ("nowhere.json", "can't be read")),
        (("",), ("topic ''", "expected 1 to 200")),
        (("x" * 201,), ("201 characters", "expected 1 to 200")),
        (("rates", '"\\u0000"'), ("NUL",)),
        ((), ("TOPIC",)),
    ],
)
async def test_what_can_not_be_published_is_told(
    host: Host, pool: Pool, arguments: tuple[str, ...], told: tuple[str, ...]
) -> None:
    done = await host.run("publish", *arguments)
    assert (done.code, done.out) == (2, ""), done
    assert [part for part in told if part not in done.err] == []
    assert await query(pool, "SELECT FROM rkyc.published") == []
