"""A worker is killed, and the database crashes, while a step emits: whoever listens is told and goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.database import private_server
from tests.support.fleet import open_fleet
from tests.support.server_faults import crash_backend
from tests.support.talkers import are_whole, heard, listen, open_gate, read_tokens, registry, script
from tests.support.web import open_web

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
APP = "tests.support.talkers:registry"


async def test_killed_worker_s_step_begins_its_stream_again_elsewhere(dsn: str, tmp_path: Path) -> None:
    async with (
        open_fleet(tmp_path, dsn=dsn, app=APP) as fleet,
        open_web(dsn, registry, works=False) as web,
    ):
        await asyncio.gather(fleet.start(), fleet.start())
        job_id = await web.submit(
            "talk", script(tmp_path, "try {n} ", {"gate": "go"}, {"kill": 1}, "went on")
        )
        async with listen(web.session, job_id) as events:
            seen = [await anext(events)]
            open_gate(tmp_path, "go")
            seen += [event async for event in events]
        assert [event.data for event in seen if event.type == "stream.reset"] == [
            {"attempt": 2, "step": "talk", "reason": "attempt"}
        ]
        assert heard(seen) == {"talk": "try 2 went on"}
        assert are_whole(seen)
        assert await read_tokens(web.session, job_id) == seen


async def test_stream_goes_on_after_a_crash_of_the_server(anyio_backend: object, tmp_path: Path) -> None:
    async with (
        private_server(tmp_path) as server,
        open_fleet(tmp_path, dsn=server.dsn, app=APP) as fleet,
        open_web(server.dsn, registry, works=False) as web,
    ):
        await fleet.start()
        job_id = await web.submit("talk", script(tmp_path, "lost ", {"gate": "go"}, "kept ", "to the end"))
        async with listen(web.session, job_id) as events:
            seen = [await anext(events)]
            await crash_backend(server)
            open_gate(tmp_path, "go")
            seen += [event async for event in events]
        resets = [event for event in seen if event.type == "stream.reset"]
        assert [reset.data["reason"] for reset in resets] == ["lost"]
        assert heard(seen) == {"talk": "kept to the end"}
        assert seen[-1].data["streams"] == [
            {"step": "talk", "attempt": 1, "chunks": seen[-2].data["seq"] + 1, "chars": 20}
        ]
        assert await read_tokens(web.session, job_id, seen[0].id) == seen[1:]
