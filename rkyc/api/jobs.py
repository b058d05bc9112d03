"""The routes of jobs: submit, look, list, cancel, start again, and the report of one that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from rkyc.api.problems import Problem
from rkyc.api.requests import (
    CancelRequest,
    JobRequest,
    JobsQuery,
    ReportQuery,
    RetryRequest,
    SignalRequest,
)
from rkyc.api.services import SERVICES, Services
from rkyc.api.sse import stream_events
from rkyc.api.tokens import stream_tokens
from rkyc.api.wire import check, embed, name_actor, read_body, read_job_id, read_query, respond
from rkyc.engine.client import Submitted
from rkyc.errors import ConflictError, DefinitionError, InvalidInputError, UnknownPipelineError
from rkyc.flow.states import JobState
from rkyc.flow.unique import Unique
from rkyc.store.pool import Record, refuse_data_errors

JOBS = "/api/v1/jobs"
_EMPTY_USAGE = {"calls": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": 0}
_REPORT_TYPES = {
    "html": "text/html",
    "md": "text/markdown",
    "json": "application/json",
}


def routes() -> list[web.RouteDef]:
    """Return the routes of jobs."""
    one = JOBS + "/{job_id}"
    return [
        web.post(JOBS, submit_job),
        web.get(JOBS, list_jobs),
        web.get(one, show_job),
        web.get(one + "/why", explain_job),
        web.delete(one, cancel_job),
        web.get(one + "/events", stream_events, allow_head=False),
        web.get(one + "/stream", stream_tokens, allow_head=False),
        web.post(one + "/cancel", cancel_job),
        web.post(one + "/retry", retry_job),
        web.post(one + "/signal", signal_job),
        web.get(one + "/report", show_report),
    ]


async def submit_job(request: web.Request) -> web.Response:
    """Enqueue a job: 202, or 200 with the same job for a repeated key."""
    services = request.app[SERVICES]
    asked = await read_body(request, JobRequest)
    submitted = await enqueue(services, asked)
    return await answer_submitted(services, submitted)


async def enqueue(services: Services, asked: JobRequest) -> Submitted:
    """Make the pipeline's input of what was sent, check it, and enqueue the job.

    Raises:
        UsageError, PermanentException: refused, with what to do.
    """
    value, metadata = asked.input, asked.metadata or {}
    intake = services.intakes.get(asked.pipeline)
    if intake is not None:
        value, told = await intake(value)
        metadata = {**told, **metadata}
    try:
        services.registry.latest(asked.pipeline).check_input(value)
    except UnknownPipelineError:
        # Another process may serve it: the database knows.
        pass
    with refuse_data_errors("the job"):
        return await services.client.submit(
            asked.pipeline,
            value,
            lane=asked.lane,
            idempotency_key=asked.idempotency_key,
            run_at=asked.run_at,
            deadline_s=asked.deadline_s,
            metadata=metadata or None,
            webhook_url=asked.webhook_url,
            budget_usd=asked.budget_usd,
            fair_key=asked.fair_key,
            weight=asked.weight,
            tenant=asked.tenant or "",
            unique=_unique(asked),
        )


def _unique(asked: JobRequest) -> Unique | None:
    if asked.unique is None:
        return None
    try:
        return Unique(**asked.unique.model_dump())
    except DefinitionError as error:
        raise InvalidInputError(error.message) from error


async def answer_submitted(services: Services, submitted: Submitted, **more: Any) -> web.Response:
    """Answer with the job's id, status and links; `more` are further fields."""
    job_id = submitted.job_id
    status = "pending" if submitted.is_new else (await services.client.get(job_id))["status"]
    return respond(
        {"job_id": job_id, "status": status, "links": links_of(job_id), **more},
        status=202 if submitted.is_new else 200,
        headers={"Location": f"{JOBS}/{job_id}"},
    )


def links_of(job_id: UUID) -> dict[str, str]:
    """Return where the job and what belongs to it are found."""
    one = f"{JOBS}/{job_id}"
    return {"self": one} | {
        name: f"{one}/{name}" for name in ("events", "stream", "report", "cancel", "retry", "signal")
    }


async def list_jobs(request: web.Request) -> web.Response:
    """List jobs, newest first; `next` leads to the next page; `meta.KEY=VALUE` asks for metadata."""
    given = {name: value for name, value in request.query.items() if value != ""}
    metadata = {name[5:]: given.pop(name) for name in tuple(given) if name.startswith("meta.")}
    query = check(JobsQuery, given, "the query")
    rows = await request.app[SERVICES].client.list_jobs(**query.model_dump(), metadata=metadata or None)
    following = None
    if len(rows) == query.limit:
        following = str(request.rel_url.update_query(before=str(rows[-1]["job_id"])))
    return respond({"jobs": [_listed(row) for row in rows], "next": following})


async def show_job(request: web.Request) -> web.Response:
    """Show a job with its steps and its result."""
    client = request.app[SERVICES].client
    job_id = read_job_id(request)
    row = await client.get(job_id)
    return respond(_shown(row, await client.steps(job_id)))


async def explain_job(request: web.Request) -> web.Response:
    """Say why a job does not run, and what would make it run."""
    job_id = read_job_id(request)
    row = await request.app[SERVICES].client.why(job_id)
    return respond(
        {
            "job_id": job_id,
            "reason": row["reason"],
            "why": row["why"],
            "remedy": row["remedy"],
            "facts": embed(row["facts"]),
        }
    )


async def cancel_job(request: web.Request) -> web.Response:
    """Cancel a job; again is no error, one that ended otherwise is a conflict."""
    services = request.app[SERVICES]
    job_id = read_job_id(request)
    asked = await read_body(request, CancelRequest, may_be_empty=True)
    return respond(await cancel(services, job_id, asked.reason, request=request))


async def cancel(
    services: Services, job_id: UUID, reason: str | None = None, *, request: web.Request
) -> dict[str, Any]:
    """Cancel a job and return the body of the answer.

    Raises:
        NotFoundError
        ConflictError: it completed or failed before.
    """
    # Whoever sends a DELETE once more, a proxy perhaps, wants nothing new.
    stops_undo = request.method == "POST"
    client = services.client
    done = await client.request_cancel(job_id, reason, by=name_actor(request), stops_undo=stops_undo)
    if done == "cancelled":
        return {"job_id": job_id, "status": "cancelled", "links": links_of(job_id)}
    undoing = await client.undo(job_id) if done == "undoing" else None
    status = (await client.get(job_id))["status"]
    if done == "ended" and status != JobState.CANCELLED:
        raise ConflictError(f"job {job_id} is {status}: only a job that has not ended can be cancelled")
    left = {"undoing": embed(undoing["steps_left"])} if undoing is not None else {}
    return {"job_id": job_id, "status": status, **left, "links": links_of(job_id)}


async def retry_job(request: web.Request) -> web.Response:
    """Start a failed or cancelled job again where it was, or any that ended from a step on."""
    job_id = read_job_id(request)
    asked = await read_body(request, RetryRequest, may_be_empty=True)
    client = request.app[SERVICES].client
    if asked.from_step is not None:
        await client.retry_from(job_id, asked.from_step, by=name_actor(request))
    else:
        await client.retry(job_id, by=name_actor(request))
    return respond(
        {"job_id": job_id, "status": "pending", "links": links_of(job_id)},
        status=202,
        headers={"Location": f"{JOBS}/{job_id}"},
    )


async def signal_job(request: web.Request) -> web.Response:
    """Send a signal to a job: 202, also for a delivery that came before."""
    job_id = read_job_id(request)
    asked = await read_body(request, SignalRequest)
    is_new = await request.app[SERVICES].client.signal(
        job_id,
        asked.name,
        asked.payload,
        delivery_id=asked.delivery_id,
        source="api",
        by=name_actor(request),
    )
    return respond({"job_id": job_id, "name": asked.name, "repeated": not is_new}, status=202)


async def show_report(request: web.Request) -> web.Response:
    """Show the report of a job that has ended."""
    services = request.app[SERVICES]
    job_id = read_job_id(request)
    wanted = read_query(request, ReportQuery).format
    row = await services.client.get(job_id)
    render = services.reports.get(row["pipeline"])
    if render is None:
        raise Problem(404, "REPORT_UNKNOWN", f"pipeline {row['pipeline']} has no report in this process")
    if not JobState(row["status"]).is_terminal:
        raise ConflictError(
            f"job {job_id} is {row['status']}: its report is there when it has ended; follow {JOBS}/{job_id}/events"
        )
    document = await render(job_id, wanted)
    return web.Response(
        body=document if isinstance(document, bytes) else document.encode(),
        content_type=_REPORT_TYPES[wanted],
        charset="utf-8",
        headers={
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _listed(row: Record) -> dict[str, Any]:
    same = ("job_id", "pipeline", "version", "lane", "status", "wait_reason", "pipeline_step", "progress_pct")
    times = ("created_at", "started_at", "updated_at", "finished_at")
    return {
        **{name: row[name] for name in (*same, "partial")},
        "error": _error(row),
        **{name: row[name] for name in times},
        "metadata": embed(row["metadata"]),
    }


def _shown(row: Record, steps: Sequence[Record]) -> dict[str, Any]:
    usage = orjson.loads(row["usage"]) if row["usage"] else {}
    return {
        "job_id": row["job_id"],
        "pipeline": row["pipeline"],
        "version": row["version"],
        "status": row["status"],
        "wait_reason": row["wait_reason"],
        "wait_detail": row["wait_detail"],
        "pipeline_step": row["pipeline_step"],
        "progress_pct": row["progress_pct"],
        "partial": row["partial"],
        "warnings": _warnings(row),
        "error": _whole_error(row),
        "steps": [_step(step) for step in steps],
        "result": embed(row["result"]),
        "usage": {name: usage.get(name) or 0 for name in _EMPTY_USAGE},
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "metadata": embed(row["metadata"]),
    }


def _error(row: Record) -> dict[str, Any] | None:
    """Return what failed last: of a pending job, the attempt that will be made again."""
    if row["error_code"] is None:
        return None
    return {"code": row["error_code"], "message": row["error_message"], "step": row["pipeline_step"]}


def _whole_error(row: Record) -> dict[str, Any] | None:
    error = _error(row)
    if error is not None and row["error_class"] is not None:
        error |= {"class": row["error_class"], "details": embed(row["error_details"])}
    return error


def _warnings(row: Record) -> list[dict[str, Any]]:
    return [
        {
            "code": item["code"],
            "message": item["message"],
            "step": part["step"],
            "subject": item.get("subject"),
        }
        for part in orjson.loads(row["warnings"] or b"[]")
        for item in part["items"]
    ]


def _step(row: Record) -> dict[str, Any]:
    shown = {
        "step": row["step"],
        "status": row["status"],
        "degraded": row["degraded"],
        "attempts": row["attempt"],
        "ms": row["ms"],
        "error_code": row["error_code"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "worker": row["worker"],
    }
    if row["item"] is not None:
        shown |= {"item": row["item"], "item_key": row["item_key"]}
    return shown | ({"provider": row["provider"]} if row["provider"] else {})
