"""The routes that hold work back: of a job, a lane, a pipeline or a tenant."""

from __future__ import annotations

from aiohttp import web

from rkyc.api.jobs import JOBS, links_of
from rkyc.api.problems import Problem
from rkyc.api.requests import CancelRequest, EmptyRequest, ResumeRequest
from rkyc.api.services import SERVICES
from rkyc.api.wire import name_actor, read_body, read_job_id, respond
from rkyc.engine.pausing import PauseKind
from rkyc.errors import ConflictError

_KINDS: dict[str, PauseKind] = {"lanes": "lane", "pipelines": "pipeline", "tenants": "tenant"}


def routes() -> list[web.RouteDef]:
    """Return the routes of pauses."""
    one = JOBS + "/{job_id}"
    many = "/api/v1/{kind:lanes|pipelines|tenants}/{name}"
    return [
        web.post(one + "/pause", pause_job),
        web.post(one + "/resume", resume_job),
        web.post(many + "/pause", pause_all),
        web.post(many + "/resume", resume_all),
        web.get("/api/v1/pauses", list_pauses),
    ]


async def pause_job(request: web.Request) -> web.Response:
    """Pause a job; again is no error, one that has ended is a conflict."""
    job_id = read_job_id(request)
    asked = await read_body(request, CancelRequest, may_be_empty=True)
    client = request.app[SERVICES].client
    if not await client.pause(job_id, asked.reason, by=name_actor(request)):
        raise ConflictError(f"job {job_id} has ended: only a job that has not ended can be paused")
    return respond(
        {"job_id": job_id, "status": "pending", "wait_reason": "paused", "links": links_of(job_id)}
    )


async def resume_job(request: web.Request) -> web.Response:
    """Let a paused job go on; one that paused for its budget with more of it."""
    job_id = read_job_id(request)
    asked = await read_body(request, ResumeRequest, may_be_empty=True)
    client = request.app[SERVICES].client
    if asked.budget_usd is not None:
        await client.add_budget(job_id, asked.budget_usd, by=name_actor(request))
    if not await client.resume(job_id, by=name_actor(request)) and asked.budget_usd is None:
        raise ConflictError(f"job {job_id} is not paused itself: GET /api/v1/pauses shows what else is")
    return respond({"job_id": job_id, "status": "pending", "links": links_of(job_id)})


async def pause_all(request: web.Request) -> web.Response:
    """Pause a lane, a pipeline or a tenant; again is no error."""
    kind, name = _read_target(request)
    asked = await read_body(request, CancelRequest, may_be_empty=True)
    changed = await request.app[SERVICES].client.pause_all(kind, name, asked.reason, by=name_actor(request))
    return respond({"kind": kind, "name": name, "paused": True, "changed": changed})


async def resume_all(request: web.Request) -> web.Response:
    """Let a lane, a pipeline or a tenant go on; again is no error."""
    kind, name = _read_target(request)
    await read_body(request, EmptyRequest, may_be_empty=True)
    changed = await request.app[SERVICES].client.resume_all(kind, name, by=name_actor(request))
    return respond({"kind": kind, "name": name, "paused": False, "changed": changed})


async def list_pauses(request: web.Request) -> web.Response:
    """List the lanes, pipelines and tenants that are paused."""
    return respond({"pauses": [dict(row) for row in await request.app[SERVICES].client.pauses()]})


def _read_target(request: web.Request) -> tuple[PauseKind, str]:
    name = request.match_info["name"]
    if not 1 <= len(name) <= 255 or "\0" in name:
        raise Problem(400, "NAME_MALFORMED", "the name must have 1 to 255 characters")
    return _KINDS[request.match_info["kind"]], name
