"""Schedules over HTTP: list, add, run now, pause, resume, remove."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from rkyc.api.jobs import links_of
from rkyc.api.requests import EmptyRequest, ScheduleRequest
from rkyc.api.services import SERVICES
from rkyc.api.wire import name_actor, read_body, respond
from rkyc.engine.schedules import Schedules
from rkyc.errors import DefinitionError, InvalidInputError
from rkyc.flow.schedule import Schedule
from rkyc.store.pool import refuse_data_errors

SCHEDULES = "/api/v1/schedules"


def routes() -> list[web.RouteDef]:
    """Return the routes of schedules."""
    return [
        web.get(SCHEDULES, list_schedules),
        web.post(SCHEDULES, add_schedule),
        web.delete(f"{SCHEDULES}/{{name}}", remove_schedule),
        web.post(f"{SCHEDULES}/{{name}}/run", run_schedule),
        web.post(f"{SCHEDULES}/{{name}}/pause", pause_schedule),
        web.post(f"{SCHEDULES}/{{name}}/resume", resume_schedule),
    ]


async def list_schedules(request: web.Request) -> web.Response:
    """List the schedules by name."""
    rows = await _schedules(request).list()
    return respond({"schedules": [dict(row) for row in rows]})


async def add_schedule(request: web.Request) -> web.Response:
    """Add a schedule."""
    asked = await read_body(request, ScheduleRequest)
    try:
        schedule = Schedule(**asked.model_dump())
    except DefinitionError as error:
        raise InvalidInputError(error.message) from error
    with refuse_data_errors("the schedule"):
        await _schedules(request).add(schedule, by=name_actor(request))
    return respond({"name": schedule.name}, status=201, headers={"Location": SCHEDULES})


async def run_schedule(request: web.Request) -> web.Response:
    """Start a job of a schedule now."""
    await read_body(request, EmptyRequest, may_be_empty=True)
    job_id = await _schedules(request).run(_name(request), by=name_actor(request))
    links = links_of(job_id)
    return respond(
        {"job_id": job_id, "status": "pending", "links": links},
        status=202,
        headers={"Location": links["self"]},
    )


async def pause_schedule(request: web.Request) -> web.Response:
    """Let the ticks of a schedule pass."""
    await read_body(request, EmptyRequest, may_be_empty=True)
    await _schedules(request).pause(_name(request), by=name_actor(request))
    return _answer(request, paused=True)


async def resume_schedule(request: web.Request) -> web.Response:
    """Let a schedule go on at its next tick."""
    await read_body(request, EmptyRequest, may_be_empty=True)
    await _schedules(request).resume(_name(request), by=name_actor(request))
    return _answer(request, paused=False)


async def remove_schedule(request: web.Request) -> web.Response:
    """Remove a schedule; its jobs stay."""
    await _schedules(request).remove(_name(request), by=name_actor(request))
    return _answer(request, removed=True)


def _answer(request: web.Request, **more: Any) -> web.Response:
    return respond({"name": _name(request), **more})


def _name(request: web.Request) -> str:
    return request.match_info["name"]


def _schedules(request: web.Request) -> Schedules:
    return request.app[SERVICES].client.schedules
