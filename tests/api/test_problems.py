"""Errors become problem+json, every one of them, wherever they come from."""

from __future__ import annotations

import inspect
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rkyc import errors
from rkyc.api.problems import STATUSES, Problem, answer_problems, status_of
from rkyc.errors import RkycError

pytestmark = pytest.mark.anyio

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RkycError) and found.__module__ == errors.__name__
]
# What a caller can do, by the branch of the tree.
EXPECTED = {
    errors.RkycError: {500},
    errors.UsageError: {404, 409, 413, 422},
    errors.StoreError: {503},
    errors.LeaseLostError: {409},
    errors.RetryableException: {503},
    errors.PermanentException: {404, 413, 422},
    errors.PartialFailureException: {500},
    errors.WorkerBaseException: {500},
}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_class_has_a_status_of_its_branch(kind: type[RkycError]) -> None:
    branch = next(parent for parent in kind.__mro__ if parent in EXPECTED)
    assert status_of(kind) in EXPECTED[branch]
    # Nobody falls through to the root by accident: that would be a class without a branch.
    assert kind is RkycError or any(
        parent in STATUSES for parent in kind.__mro__[: kind.__mro__.index(RkycError)]
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidInputError, 422),
        (errors.DossierError, 422),
        (errors.UnknownPipelineError, 422),
        (errors.UnknownLaneError, 422),
        (errors.PayloadTooLargeError, 413),
        (errors.NotFoundError, 404),
        (errors.ConflictError, 409),
        (errors.StoreUnavailableError, 503),
        (errors.DatabaseConnectionError, 503),
        (errors.ValidationError, 422),
        (errors.OutputInvalidError, 422),
    ],
)
async def test_error_is_answered_with_its_status_and_code(kind: type[RkycError], status: int) -> None:
    got, headers, body = await answer_to(kind("it went wrong: do this", {"n": 1}))
    assert (got, body["status"], body["code"]) == (status, status, kind.error_code)
    assert body["detail"] == "it went wrong: do this"
    assert body["details"] == {"n": 1}
    assert body["title"] and body["type"].endswith(kind.error_code)
    assert ("Retry-After" in headers) == (status == 503)


async def test_the_other_sides_wait_is_passed_on() -> None:
    _, headers, _ = await answer_to(errors.LLMRateLimitError("too many", {"retry_after": 12.3}))
    assert headers["Retry-After"] == "13"


async def test_what_nobody_expected_is_a_500_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    status, _, body = await answer_to(ZeroDivisionError("secret"))
    assert (status, body["code"]) == (500, "INTERNAL")
    assert "secret" not in body["detail"]
    assert "http.failed" in caplog.text and "ZeroDivisionError" in caplog.text


async def test_problem_carries_further_members() -> None:
    status, headers, body = await answer_to(
        Problem(418, "TEAPOT", "short and stout", retry_after_s=3, spout=1)
    )
    assert (status, body["spout"], headers["Retry-After"]) == (418, 1, "3")


async def test_redirects_and_other_http_answers_pass() -> None:
    status, headers, body = await answer_to(web.HTTPFound("/elsewhere"))
    assert (status, headers["Location"], body) == (302, "/elsewhere", None)


async def answer_to(error: Exception) -> tuple[int, Any, Any]:
    """Return status, headers and JSON body of the answer to a handler that raises."""

    async def fail(_: web.Request) -> web.Response:
        raise error

    application = web.Application(middlewares=[answer_problems])
    application.router.add_get("/", fail)
    async with TestClient(TestServer(application)) as client:
        response = await client.get("/", allow_redirects=False)
        text = await response.read()
        if response.status >= 400:
            assert response.content_type == "application/problem+json"
        is_json = response.content_type.endswith("json")
        return response.status, response.headers, orjson.loads(text) if is_json else None
