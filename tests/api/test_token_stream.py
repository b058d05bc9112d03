"""Token streams over a real socket: every token once, in order, whoever comes when, whatever is cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import rkyc.web
from rkyc.store.pool import Pool
from rkyc.store.queue.jobs import notify
from rkyc.store.queue.streams import STREAM_CHANNEL
from tests.support.engine import query, wait_for, wait_status
from tests.support.talkers import Sent, are_whole, heard, listen, open_gate, read_tokens, registry, script
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio
WORDS = [f"word{number} " for number in range(12)]
# Each word reaches the database on its own.
SPACED: list[Any] = [part for word in WORDS for part in (word, {"pause": 0.015})]


def types(events: list[Sent]) -> list[str]:
    return [event.type for event in events]


async def test_client_that_watches_from_the_start_gets_every_token_once(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, {"gate": "begin"}, *SPACED))
        async with listen(web.session, job_id) as events:
            open_gate(tmp_path, "begin")
            seen = [event async for event in events]
    assert heard(seen) == {"talk": "".join(WORDS)}
    tokens = seen[:-1]
    assert [token.data["seq"] for token in tokens] == list(range(len(tokens)))
    assert {token.data["attempt"] for token in tokens} == {1}
    ids = [int(token.id or "") for token in tokens]
    assert ids == sorted(set(ids))
    assert seen[-1].type == "stream.completed"
    assert seen[-1].data == {
        "job_id": job_id,
        "status": "completed",
        "streams": [
            {"step": "talk", "attempt": 1, "chunks": len(tokens), "chars": len("".join(WORDS))},
        ],
    }


async def test_client_may_come_back_at_any_point(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, *SPACED, {"fail": 2}, "last"))
        whole = await read_tokens(web.session, job_id)
        assert types(whole).count("stream.reset") == 2
        for number, event in enumerate(whole[:-1]):
            if event.id is not None:
                assert await read_tokens(web.session, job_id, event.id) == whole[number + 1 :]


async def test_client_cut_again_and_again_loses_and_repeats_nothing(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, *SPACED))
        seen: list[Sent] = []
        while not seen or seen[-1].type == "token":
            async with listen(web.session, job_id, seen[-1].id if seen else None) as events:
                seen.append(await anext(events))
        assert seen == await read_tokens(web.session, job_id)
    assert heard(seen) == {"talk": "".join(WORDS)}
    assert are_whole(seen)


async def test_retry_resets_and_counts_from_zero(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, "first try {n}", {"fail": 1}, " went on"))
        seen = await read_tokens(web.session, job_id)
    reset = types(seen).index("stream.reset")
    assert seen[reset] == Sent(None, "stream.reset", {"attempt": 2, "step": "talk", "reason": "attempt"})
    assert (seen[reset + 1].data["attempt"], seen[reset + 1].data["seq"]) == (2, 0)
    assert heard(seen) == {"talk": "first try 2 went on"}
    assert [one["attempt"] for one in seen[-1].data["streams"]] == [2]


async def test_late_client_gets_all_and_is_told_to_come_no_more(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, *SPACED))
        live = await read_tokens(web.session, job_id)
        await wait_status(web.app.pool, job_id, "completed")  # type: ignore[arg-type]
        assert await read_tokens(web.session, job_id) == live
        path = f"/api/v1/jobs/{job_id}/stream"
        assert await web.get(path, headers={"Last-Event-ID": str(live[-1].id)}) == (204, None)


async def test_tokens_come_from_the_process_that_runs_the_step(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as works, open_web(dsn, registry, works=False) as other:
        job_id = await works.submit("talk", script(tmp_path, *SPACED))
        far, near = await asyncio.gather(
            read_tokens(other.session, job_id), read_tokens(works.session, job_id)
        )
        assert far == near
        half = far[len(far) // 2].id
        assert await read_tokens(works.session, job_id, half) == far[len(far) // 2 + 1 :]
    assert heard(far) == {"talk": "".join(WORDS)}


async def test_two_hundred_clients_hear_the_same(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(web.url, connector=connector) as session:
            jobs = [await web.submit("talk", script(tmp_path, f"job {n} ", *SPACED)) for n in range(4)]
            all_seen = await asyncio.gather(*(read_tokens(session, jobs[n % 4]) for n in range(200)))
    for number, seen in enumerate(all_seen):
        assert heard(seen) == {"talk": f"job {number % 4} " + "".join(WORDS)}
        assert seen == all_seen[number % 4]
    assert b"sse_clients 0.0" in web.app.metrics.render()


async def test_client_that_does_not_read_is_cut_and_may_come_back(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        flood = [part for _ in range(100) for part in ({"long": 15_000}, {"pause": 0.005})]
        job_id = await web.submit("talk", script(tmp_path, "first ", {"gate": "go"}, *flood, {"gate": "end"}))
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await _ask(idle, web, job_id)
            await wait_for(lambda: _clients(web, 1), what="the idle client")
            async with listen(web.session, job_id) as events:
                seen = [await anext(events)]
                open_gate(tmp_path, "go")
                await wait_for(lambda: _clients(web, 1), what="the cut")
                open_gate(tmp_path, "end")
                seen += [event async for event in events]
        assert heard(seen) == {"talk": "first " + 1_500_000 * "x"}
        assert await read_tokens(web.session, job_id, seen[0].id) == seen[1:]


async def _ask(idle: socket.socket, web: Web, job_id: str) -> None:
    """Send a request and read nothing of its answer."""
    loop = asyncio.get_running_loop()
    idle.setblocking(False)
    host, port = web.url.removeprefix("http://").split(":")
    await loop.sock_connect(idle, (host, int(port)))
    await loop.sock_sendall(
        idle, f"GET /api/v1/jobs/{job_id}/stream HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    )


async def _clients(web: Web, number: int) -> bool:
    return f"sse_clients {number}.0".encode() in web.app.metrics.render()


async def test_steps_of_a_chain_are_told_apart(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talks", script(tmp_path, one=["a", {"fail": 1}, "b"], two=["c", "d"]))
        seen = await read_tokens(web.session, job_id)
    assert heard(seen) == {"one": "ab", "two": "cd"}
    assert [(one["step"], one["attempt"]) for one in seen[-1].data["streams"]] == [("one", 2), ("two", 1)]


async def test_branches_talk_at_the_same_time(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as one, open_web(dsn, registry) as two:
        steps = {"left": [*SPACED], "right": [*reversed(SPACED)], "last": ["end"]}
        jobs = [await one.submit("chorus", script(tmp_path, **steps)) for _ in range(4)]
        for job_id in jobs:
            near, far = await asyncio.gather(
                read_tokens(one.session, job_id), read_tokens(two.session, job_id)
            )
            assert near == far
            assert are_whole(near)
            assert heard(near) == {
                "left": "".join(WORDS), "right": "".join(reversed(WORDS)), "last": "end",
            }  # fmt: skip


async def test_job_that_emits_nothing_has_an_empty_stream(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path))
        (end,) = await read_tokens(web.session, job_id)
    assert (end.id, end.type, end.data["streams"]) == ("0-end", "stream.completed", [])


async def test_failed_job_gives_what_it_said_until_then(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, {"gate": "go"}, "so far", {"end": True}))
        async with listen(web.session, job_id) as events:
            open_gate(tmp_path, "go")
            seen = [event async for event in events]
    assert heard(seen) == {"talk": "so far"}
    assert (seen[-1].data["status"], seen[-1].data["streams"]) == ("failed", [])


async def test_job_started_again_by_a_person_goes_on_after_its_end(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, "again ", {"end": True}))
        before = await read_tokens(web.session, job_id)
        assert (await web.post(f"/api/v1/jobs/{job_id}/retry"))[0] == 202
        await wait_status(web.app.pool, job_id, "failed")  # type: ignore[arg-type]
        after = await read_tokens(web.session, job_id, before[-1].id)
    assert types(after) == ["stream.reset", "token", "stream.completed"]
    assert heard(before + after) == {"talk": "again "}


async def test_cancelled_job_ends_its_stream(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, "before", {"gate": "never"}))
        async with listen(web.session, job_id) as events:
            seen = [await anext(events)]
            assert (await web.post(f"/api/v1/jobs/{job_id}/cancel"))[0] == 200
            seen += [event async for event in events]
    assert types(seen) == ["token", "stream.completed"]
    assert seen[-1].data["status"] == "cancelled"


async def test_stream_whose_tables_were_emptied_says_so_and_goes_on(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, "lost ", {"gate": "go"}, "kept ", {"gate": "end"}))
        async with listen(web.session, job_id) as events:
            seen = [await anext(events)]
            await query(web.app.pool, "TRUNCATE rkyc.stream, rkyc.stream_chunk")
            open_gate(tmp_path, "go")
            seen += [await anext(events), await anext(events)]
            late = listen(web.session, job_id)
            back = listen(web.session, job_id, seen[0].id)
            async with late as late_events, back as back_events:
                open_gate(tmp_path, "end")
                rest = [event async for event in events]
                assert [event async for event in late_events] == [*seen[1:], *rest]
                assert [event async for event in back_events] == [*seen[1:], *rest]
    assert seen[1] == Sent(None, "stream.reset", {"attempt": 1, "step": None, "reason": "lost"})
    assert int(seen[2].id or "") > int(seen[0].id or "")
    assert heard([*seen, *rest]) == {"talk": "kept "}


@pytest.mark.parametrize("foreign", ["abc", "-1", "1.5", "9" * 18, "9" * 30, "٣", "7", "7-end", "-end"])
async def test_malformed_or_foreign_last_event_id_gets_all(dsn: str, tmp_path: Path, foreign: str) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, *WORDS))
        whole = await read_tokens(web.session, job_id)
        async with web.session.get(
            f"/api/v1/jobs/{job_id}/stream", params={"last_event_id": foreign}
        ) as response:
            text = await response.text()
    assert text.count("event: token") == types(whole).count("token")
    assert text.count("event: stream.completed") == 1


async def test_lost_hints_and_lost_connections_cost_no_token(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit(
            "talk", script(tmp_path, *(part for word in SPACED for part in (word, {"pause": 0.03})))
        )
        cutting = asyncio.create_task(_cut(web.app.pool))
        seen = await read_tokens(web.session, job_id)
        cutting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cutting
    assert heard(seen) == {"talk": "".join(WORDS)}
    assert are_whole(seen)
    assert types(seen).count("stream.reset") == 0


async def _cut(pool: Pool) -> None:
    while True:
        await query(
            pool,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name IN ('rkyc events', 'rkyc stream', 'rkyc tokens')",
        )
        await asyncio.sleep(0.3)


@pytest.mark.parametrize("text", ["", "nonsense", "12,", "!", "1!!", "9" * 40, "-5"])
async def test_foreign_notices_on_the_channel_harm_nothing(dsn: str, tmp_path: Path, text: str) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, "a", {"gate": "go"}, "b"))
        async with listen(web.session, job_id) as events:
            await anext(events)
            async with web.app.pool.connection() as conn:
                await notify(conn, STREAM_CHANNEL, [text])
            open_gate(tmp_path, "go")
            assert [event async for event in events][-1].type == "stream.completed"


async def test_pages_of_a_long_stream_join_without_a_seam(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.api.token_feed.PAGE_CHUNKS", 3)
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, *SPACED, {"fail": 1}))
        live = await read_tokens(web.session, job_id)
        assert await read_tokens(web.session, job_id) == live
        assert await read_tokens(web.session, job_id, live[4].id) == live[5:]
    assert heard(live) == {"talk": "".join(WORDS)}


@pytest.fixture
def short_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    options = rkyc.web.ApiOptions
    monkeypatch.setattr(rkyc.web, "ApiOptions", lambda **given: options(ping_s=0.05, look_s=0.05, **given))


@pytest.mark.usefixtures("short_pings")
async def test_quiet_stream_sends_comments(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False) as web:
        job_id = await web.submit("talk", script(tmp_path))
        async with web.session.get(f"/api/v1/jobs/{job_id}/stream") as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            lines = []
            while lines.count(b": ping\n") < 3:
                lines.append(await response.content.readline())
            response.close()


async def test_client_of_http_1_0_gets_the_plain_stream(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, "a", {"gate": "go"}, "b"))
        host, port = web.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /api/v1/jobs/{job_id}/stream HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        await reader.readuntil(b'"text":"a"')
        open_gate(tmp_path, "go")
        rest = await reader.read()
        writer.close()
    lines = rest.decode().splitlines()
    assert [line for line in lines if line.startswith("event")] == ["event: token", "event: stream.completed"]
    assert set(lines) & {"0", ""} == {""}


async def test_tokens_and_events_share_the_limit_of_clients(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False, environ={"RKYC_SSE_CLIENTS_MAX": "2"}) as web:
        job_id = await web.submit("talk", script(tmp_path))
        one, two = (web.session.get(f"/api/v1/jobs/{job_id}/{kind}") for kind in ("events", "stream"))
        async with one as events, two as tokens:
            for kind in ("events", "stream"):
                async with web.session.get(f"/api/v1/jobs/{job_id}/{kind}") as response:
                    assert response.status == 503
                    assert (await response.json(content_type=None))["code"] == "STREAMS_FULL"
            events.close()
            tokens.close()


async def test_client_that_went_away_is_forgotten_soon(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False) as web:
        job_id = await web.submit("talk", script(tmp_path))
        async with web.session.get(f"/api/v1/jobs/{job_id}/stream") as response:
            await wait_for(lambda: _clients(web, 1))
            response.close()
        await wait_for(lambda: _clients(web, 0), timeout_s=5)


async def test_stream_of_an_unknown_job_is_a_problem(dsn: str) -> None:
    async with open_web(dsn, registry, works=False) as web:
        assert (await web.get("/api/v1/jobs/019a0000-0000-7000-8000-000000000000/stream"))[0] == 404
        assert (await web.get("/api/v1/jobs/nonsense/stream"))[0] == 400


async def test_server_that_ends_ends_its_streams(dsn: str, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with open_web(dsn, registry, works=False) as web:
            job_id = await web.submit("talk", script(tmp_path))
            response = await session.get(f"{web.url}/api/v1/jobs/{job_id}/stream")
            assert b"retry" in await response.content.readline()
        assert b"stream.completed" not in await response.read()
