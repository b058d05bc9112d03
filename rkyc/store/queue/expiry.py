"""Tasks that have waited too long to start: which lanes and steps have a limit, and who is beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from rkyc.flow.pipeline import Pipeline
from rkyc.store.pool import Connection, Record, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)

# Since when it waits, its job's inner id, its branch: the order in which waits of a lane are looked at.
WaitPlace: TypeAlias = tuple[datetime, int, int]


async def declare_start_limits(conn: Connection, pipelines: Sequence[Pipeline]) -> None:
    """Write how long the steps of these pipelines may wait to start, as their code says."""
    places = [
        (pipeline, place.step, place.step.timeouts.schedule_to_start)
        for pipeline in pipelines
        for place in pipeline.graph.places.values()
        if place.step.timeouts.schedule_to_start is not None
    ]
    await fetch(
        conn,
        _SQL["declare_start_limits"],
        names=[pipeline.name for pipeline in pipelines],
        numbers=[pipeline.version for pipeline in pipelines],
        pipelines=[pipeline.name for pipeline, _, _ in places],
        versions=[pipeline.version for pipeline, _, _ in places],
        steps=[step.name for _, step, _ in places],
        lanes=[step.lane for _, step, _ in places],
        seconds=[seconds for _, _, seconds in places],
    )


async def find_limited_lanes(conn: Connection) -> list[Record]:
    """Return (lane, seconds, longest_s, has_steps) of every lane in which a task may wait too long."""
    return await fetch(conn, _SQL["find_limited_lanes"])


async def write_mark(conn: Connection, *, now: datetime, every_s: float) -> None:
    """Note which number `ready` has reached, unless somebody did within `every_s`."""
    await fetch(conn, _SQL["write_mark"], now=now, every_s=every_s)


async def drop_marks(conn: Connection, before: datetime) -> None:
    """Forget the marks before an instant."""
    await fetch(conn, _SQL["drop_marks"], before=before)


async def find_stale_tasks(
    conn: Connection, *, lane: str, after: int, limit: int, now: datetime
) -> list[Record]:
    """Return the lane's oldest tasks above `after`: seq, job_id, branch, step, uuid, pipeline, seconds, is_stale."""
    return await fetch(conn, _SQL["find_stale_tasks"], lane=lane, after=after, limit=limit, now=now)


async def lock_ready_task(conn: Connection, *, lane: str, seq: int, job_id: int) -> bool:
    """Lock a waiting task for this transaction; False: it no longer waits there, or waits anew."""
    return await fetch_value(conn, _SQL["lock_ready_task"], lane=lane, seq=seq, job_id=job_id) is not None


async def find_stale_waits(
    conn: Connection, *, lane: str, seconds: float, after: WaitPlace, limit: int, now: datetime
) -> list[Record]:
    """Return the lane's tasks that wait outside of `ready`, held by capacity alone, for `seconds` or more.

    The oldest behind `after`: since, job_id, branch, step, uuid, pipeline, seconds, is_stale.
    """
    since, job_id, branch = after
    return await fetch(
        conn,
        _SQL["find_stale_waits"],
        lane=lane,
        seconds=seconds,
        after_since=since,
        after_job_id=job_id,
        after_branch=branch,
        limit=limit,
        now=now,
    )


async def lock_stale_wait(conn: Connection, *, job_id: int, branch: int, since: datetime) -> bool:
    """Lock a waiting task for this transaction; False: it no longer waits, or waits anew."""
    found = await fetch_value(conn, _SQL["lock_stale_wait"], job_id=job_id, branch=branch, since=since)
    return found is not None
