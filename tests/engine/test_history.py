"""What happened to a job, as a whole: every attempt, by whom, and with which error."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rkyc.engine.client import Client
from rkyc.errors import NotFoundError
from rkyc.flow.job_events import JobEvent
from rkyc.store.pool import Pool
from tests.engine.test_maps import READING
from tests.engine.test_maps import job as make_map_job
from tests.engine.test_migrating import NEW, OLD, begun
from tests.store.queue.test_workers import reclaim
from tests.support.engine import announce, query, serve, wait_status
from tests.support.moves import add_job, add_worker, claim
from tests.support.probes import registry

pytestmark = pytest.mark.anyio


def job(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"ledger": str(tmp_path / "ledger"), "job": "1", **more}


def told(events: list[JobEvent]) -> list[tuple[str, str | None, int | None]]:
    return [(event.type, event.step, event.more.get("attempt")) for event in events]


async def test_every_attempt_is_told_with_its_worker_and_its_error(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("failing", job(tmp_path, failures=2))
        await wait_status(pool, job_id, "completed")
    events = await client.history(job_id)
    assert told(events) == [
        ("job.created", None, None),
        ("job.started", "before", None),
        ("step.started", "before", None),
        ("step.completed", "before", 1),
        ("step.started", "fail", None),
        ("step.retrying", "fail", 1),
        ("step.retrying", "fail", 2),
        ("step.completed", "fail", 3),
        ("step.started", "after", None),
        ("step.completed", "after", 1),
        ("job.completed", "after", None),
    ]
    (worker,) = await query(pool, "SELECT name FROM rkyc.worker")
    by = {event.type for event in events if event.worker == worker["name"]}
    assert by == {"step.completed", "step.retrying"}
    assert [event.more["error"] for event in events if event.type == "step.retrying"] == [
        {"code": "RETRYABLE", "message": "not yet"}
    ] * 2
    assert [event.id for event in events] == sorted({event.id for event in events})
    # What the job gave is asked for by itself.
    assert all("result" not in event.more for event in events)


async def test_a_first_end_is_told_after_a_person_started_the_job_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("failing", job(tmp_path, permanent=True))
        await wait_status(pool, job_id, "failed")
        before = await client.history(job_id)
        await client.retry(job_id)
        await wait_status(pool, job_id, "failed")
    events = await client.history(job_id)
    assert events[: len(before)] == before
    assert [event.type for event in events[-5:]] == [
        "step.failed", "job.failed", "job.retried", "step.failed", "job.failed",
    ]  # fmt: skip
    failed = [event for event in events if event.type == "step.failed"]
    assert [event.more["error"]["code"] for event in failed] == ["PERMANENT", "PERMANENT"]
    assert all(event.worker for event in failed)
    assert await client.history(job_id, after=before[-1].id) == events[len(before) :]


async def test_an_attempt_whose_worker_died_is_told_by_its_name(pool: Pool) -> None:
    await announce(pool, *registry)
    async with pool.connection() as conn:
        worker_id = await add_worker(conn, "the-late")
        number = await add_job(conn, "chained")
        await claim(conn, worker_id)
        assert await reclaim(conn, worker_id) == 1
    (row,) = await query(pool, "SELECT uuid FROM rkyc.job WHERE id = $1", number)
    lost = (await Client(pool=pool).history(row["uuid"]))[-1]
    assert (lost.type, lost.step, lost.worker, lost.more["reason"], lost.more["attempt"]) == (
        "step.retrying",
        "s1",
        "the-late",
        "worker_lost",
        1,
    )


async def test_a_move_to_another_version_is_told(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, OLD, grace_s=0.1):
        job_id = await begun(pool, tmp_path)
    async with serve(dsn, NEW):
        await wait_status(pool, job_id, "completed")
    (moved,) = [event for event in await Client(pool=pool).history(job_id) if event.type == "job.migrated"]
    assert (moved.step, moved.more["from_version"], moved.more["version"]) == (None, 1, 2)


async def test_the_items_of_a_map_are_told_one_by_one(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    elements: list[Any] = [{"name": "a"}, {"name": "b", "manner": "retried"}]
    async with serve(dsn, READING):
        job_id = await client.enqueue("reading", make_map_job(tmp_path, *elements))
        await wait_status(pool, job_id, "completed")
    read = [event for event in await client.history(job_id) if event.step == "read"]
    ended = [event for event in read if event.type == "step.completed"]
    assert sorted((event.more["item"], event.more["attempt"]) for event in ended) == [(0, 1), (1, 3)]
    again = [event.more for event in read if event.type == "step.retrying"]
    assert [(more["item"], more["attempt"], more["error"]["code"]) for more in again] == [
        (1, 1, "RETRYABLE"),
        (1, 2, "RETRYABLE"),
    ]


async def test_a_long_history_is_read_in_pages_and_given_in_parts(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("chained", job(tmp_path))
        await wait_status(pool, job_id, "completed")
    whole = await client.history(job_id)
    monkeypatch.setattr("rkyc.engine.history.PAGE_ROWS", 4)
    assert await client.history(job_id) == whole and len(whole) == 19
    parts: list[JobEvent] = []
    while part := await client.history(job_id, after=parts[-1].id if parts else 0, limit=6):
        assert len(part) <= 6
        parts += part
    assert parts == whole


async def test_a_job_that_is_not_there_has_no_history(pool: Pool) -> None:
    with pytest.raises(NotFoundError, match="rkyc jobs list"):
        await Client(pool=pool).history(uuid4())
