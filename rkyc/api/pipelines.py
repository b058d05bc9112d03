"""The routes of pipelines: every registered one is at once reachable under its name.

They speak of chains and tasks where the views do (`chain_executions`, `task_logs`); a chain's id is the
job's id.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from aiohttp import web

from rkyc.api.jobs import answer_submitted, cancel, enqueue
from rkyc.api.requests import HistoryQuery, JobRequest, StartQuery
from rkyc.api.services import SERVICES, Services
from rkyc.api.wire import check, read_job_id, read_json, read_query, respond
from rkyc.errors import NotFoundError
from rkyc.store.queue import history, pipelines

PIPELINES = "/api/v1/pipelines"


def routes() -> list[web.RouteDef]:
    """Return the routes of pipelines."""
    one = PIPELINES + "/{pipeline}"
    return [
        web.get(PIPELINES + "/history", list_history),
        web.post(one, start_pipeline),
        web.get(one + "/{job_id}/tasks", list_tasks),
        web.delete(one + "/{job_id}/cancel", cancel_pipeline),
    ]


async def start_pipeline(request: web.Request) -> web.Response:
    """Enqueue a job whose input is the body; an Idempotency-Key header is its key."""
    services = request.app[SERVICES]
    name = request.match_info["pipeline"]
    asked = {
        "pipeline": name,
        "input": await read_json(request),
        "lane": read_query(request, StartQuery).lane,
        "idempotency_key": request.headers.get("Idempotency-Key"),
    }
    await _check_pipeline(services, name)
    submitted = await enqueue(services, check(JobRequest, asked, "the request"))
    return await answer_submitted(services, submitted, pipeline=name, chain_id=submitted.job_id)


async def list_tasks(request: web.Request) -> web.Response:
    """List the tasks of one execution."""
    services = request.app[SERVICES]
    job_id = await _read_execution(request, services)
    async with services.pool.connection() as conn:
        rows = await history.list_tasks(conn, job_id)
    return respond({"chain_id": job_id, "job_id": job_id, "tasks": [dict(row) for row in rows]})


async def cancel_pipeline(request: web.Request) -> web.Response:
    """Cancel one execution."""
    services = request.app[SERVICES]
    job_id = await _read_execution(request, services)
    return respond({"chain_id": job_id, **await cancel(services, job_id, request=request)})


async def list_history(request: web.Request) -> web.Response:
    """List the executions of the last hours, newest first."""
    query = read_query(request, HistoryQuery)
    async with request.app[SERVICES].pool.connection() as conn:
        rows = await history.list_executions(
            conn,
            since=datetime.now(UTC) - timedelta(hours=query.hours),
            status=query.status,
            task_name=query.task_name,
            limit=query.limit,
        )
    return respond({"executions": [dict(row) for row in rows]})


async def _check_pipeline(services: Services, name: str) -> None:
    """Refuse a name that neither this process nor the database knows: here it is part of the address."""
    if any(pipeline.name == name for pipeline in services.registry):
        return
    async with services.pool.connection() as conn:
        known = [row["name"] for row in await pipelines.list_pipelines(conn)]
    if name not in known:
        raise NotFoundError(f"no pipeline {name!r}: this database knows {', '.join(known) or 'none'}")


async def _read_execution(request: web.Request, services: Services) -> UUID:
    """Return the job id of the path if it is one of the path's pipeline."""
    job_id = read_job_id(request)
    row = await services.client.get(job_id)
    if row["pipeline"] != request.match_info["pipeline"]:
        raise NotFoundError(f"job {job_id} is of pipeline {row['pipeline']}, not of the address's")
    return job_id
