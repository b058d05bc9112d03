"""The routes of dead letters and of the audit trail."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field, model_validator

from rkyc.api.problems import Problem
from rkyc.api.requests import Name, Request
from rkyc.api.services import SERVICES
from rkyc.api.wire import embed, name_actor, read_body, read_query, respond
from rkyc.store.pool import Record
from rkyc.store.queue.audit import list_entries
from rkyc.store.queue.dead_letters import OPEN_STATES, Filter

DLQ = "/api/v1/dlq"
_NUMBER_MAX = 2**63 - 1
_State = Literal["dead", "archived"]
_Reason = Literal["task_failed", "ttl_expired", "worker_lost", "compensation_failed"]


class LettersQuery(Request):
    """The query of GET /api/v1/dlq; `before` is the last id of the page before."""

    state: _State = "dead"
    queue: Name | None = None
    fingerprint: Name | None = None
    error_code: Name | None = None
    reason: _Reason | None = None
    pipeline: Name | None = None
    before: int | None = Field(default=None, ge=1, le=_NUMBER_MAX)
    limit: int = Field(default=50, ge=1, le=1000)


class GroupsQuery(Request):
    """The query of GET /api/v1/dlq/groups."""

    state: _State = "dead"
    queue: Name | None = None
    limit: int = Field(default=50, ge=1, le=1000)


class LettersRequest(Request):
    """The body of POST …/requeue and …/discard: which, and whether only to count them."""

    ids: list[int] | None = Field(default=None, min_length=1, max_length=10_000)
    state: _State | None = None
    queue: Name | None = None
    fingerprint: Name | None = None
    error_code: Name | None = None
    reason: _Reason | None = None
    pipeline: Name | None = None
    all: bool = False
    preview: bool = False

    @model_validator(mode="after")
    def _says_which(self) -> LettersRequest:
        """Refuse to take an empty body for all of them."""
        said = (self.ids, self.queue, self.fingerprint, self.error_code, self.reason, self.pipeline)
        if not self.all and all(value is None for value in said):
            raise ValueError('say which: "ids", a filter such as "fingerprint", or "all": true')
        return self

    def as_filter(self) -> Filter:
        """Return which are meant: those named wherever they are, others among the dead unless told."""
        states = (self.state,) if self.state else OPEN_STATES if self.ids else ("dead",)
        ids = tuple(self.ids) if self.ids else None
        return Filter(states, ids, self.queue, self.fingerprint, self.error_code, self.reason, self.pipeline)


class AuditQuery(Request):
    """The query of GET /api/v1/audit."""

    object: Name | None = None
    who: Name | None = None
    action: Name | None = None
    before: int | None = Field(default=None, ge=1, le=_NUMBER_MAX)
    limit: int = Field(default=50, ge=1, le=1000)


def routes() -> list[web.RouteDef]:
    """Return the routes of dead letters."""
    return [
        web.get(DLQ, list_letters),
        web.get(DLQ + "/groups", list_groups),
        web.post(DLQ + "/requeue", requeue_letters),
        web.post(DLQ + "/discard", discard_letters),
        web.get(DLQ + "/{letter}", show_letter),
        web.get("/api/v1/audit", list_audit),
    ]


async def list_letters(request: web.Request) -> web.Response:
    """List dead letters, the last failure first; `next` leads to the next page."""
    query = read_query(request, LettersQuery)
    rows = await request.app[SERVICES].client.dead_letters.list(**query.model_dump())
    following = None
    if len(rows) == query.limit:
        following = str(request.rel_url.update_query(before=str(rows[-1]["id"])))
    return respond({"dead_letters": [dict(row) for row in rows], "next": following})


async def list_groups(request: web.Request) -> web.Response:
    """List the kinds of failure with how many there are of each."""
    query = read_query(request, GroupsQuery)
    rows = await request.app[SERVICES].client.dead_letters.groups(**query.model_dump())
    return respond({"groups": [dict(row) for row in rows]})


async def show_letter(request: web.Request) -> web.Response:
    """Show a dead letter, by its number or its job's id."""
    given = request.match_info["letter"]
    letter: int | UUID
    try:
        letter = int(given) if given.isdecimal() and len(given) < 19 else UUID(given)
    except ValueError as error:
        raise Problem(400, "ID_MALFORMED", f"{given[:60]!r} is neither a number nor a job id") from error
    return respond(_shown(await request.app[SERVICES].client.dead_letters.get(letter)))


async def requeue_letters(request: web.Request) -> web.Response:
    """Start all that match again; with `preview` only count them."""
    asked = await read_body(request, LettersRequest)
    letters = request.app[SERVICES].client.dead_letters
    if asked.preview:
        return respond({"count": await letters.count(asked.as_filter()), "preview": True})
    count = await letters.requeue(asked.as_filter(), by=name_actor(request))
    return respond({"count": count, "preview": False})


async def discard_letters(request: web.Request) -> web.Response:
    """Set all that match aside; with `preview` only count them."""
    asked = await read_body(request, LettersRequest)
    letters = request.app[SERVICES].client.dead_letters
    if asked.preview:
        return respond({"count": await letters.count(asked.as_filter()), "preview": True})
    count = await letters.discard(asked.as_filter(), by=name_actor(request))
    return respond({"count": count, "preview": False})


async def list_audit(request: web.Request) -> web.Response:
    """List what people did, newest first."""
    query = read_query(request, AuditQuery)
    async with request.app[SERVICES].pool.connection() as conn:
        rows = await list_entries(conn, **query.model_dump())
    return respond({"entries": [{**dict(row), "details": embed(row["details"])} for row in rows]})


def _shown(row: Record) -> dict[str, Any]:
    texts = ("input", "error_details", "open_tasks")
    return {**dict(row), **{name: embed(row[name]) for name in texts}}
