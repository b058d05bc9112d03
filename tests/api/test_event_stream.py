"""Event streams over a real socket: every event once, in order, whoever comes when, whatever is cut."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import rkyc.web
from rkyc.store.pool import Pool
from rkyc.store.queue.jobs import PROGRESS_CHANNEL, notify
from tests.support import sagas
from tests.support.engine import query, wait_for, wait_status
from tests.support.probes import CHAIN_STEPS, MEMBERS, registry
from tests.support.web import SentEvent, open_web, read_events, stream

pytestmark = pytest.mark.anyio

CHAINED = [
    ("job.created", None),
    ("job.started", "s1"),
    ("step.started", "s1"),
    *(
        pair
        for number in range(1, 8)
        for pair in (("step.completed", f"s{number}"), ("step.started", f"s{number + 1}"))
    ),
    ("step.completed", "s8"),
    ("job.completed", "s8"),
]


def told(events: list[SentEvent]) -> list[tuple[str, Any]]:
    return [(event.type, event.data["step"]) for event in events]


def is_growing(numbers: list[int]) -> bool:
    return all(one < other for one, other in itertools.pairwise(numbers))


def job(folder: Path, **more: Any) -> dict[str, Any]:
    return {"ledger": str(folder / "ledger"), "job": "j", **more}


async def test_client_that_watches_from_the_start_sees_every_event_once(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False) as web:
        job_id = await web.submit("chained", job(tmp_path, wait=0.03))
        async with stream(web.session, job_id) as events:
            first = await anext(events)
            assert told([first]) == [("job.created", None)]
            async with open_web(dsn, registry):
                rest = [event async for event in events]
    assert told([first, *rest]) == CHAINED
    assert is_growing([event.id for event in (first, *rest)])


async def test_data_of_an_event_holds_the_promised_fields(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("single", job(tmp_path))
        events = await read_events(web.session, job_id)
    for event in events:
        assert {"job_id", "type", "step", "status", "progress_pct", "ts"} <= event.data.keys()
        assert (event.data["job_id"], event.data["type"]) == (job_id, event.type)
    assert [event.data["status"] for event in events] == ["pending", *["running"] * 3, "completed"]
    assert events[-1].data["result"] == {"step": "only", "job": "j"}
    assert all("result" not in event.data for event in events[:-1])


async def test_progress_never_goes_back_and_is_100_at_the_end_alone(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        events = await read_events(web.session, await web.submit("chained", job(tmp_path)))
    progress = [event.data["progress_pct"] for event in events]
    assert progress == sorted(progress)
    assert progress[-1] == 100 and progress[-2] == 99
    assert 100 not in progress[:-1]


async def test_client_cut_five_times_sees_every_event_once_in_order(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("chained", job(tmp_path, wait=0.05))
        seen: list[SentEvent] = []
        for _ in range(5):
            async with stream(web.session, job_id, seen[-1].id if seen else None) as events:
                seen += [await anext(events) for _ in range(3)]
        seen += await read_events(web.session, job_id, seen[-1].id)
        whole = await read_events(web.session, job_id)
    assert told(seen) == CHAINED
    assert seen == whole


async def test_late_client_sees_the_whole_history_and_the_end(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("chained", job(tmp_path))
        await wait_status(web.app.pool, job_id, "completed")
        assert told(await read_events(web.session, job_id)) == CHAINED


async def test_ids_are_the_same_in_every_process(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as one, open_web(dsn, registry, works=False) as other:
        job_id = await one.submit("chained", job(tmp_path, wait=0.03))
        live = await read_events(one.session, job_id)
        half = live[len(live) // 2].id
        assert await read_events(other.session, job_id, half) == [event for event in live if event.id > half]


@pytest.mark.parametrize("by_query", [False, True], ids=["header", "query"])
async def test_last_event_id_replays_what_is_missing(dsn: str, tmp_path: Path, by_query: bool) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("chained", job(tmp_path))
        whole = await read_events(web.session, job_id)
        for event in whole[:-1]:
            missing = await read_events(web.session, job_id, event.id, by_query=by_query)
            assert missing == [later for later in whole if later.id > event.id]


async def test_client_that_has_the_end_is_told_to_come_no_more(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("single", job(tmp_path))
        whole = await read_events(web.session, job_id)
        path = f"/api/v1/jobs/{job_id}/events"
        assert await web.get(path, headers={"Last-Event-ID": str(whole[-1].id)}) == (204, None)


@pytest.mark.parametrize("foreign", ["abc", "-1", "1.5", "99999999999999999999", "٣", "7", "900000000001"])
async def test_malformed_or_foreign_last_event_id_replays_all(dsn: str, tmp_path: Path, foreign: str) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("single", job(tmp_path))
        whole = await read_events(web.session, job_id)
        again = await read_events(web.session, job_id, foreign, by_query=True)
    assert [event.id for event in again] == [event.id for event in whole]
    assert all(event.data["replayed"] for event in again)


async def test_failed_attempt_and_failed_job_are_told_with_their_errors(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        retried = await read_events(web.session, await web.submit("failing", job(tmp_path, failures=1)))
        failed = await read_events(web.session, await web.submit("failing", job(tmp_path, permanent=True)))
    retrying = next(event for event in retried if event.type == "step.retrying")
    assert retrying.data["error"] == {"code": "RETRYABLE", "message": "not yet"}
    assert retrying.data["attempt"] == 1 and retrying.data["retry_at"]
    assert told(retried)[-1] == ("job.completed", "after")
    assert told(failed)[-2:] == [("step.failed", "fail"), ("job.failed", "fail")]
    assert failed[-1].data["error"] == {"code": "PERMANENT", "message": "meant to fail"}
    assert failed[-1].data["status"] == "failed"


async def test_job_started_again_keeps_its_ids_and_ends_anew(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("failing", job(tmp_path, permanent=True))
        before = await read_events(web.session, job_id)
        status, _ = await web.post(f"/api/v1/jobs/{job_id}/retry")
        assert status == 202
        after = await read_events(web.session, job_id, before[-1].id)
        whole = await read_events(web.session, job_id)
    assert [event.type for event in after] == ["job.retried", "step.failed", "job.failed"]
    assert whole == before + after


async def test_job_cancelled_before_its_start_and_started_again_starts_after_that(
    dsn: str, tmp_path: Path
) -> None:
    async with open_web(dsn, registry, works=False) as web:
        job_id = await web.submit("single", job(tmp_path))
        await web.post(f"/api/v1/jobs/{job_id}/cancel", {"reason": "a slip"})
        before = await read_events(web.session, job_id)
        await web.post(f"/api/v1/jobs/{job_id}/retry")
        async with open_web(dsn, registry):
            after = await read_events(web.session, job_id, before[-1].id)
        whole = await read_events(web.session, job_id)
    assert [event.type for event in before] == ["job.created", "job.cancelled"]
    assert before[-1].data["reason"] == "a slip"
    assert [event.type for event in after] == [
        "job.retried", "job.started", "step.started", "step.completed", "job.completed",
    ]  # fmt: skip
    assert whole == before + after


async def test_cancelled_job_ends_its_stream(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("single", job(tmp_path, wait=30))
        async with stream(web.session, job_id) as events:
            assert (await anext(events)).type == "job.created"
            assert (await anext(events)).type == "job.started"
            assert (await web.post(f"/api/v1/jobs/{job_id}/cancel"))[0] == 200
            rest = [event async for event in events]
    assert told(rest) == [("step.started", "only"), ("job.cancelled", "only")]


async def test_job_that_is_undone_before_it_is_cancelled_tells_both(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, sagas.registry) as web:
        job_id = await web.submit("trip", job(tmp_path, stay="signal"))
        async with stream(web.session, job_id) as events:
            live = [await anext(events) for _ in range(7)]
            await wait_for(lambda: query(web.app.pool, "SELECT FROM rkyc.waiting"))
            body = {"reason": "enough"}
            status, said = await web.post(f"/api/v1/jobs/{job_id}/cancel", body)
            assert (status, said["status"] in ("pending", "running", "cancelled")) == (200, True)
            live += [event async for event in events]
        assert await read_events(web.session, job_id) == live
    assert told(live)[7:] == [
        ("job.undoing", "stay"),
        ("step.started", "undo:hotel"),
        ("step.completed", "undo:hotel"),
        ("step.started", "undo:flight"),
        ("step.completed", "undo:flight"),
        ("step.started", "undo:end"),
        ("job.cancelled", "stay"),
    ]
    undoing = live[7].data
    assert {name: undoing[name] for name in ("status", "ends_as", "steps", "reason")} == {
        "status": "pending",
        "ends_as": "cancelled",
        "steps": ["hotel", "flight"],
        "reason": "enough",
    }
    assert live[-1].data["reason"] == "enough"
    assert is_growing([event.id for event in live])


async def test_members_of_a_fork_start_together_and_the_join_after_the_last(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("forked", job(tmp_path))
        live = told(await read_events(web.session, job_id))
        assert told(await read_events(web.session, job_id)) == live
    started = live.index(("step.completed", "start_1"))
    assert live[started + 1 : started + 6] == [("step.started", name) for name in MEMBERS]
    join = live.index(("step.started", "gather"))
    assert all(live.index(("step.completed", name)) < join for name in MEMBERS)
    assert live[join - 1][0] == "step.completed"
    assert live[-2:] == [("step.completed", "gather"), ("job.completed", "gather")]
    assert len(set(live)) == len(live)


async def test_fifty_clients_see_the_same_events(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(web.url, connector=connector) as session:
            jobs = [await web.submit("chained", job(tmp_path, wait=0.05)) for _ in range(5)]
            all_seen = await asyncio.gather(*(read_events(session, jobs[n % 5]) for n in range(50)))
    for number, seen in enumerate(all_seen):
        assert told(seen) == CHAINED
        assert {event.data["job_id"] for event in seen} == {jobs[number % 5]}
    assert b"sse_clients 0.0" in web.app.metrics.render()


async def test_lost_hints_cost_no_event(dsn: str, tmp_path: Path) -> None:
    """Hints are capped and may be lost: here the connection that hears them is cut, again and again."""
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("chained", job(tmp_path, wait=0.3))
        cutting = asyncio.create_task(_cut_listeners(web.app.pool))
        seen = await read_events(web.session, job_id)
        cutting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cutting
    assert told(seen) == CHAINED


async def _cut_listeners(pool: Pool) -> None:
    while True:
        await query(
            pool,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'rkyc events' AND datname = current_database()",
        )
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"job_id": 7}', '{"job_id": ["x"]}'])
async def test_foreign_notices_on_the_channel_harm_nothing(dsn: str, tmp_path: Path, text: str) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("single", job(tmp_path, wait=0.2))
        async with stream(web.session, job_id) as events:
            await anext(events)
            await wait_for(lambda: _listens(web.app.pool), what="the LISTEN connection")
            async with web.app.pool.connection() as conn:
                await notify(conn, PROGRESS_CHANNEL, [text])
            assert [event async for event in events][-1].type == "job.completed"


async def _listens(pool: Pool) -> bool:
    sql = (
        "SELECT FROM pg_stat_activity WHERE application_name = 'rkyc events' AND datname = current_database()"
    )
    return bool(await query(pool, sql))


@pytest.mark.usefixtures("short_pings")
async def test_quiet_stream_sends_comments(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False) as web:
        job_id = await web.submit("single", job(tmp_path))
        async with web.session.get(f"/api/v1/jobs/{job_id}/events") as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            assert response.headers["Cache-Control"] == "no-cache"
            lines = []
            while lines.count(b": ping\n") < 3:
                lines.append(await response.content.readline())
            response.close()


@pytest.fixture
def short_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    options = rkyc.web.ApiOptions
    monkeypatch.setattr(rkyc.web, "ApiOptions", lambda **given: options(ping_s=0.05, **given))


async def test_client_that_went_away_is_forgotten_soon(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False) as web:
        job_id = await web.submit("single", job(tmp_path))
        async with stream(web.session, job_id) as events:
            await anext(events)
            assert b"sse_clients 1.0" in web.app.metrics.render()

        async def is_forgotten() -> bool:
            return b"sse_clients 0.0" in web.app.metrics.render()

        await wait_for(is_forgotten, timeout_s=5)


async def test_client_above_the_limit_is_refused_and_may_come_later(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry, works=False, environ={"RKYC_SSE_CLIENTS_MAX": "2"}) as web:
        job_id = await web.submit("single", job(tmp_path))
        path = f"/api/v1/jobs/{job_id}/events"
        async with stream(web.session, job_id) as one, stream(web.session, job_id) as two:
            await anext(one)
            await anext(two)
            async with web.session.get(path) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "2"
                assert (await response.json(content_type=None))["code"] == "STREAMS_FULL"

        async def is_let_in() -> bool:
            async with web.session.get(path) as response:
                response.close()
                return response.status == 200

        await wait_for(is_let_in)


async def test_stream_of_an_unknown_job_is_a_problem(dsn: str) -> None:
    async with open_web(dsn, registry, works=False) as web:
        unknown = "019a0000-0000-7000-8000-000000000000"
        assert (await web.get(f"/api/v1/jobs/{unknown}/events"))[0] == 404
        assert (await web.get("/api/v1/jobs/nonsense/events"))[0] == 400


async def test_server_that_ends_ends_its_streams(dsn: str, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with open_web(dsn, registry, works=False) as web:
            job_id = await web.submit("single", job(tmp_path))
            response = await session.get(f"{web.url}/api/v1/jobs/{job_id}/events")
            assert b"retry" in await response.content.readline()
        assert (await response.read()).count(b"event:") == 1


async def test_stream_outlives_a_database_that_goes_and_comes(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("chained", job(tmp_path, wait=0.1))
        async with stream(web.session, job_id) as events:
            first = await anext(events)
            await query(
                web.app.pool,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            rest = [event async for event in events]
    assert told([first, *rest]) == CHAINED


async def test_history_longer_than_a_page_comes_whole(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rkyc.api.event_feed.PAGE_ROWS", 4)
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("chained", job(tmp_path))
        whole = await read_events(web.session, job_id)
        assert told(whole) == CHAINED
        assert await read_events(web.session, job_id, whole[12].id) == whole[13:]
        replayed = await read_events(web.session, job_id, 123, by_query=True)
        assert [event.id for event in replayed] == [event.id for event in whole]


async def test_only_the_jobs_own_events_come(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        jobs = [await web.submit("chained", job(tmp_path, wait=0.02)) for _ in range(3)]
        for job_id in jobs:
            seen = await read_events(web.session, job_id)
            assert {event.data["job_id"] for event in seen} == {job_id}


def test_all_steps_of_the_probe_are_told_of() -> None:
    assert {step for _, step in CHAINED if step} == set(CHAIN_STEPS)
