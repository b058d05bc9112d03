"""What comes in and goes out: JSON bodies, queries and ids, read and checked in one place.

400 is what can't be parsed and a malformed id; 422 is what was parsed and does not fit. Texts that the
database holds as JSON go out as they are, unparsed, so that no number changes on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import orjson
import pydantic
from aiohttp import web

from rkyc.api.problems import Problem
from rkyc.errors import InvalidInputError
from rkyc.flow import payload
from rkyc.flow.ids import parse_job_id
from rkyc.flow.step import describe

M = TypeVar("M", bound=pydantic.BaseModel)


async def read_json(request: web.Request) -> Any:
    """Return the body's JSON value.

    Raises:
        Problem: 400, not JSON.
        InvalidInputError: a number that can't be kept.
    """
    body = await request.read()
    if not body:
        raise Problem(400, "JSON_MALFORMED", "the body is not JSON: it is empty")
    try:
        return payload.decode(body)
    except InvalidInputError as error:
        if error.__cause__ is None:
            # It was parsed, and a number in it has no exact place.
            raise
        raise Problem(400, "JSON_MALFORMED", f"the body is not JSON: {error.__cause__}") from error


async def read_body(request: web.Request, model: type[M], *, may_be_empty: bool = False) -> M:
    """Return the body as a model; with `may_be_empty` no body counts as `{}`."""
    value = {} if may_be_empty and not await request.read() else await read_json(request)
    return check(model, value, "the body")


def read_query(request: web.Request, model: type[M]) -> M:
    """Return the query as a model; an empty parameter counts as not given."""
    return check(model, {name: value for name, value in request.query.items() if value != ""}, "the query")


def check(model: type[M], value: Any, subject: str) -> M:
    """Return the value as a model.

    Raises:
        Problem: 422, with every field that does not fit.
    """
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        fields = [
            {"field": ".".join(map(str, item["loc"])), "message": item["msg"]}
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise Problem(
            422, InvalidInputError.error_code, f"{subject} does not fit: {describe(error)}", errors=fields
        ) from error


def read_job_id(request: web.Request) -> UUID:
    """Return the job id of the path.

    Raises:
        Problem: 400, malformed.
    """
    try:
        return parse_job_id(request.match_info["job_id"])
    except InvalidInputError as error:
        raise Problem(400, "ID_MALFORMED", error.message) from error


def name_actor(request: web.Request) -> str:
    """Return who acts, for the audit trail: where the request came from."""
    return f"api:{request.remote or 'unknown'}"


def respond(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        status=status, body=dump(value), content_type="application/json", headers=dict(headers or {})
    )


def dump(value: Any) -> bytes:
    """Write JSON on one line."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def embed(text: str | None) -> orjson.Fragment | None:
    """Return JSON text of the database as a value that goes out unchanged."""
    return None if text is None else orjson.Fragment(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID):
        # The driver's own subclass.
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")
