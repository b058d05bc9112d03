"""What holds starts and calls back, at the API and on the command line; a provider is asked again by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkyc.store.pool import Pool
from rkyc.store.queue import breakers, buckets, slots
from rkyc.store.queue.breakers import BreakerPolicy
from rkyc.store.queue.buckets import Charge
from tests.support.engine import query
from tests.support.hosts import open_hosts
from tests.support.moves import NOW
from tests.support.probes import registry
from tests.support.web import open_web

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def limits(pool: Pool) -> None:
    """A limit of two with both places free, a rate that is ahead by about a minute, a provider that failed twice."""
    async with pool.connection() as conn:
        await slots.declare_limits(conn, {"claude": 2})
        await slots.create_slots(conn, {"claude": "claude"}, NOW)
        await buckets.reserve_units(conn, [Charge("tokens/gpt", 600, 10, 0)])
        for _ in range(2):
            await breakers.note_failure(
                conn, "gpt", BreakerPolicy(failures_max=2, pause_s=60), is_probe=False
            )


async def test_limits_are_shown_and_a_breaker_is_closed(dsn: str, pool: Pool) -> None:
    async with open_web(dsn, registry, works=False) as web:
        status, shown = await web.get("/api/v1/limits")
        assert status == 200
        rows = {(row["kind"], row["name"]): row for row in shown["limits"]}
        assert [*rows] == [("breaker", "gpt"), ("places", "claude"), ("rate", "tokens/gpt")]
        assert (rows["places", "claude"]["used"], rows["places", "claude"]["size"]) == (0, 2)
        assert rows["breaker", "gpt"]["used"] == 2 and rows["breaker", "gpt"]["until"]
        assert rows["rate", "tokens/gpt"]["until"]
        closed = [(await web.post("/api/v1/breakers/gpt/close", {}))[1]["changed"] for _ in range(2)]
    assert closed == [True, False]
    (noted,) = await query(pool, "SELECT action, object FROM rkyc.audit")
    assert tuple(noted) == ("breaker.close", "gpt")


async def test_the_command_line_shows_them_and_closes(dsn: str, tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {"RKYC_DSN": dsn}) as (host,):
        shown = await host.run("limits", "list")
        assert shown.code == 0 and all(name in shown.out for name in ("tokens/gpt", "claude", "breaker"))
        assert (await host.run("limits", "close", "gpt")).out.strip() == "gpt is asked again"
        assert (await host.run("limits", "close", "gpt")).out.strip() == "gpt was not held back"
        rows = (await host.run("limits", "list", "--json")).json
    assert [row["kind"] for row in rows] == ["places", "rate"]
