"""Retry policies: who is tried again, and after how long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.errors import (
    ContentPolicyError,
    DeadlineExceededError,
    DefinitionError,
    LLMAuthError,
    LLMRateLimitError,
    OutputInvalidError,
    PermanentException,
    PoisonError,
    RetryableException,
    StepTimeoutError,
    ValidationError,
)
from rkyc.flow.retry import DELAY_S_CAP, RetryPolicy, Timeouts

CHANCE = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(
    attempts=st.integers(1, 100_000),
    random=CHANCE,
    initial=st.floats(0, 1000),
    base=st.floats(1, 100),
)
def test_a_delay_lies_between_zero_and_the_cap(
    attempts: int, random: float, initial: float, base: float
) -> None:
    policy = RetryPolicy(initial_s=initial, base=base)
    delay = policy.delay_s(attempts, random)
    assert 0 <= delay <= min(DELAY_S_CAP, initial * base ** min(attempts - 1, 64))


@given(st.integers(1, 20))
def test_without_jitter_the_delay_doubles_up_to_the_cap(attempts: int) -> None:
    assert RetryPolicy(jitter=False).delay_s(attempts, 0.5) == min(300.0, 2.0 ** (attempts - 1))


@given(attempts=st.integers(1, 50), random=CHANCE, asked=st.floats(0, 10_000))
def test_what_the_other_side_asked_is_a_minimum(attempts: int, random: float, asked: float) -> None:
    policy = RetryPolicy()
    assert policy.delay_s(attempts, random, asked) == max(asked, policy.delay_s(attempts, random))


@pytest.mark.parametrize("asked", [math.inf, -math.inf, math.nan, -5, 1e300, "soon", None, True])
def test_a_senseless_retry_after_does_not_reach_the_delay(asked: object) -> None:
    error = LLMRateLimitError("slow down", {"retry_after": asked})
    delay = RetryPolicy().delay_s(1, 0.5, error.retry_after_s)
    assert 0 <= delay <= 86_400


def test_full_jitter_spreads_over_the_whole_range() -> None:
    policy = RetryPolicy()
    assert [policy.delay_s(4, random) for random in (0.0, 0.25, 0.5, 0.999)] == [0.0, 2.0, 4.0, 7.992]


@pytest.mark.parametrize("error", [RetryableException("x"), LLMRateLimitError("x"), StepTimeoutError("x")])
def test_an_error_that_may_pass_is_tried_again_until_the_last_attempt(error: Exception) -> None:
    policy = RetryPolicy(max_attempts=4)
    assert [policy.allows(error, attempt) for attempt in (1, 2, 3, 4, 5)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    "error",
    [
        PermanentException("x"),
        ContentPolicyError("x"),
        LLMAuthError("x"),
        ValidationError("x"),
        OutputInvalidError("x"),
        DeadlineExceededError("x"),
        PoisonError("x"),
        ValueError("a bug of the step"),
        KeyError("x"),
    ],
)
def test_an_error_that_stays_is_never_tried_again(error: Exception) -> None:
    assert not RetryPolicy(max_attempts=1000).allows(error, 1)


def test_a_code_that_may_not_be_retried_wins_over_its_class() -> None:
    class Sly(RetryableException):
        error_code = "CONTENT_POLICY"

    assert not RetryPolicy().allows(Sly("x"), 1)


@pytest.mark.parametrize(
    "values",
    [
        {"max_attempts": 0},
        {"max_attempts": 1001},
        {"initial_s": -1},
        {"base": 0.5},
        {"base": 1e6},
        {"max_s": -1},
        {"initial_s": math.nan},
        {"initial_s": math.inf},
        {"max_s": math.nan},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(DefinitionError):
        RetryPolicy(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_time_limit_that_makes_no_sense_is_refused(value: float) -> None:
    with pytest.raises(DefinitionError):
        Timeouts(start_to_close=value)
    with pytest.raises(DefinitionError):
        Timeouts(total=value)
