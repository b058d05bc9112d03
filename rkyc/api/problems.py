"""The one place where an error becomes an HTTP answer: problem+json with type, title, status, detail, code.

`STATUSES` maps the error tree; a class that is not listed takes the status of its nearest listed
parent, and a test fails on one that has none. `Problem` is for what only HTTP knows (a malformed id, a
body that can't be parsed). What nobody expected is logged with its stack and answered with 500.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from rkyc import errors
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
# What a client should wait when the database is away. Seconds.
RETRY_AFTER_S = 2

STATUSES: Mapping[type[errors.RkycError], int] = {
    errors.RkycError: 500,
    errors.UsageError: 422,
    errors.PayloadTooLargeError: 413,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.StoreError: 503,
    errors.LeaseLostError: 409,
    errors.WorkerBaseException: 500,
    errors.RetryableException: 503,
    errors.PermanentException: 422,
    errors.FileTooLargeError: 413,
    errors.CorpNotFoundError: 404,
    errors.PartialFailureException: 500,
}

_HTTP_CODES = {
    400: "REQUEST_MALFORMED",
    404: "ROUTE_UNKNOWN",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
}


class Problem(Exception):
    """A refusal that has no class in the error tree; `more` are further members of the answer."""

    def __init__(
        self, status: int, code: str, detail: str, *, retry_after_s: int | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.more = more


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever a handler raises."""
    edge = _Edge(request)
    with edge:
        return await handler(request)
    return edge.answer


def status_of(kind: type[errors.RkycError]) -> int:
    """Return the status of an error class: its own, or that of its nearest listed parent."""
    return next(STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES)


class _Edge:
    """Takes an error on its way out and keeps the answer to it.

    A context manager, since the last thing it takes is any exception at all: a client must get a
    problem, and the operator the stack.
    """

    answer: web.StreamResponse

    def __init__(self, request: web.Request) -> None:
        self._request = request

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        match error:
            case Problem():
                self.answer = render(error)
            case errors.RkycError():
                self.answer = render(_of_error(error))
            case web.HTTPException() if error.status >= 400:
                self.answer = render(_of_http(error, self._request))
                if "Allow" in error.headers:
                    self.answer.headers["Allow"] = error.headers["Allow"]
            case web.HTTPException() | ConnectionResetError():
                return False
            case Exception():
                _log.error(
                    events.HTTP_FAILED, method=self._request.method, path=self._request.path, exc_info=error
                )
                self.answer = render(
                    Problem(500, "INTERNAL", "the server failed at this request; its log says how")
                )
            case _:
                return False
        return True


def render(problem: Problem) -> web.Response:
    """Write a problem as RFC 9457 has it."""
    members = {
        "type": f"urn:rkyc:problem:{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **problem.more,
    }
    answer = web.Response(
        status=problem.status,
        body=orjson.dumps(members, default=str, option=orjson.OPT_NON_STR_KEYS),
        content_type=CONTENT_TYPE,
    )
    if problem.retry_after_s is not None:
        answer.headers["Retry-After"] = str(problem.retry_after_s)
    return answer


def _of_error(error: errors.RkycError) -> Problem:
    status = status_of(type(error))
    wait_s = None
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        wait_s = max(1, math.ceil(error.retry_after_s or RETRY_AFTER_S))
    more = {"details": error.details} if error.details else {}
    return Problem(status, error.error_code, error.message, retry_after_s=wait_s, **more)


def _of_http(error: web.HTTPException, request: web.Request) -> Problem:
    match error:
        case web.HTTPNotFound():
            detail = f"no route {request.path}: GET / lists the routes"
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{request.path} takes {allowed}, got {request.method}"
        case web.HTTPRequestEntityTooLarge():
            detail = f"{error.text}: store what is large by POST /api/v1/blobs and pass its sha256"
        case _:
            detail = error.text or error.reason
    code = _HTTP_CODES.get(error.status, HTTPStatus(error.status).name)
    return Problem(error.status, code, detail)
