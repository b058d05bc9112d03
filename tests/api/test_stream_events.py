"""`stream.started` and `stream.completed` among a job's events: once each, in their place, always the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engine import serve
from tests.support.talkers import open_gate, registry, script
from tests.support.web import SentEvent, open_web, read_events, stream

pytestmark = pytest.mark.anyio


def told(events: list[SentEvent]) -> list[tuple[str, str | None]]:
    return [(event.type, event.data["step"]) for event in events]


async def test_stream_begins_and_ends_within_its_step(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talks", script(tmp_path, one=["ab", {"gate": "go"}, "cd"], two=[]))
        async with stream(web.session, job_id) as events:
            live = [await anext(events) for _ in range(4)]
            assert live[-1].type == "stream.started"
            open_gate(tmp_path, "go")
            live += [event async for event in events]
        assert live == await read_events(web.session, job_id)
    assert told(live) == [
        ("job.created", None),
        ("job.started", "one"),
        ("step.started", "one"),
        ("stream.started", "one"),
        ("stream.completed", "one"),
        ("step.completed", "one"),
        ("step.started", "two"),
        ("step.completed", "two"),
        ("job.completed", "two"),
    ]
    assert (live[4].data["attempt"], live[4].data["chunks"], live[4].data["chars"]) == (1, 2, 4)
    assert (live[3].data["attempt"], "chunks" in live[3].data) == (1, False)


async def test_every_attempt_that_emits_begins_a_stream(dsn: str, tmp_path: Path) -> None:
    async with open_web(dsn, registry) as web:
        job_id = await web.submit("talk", script(tmp_path, "a", {"fail": 2}))
        events = await read_events(web.session, job_id)
        for event in events[:-1]:
            missing = await read_events(web.session, job_id, event.id)
            assert missing == [later for later in events if later.id > event.id]
    streams = [(event.type, event.data["attempt"]) for event in events if event.type.startswith("stream")]
    assert streams == [
        ("stream.started", 1), ("stream.started", 2), ("stream.started", 3), ("stream.completed", 3),
    ]  # fmt: skip


async def test_branches_tell_of_their_streams_in_one_growing_order(dsn: str, tmp_path: Path) -> None:
    steps = {"left": ["a", {"gate": "left"}, "b"], "right": ["c", {"gate": "right"}, "d"], "last": ["e"]}
    async with open_web(dsn, registry) as one, open_web(dsn, registry, works=False) as other:
        job_id = await one.submit("chorus", script(tmp_path, **steps))
        async with stream(one.session, job_id) as events:
            live: list[SentEvent] = []
            while sum(event.type == "stream.started" for event in live) < 2:
                live.append(await anext(events))
            for gate in ("right", "left"):
                open_gate(tmp_path, gate)
                while told(live)[-1] != ("stream.completed", gate):
                    live.append(await anext(events))
            live += [event async for event in events]
        assert live == await read_events(other.session, job_id)
    ids = [event.id for event in live]
    assert ids == sorted(set(ids))
    streams = [event for event in told(live) if event[0].startswith("stream")]
    assert sorted(streams[:2]) == [("stream.started", "left"), ("stream.started", "right")]
    assert streams[2:] == [
        ("stream.completed", "right"), ("stream.completed", "left"),
        ("stream.started", "last"), ("stream.completed", "last"),
    ]  # fmt: skip
    for step in ("left", "right", "last"):
        assert told(live).index(("stream.completed", step)) < told(live).index(("step.completed", step))


async def test_task_given_back_at_a_drain_begins_a_stream_of_its_own(dsn: str, tmp_path: Path) -> None:
    """The attempt is not charged: both leases stand at the same number of the job's events."""
    async with open_web(dsn, registry, works=False) as web:
        job_id = await web.submit("talk", script(tmp_path, "first ", {"gate": "go"}, "last"))
        async with stream(web.session, job_id) as events:
            async with serve(dsn, registry=registry, grace_s=0.1):
                live: list[SentEvent] = []
                while not live or live[-1].type != "stream.started":
                    live.append(await anext(events))
            open_gate(tmp_path, "go")
            async with serve(dsn, registry=registry):
                live += [event async for event in events]
        assert live == await read_events(web.session, job_id)
    streams = [(event.type, event.data["attempt"]) for event in live if event.type.startswith("stream")]
    assert streams == [("stream.started", 1), ("stream.started", 1), ("stream.completed", 1)]
