"""What becomes of an attempt: pure decisions over (claim, error, now)."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest

from rkyc.errors import (
    LLMRateLimitError,
    OcrUnavailableError,
    PermanentException,
    PoisonError,
    RetryableException,
    StepTimeoutError,
)
from rkyc.flow.compile import compile_graph
from rkyc.flow.decide import decide_failure, decide_success, error_class_of, make_fail, message_of
from rkyc.flow.graph import chain, chord, group
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Advance, Arrive, Completed, Fail, Finish, Fork, Retry
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step

NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


@step(retry=RetryPolicy(max_attempts=3, initial_s=10, jitter=False))
async def work(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return input


def make_claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "job_id": 1,
        "branch": 0,
        "fence": 5,
        "lane": "default",
        "step": "work",
        "events": 0,
        "error_attempts": 0,
        "crash_attempts": 0,
        "alone_crashes": 0,
        "step_started_at": NOW.timestamp(),
        "uuid": UUID(int=1),
        "pipeline": "p",
        "version": 1,
        "input": "{}",
        "deadline_at": None,
        "outputs": None,
        "is_fresh": True,
        "job_lane": "default",
    }
    return Claim(**{**values, **changes})


def fail(error: BaseException, claim: Claim | None = None, **policy: Any) -> Retry | Fail | None:
    place = compile_graph(work.with_policy(**policy)).places["work"]
    return decide_failure(place, claim or make_claim(), error, now=NOW, random=0.5)


def done(name: str) -> Completed:
    return Completed(step=name, attempt=1, output="{}", started_at=NOW.timestamp())


def test_an_error_that_may_pass_is_retried_later() -> None:
    outcome = fail(RetryableException("busy"))
    assert isinstance(outcome, Retry)
    assert outcome.due_at == NOW + dt.timedelta(seconds=10)
    assert (outcome.error_attempts, outcome.error_code) == (1, "RETRYABLE")


def test_crashes_do_not_use_up_error_attempts() -> None:
    outcome = fail(RetryableException("busy"), make_claim(error_attempts=1, crash_attempts=50))
    assert isinstance(outcome, Retry)
    assert outcome.error_attempts == 2


def test_the_last_error_attempt_fails_the_job() -> None:
    outcome = fail(RetryableException("busy"), make_claim(error_attempts=2))
    assert isinstance(outcome, Fail)
    assert (outcome.error_code, outcome.error_class, outcome.error_attempts) == ("RETRYABLE", "retryable", 3)


def test_the_longer_of_backoff_and_retry_after_counts() -> None:
    for asked, expected in ((5, 10), (60, 60)):
        outcome = fail(LLMRateLimitError("slow down", {"retry_after": asked}))
        assert isinstance(outcome, Retry)
        assert outcome.due_at == NOW + dt.timedelta(seconds=expected)


@pytest.mark.parametrize("asked", [float("inf"), float("nan"), -1e308, 1e308, 10**400, -(10**400)])
def test_a_senseless_retry_after_still_gives_an_outcome(asked: float) -> None:
    assert isinstance(fail(LLMRateLimitError("slow down", {"retry_after": asked})), Retry)


@pytest.mark.parametrize(
    ("claim", "policy"),
    [
        (make_claim(deadline_at=NOW + dt.timedelta(seconds=9)), {}),
        (make_claim(step_started_at=NOW.timestamp() - 91), {"timeouts": Timeouts(total=100)}),
    ],
)
def test_no_attempt_is_planned_after_a_limit(claim: Claim, policy: dict[str, Any]) -> None:
    outcome = fail(StepTimeoutError("slow"), claim, **policy)
    assert isinstance(outcome, Fail)
    assert outcome.error_code == "DEADLINE_EXCEEDED"
    assert outcome.error_details == '{"last_error":"STEP_TIMEOUT"}'


def test_an_optional_step_that_failed_for_good_has_no_failure() -> None:
    assert fail(PermanentException("no"), optional=True) is None
    assert isinstance(fail(RetryableException("busy"), optional=True), Retry)


def test_poison_says_that_the_worker_was_lost() -> None:
    outcome = fail(PoisonError("three times"))
    assert isinstance(outcome, Fail)
    assert outcome.reason == "worker_lost"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a" * 10_000),
        ValueError("half \ud800 of a pair"),
        PermanentException("half \ud800 of a pair"),
        PermanentException("nul \0 inside"),
        Unspeakable(),
        KeyError(),
    ],
)
def test_every_error_has_a_message_that_the_database_can_hold(error: Exception) -> None:
    message = message_of(error)
    message.encode()
    assert 0 < len(message) <= 500
    assert "\0" not in message


@pytest.mark.parametrize(
    "details", [{"x": object()}, {"x": float("nan")}, {"x": "\0"}, {"x": "\ud800"}, {"y": {1, "a"}}]
)
def test_details_that_are_not_json_do_not_keep_a_job_from_failing(details: dict[str, Any]) -> None:
    outcome = make_fail(make_claim(), "work", PermanentException("no", details), 1)
    assert outcome.error_message == "no"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermanentException("x"), "permanent"),
        (RetryableException("x"), "retryable"),
        (OcrUnavailableError("x"), "partial"),
        (ValueError("x"), "permanent"),
    ],
)
def test_the_class_of_an_error_is_one_of_three(error: Exception, expected: str) -> None:
    assert error_class_of(error) == expected


def test_success_leads_on_by_the_graph() -> None:
    graph = compile_graph(
        chain(
            work.named("a"),
            chord([work.named("b"), chain(work.named("c"), work.named("d"))], work.named("e")),
        )
    )

    def decide(name: str) -> Any:
        return decide_success(graph, graph.places[name], make_claim(), done(name))

    fork = decide("a")
    assert isinstance(fork, Fork)
    assert ([member.step for member in fork.members], fork.join_step) == (["b", "c"], "e")
    advance = decide("c")
    assert isinstance(advance, Advance)
    assert advance.next_step == "d"
    for name in ("b", "d"):
        arrive = decide(name)
        assert isinstance(arrive, Arrive)
        assert arrive.join_step == "e"
    assert isinstance(decide("e"), Finish)


def test_a_fork_inside_a_branch_waits_at_its_own_join() -> None:
    inner = chord([work.named("a"), work.named("b")], work.named("inner"))
    graph = compile_graph(
        chain(group(chain(work.named("first"), inner), work.named("side")), work.named("outer"))
    )
    start = decide_success(graph, graph.places["start_1"], make_claim(), done("start_1"))
    assert isinstance(start, Fork)
    assert start.join_step == "outer"
    nested = decide_success(graph, graph.places["first"], make_claim(), done("first"))
    assert isinstance(nested, Fork)
    assert (nested.join_step, nested.join_branch) == ("inner", graph.places["first"].branch)
