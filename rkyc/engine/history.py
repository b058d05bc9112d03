"""What happened to a job, read whole: the events of its stream, with the workers that did it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from rkyc.errors import NotFoundError
from rkyc.flow import payload
from rkyc.flow.job_events import JobEvent, JobHistory
from rkyc.store.pool import Connection
from rkyc.store.queue import events

# Rows of one read.
PAGE_ROWS = 500


async def read_history(conn: Connection, job_id: UUID, *, after: int, limit: int) -> list[JobEvent]:
    """Return a job's events after an id, in their order, without the result; 0 for all.

    Raises:
        NotFoundError: no such job.
    """
    plan = await events.read_plan(conn, job_id)
    if plan is None:
        raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
    history = JobHistory(payload.decode(plan["graph"]))
    found: list[JobEvent] = []
    while len(found) < limit:
        rows = await events.read_events(conn, plan["id"], since=history.since, limit=PAGE_ROWS)
        fresh = history.read(rows)
        found += [event for event in fresh if event.id > after]
        if len(rows) < PAGE_ROWS or not fresh:
            break
    del found[limit:]
    ids = {event.worker_id for event in found if event.worker_id is not None}
    names = await events.list_worker_names(conn, sorted(ids))
    return [
        replace(
            event,
            worker=None if event.worker_id is None else names.get(event.worker_id),
            more={name: value for name, value in event.more.items() if name != "result"},
        )
        for event in found
    ]
