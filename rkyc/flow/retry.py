"""When a failed attempt is tried again: policies as values.

Pure: `delay_s` takes the random number. Exponential with full jitter: the delay is drawn evenly
from zero to the cap of that attempt, so that a crowd of failed steps does not come back at once.
Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rkyc.errors import DefinitionError, RkycError

# Error codes that no policy may retry, whatever the class of the error says.
NEVER_RETRY = frozenset(
    {"CONTENT_POLICY", "POISON", "DEADLINE_EXCEEDED", "OUTPUT_INVALID", "VALIDATION_ERROR"}
)
DELAY_S_CAP = 300.0
# Nobody waits longer, whatever the policy or the other side says: a day.
WAIT_S_MAX = 86_400.0
# The least that an attempt waits after the first that ran out of memory; then doubled.
MEMORY_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a step is tried again.

    `max_attempts` counts the first try: 4 means three retries. Delays are in seconds:
    attempt n waits up to `initial_s * base ** (n - 1)`, never above `max_s`, but at least
    as long as the other side asked (Retry-After). `jitter=False` is for tests.
    """

    max_attempts: int = 4
    initial_s: float = 1.0
    base: float = 2.0
    max_s: float = DELAY_S_CAP
    jitter: bool = True

    def __post_init__(self) -> None:
        if not (
            1 <= self.max_attempts <= 1000
            and 0 <= self.initial_s <= WAIT_S_MAX
            and 1 <= self.base <= 1000
            and 0 <= self.max_s <= WAIT_S_MAX
        ):
            raise DefinitionError(
                f"retry policy {self} can't be used: expected max_attempts and base from 1 to 1000, "
                "initial_s and max_s from 0 to 86400"
            )

    def delay_s(self, error_attempts: int, random: float, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after the n-th error attempt (from 1); `random` lies in [0, 1)."""
        # The exponent is bounded first: 2.0 ** 2000 would overflow.
        cap = min(self.max_s, self.initial_s * self.base ** min(error_attempts - 1, 64))
        delay = cap * random if self.jitter else cap
        if retry_after_s is None or math.isnan(retry_after_s):
            return delay
        return max(delay, min(retry_after_s, WAIT_S_MAX))

    def allows(self, error: BaseException, error_attempts: int) -> bool:
        """Return whether another attempt follows this error, the n-th of its step (from 1)."""
        if not isinstance(error, RkycError) or not error.retryable or error.error_code in NEVER_RETRY:
            return False
        return error_attempts < self.max_attempts


def memory_pause_s(error_attempts: int, random: float) -> float:
    """Return the seconds until memory may be free again: never too few, and not the same for a crowd."""
    return min(DELAY_S_CAP, MEMORY_PAUSE_S * 2.0 ** min(error_attempts - 1, 64)) * (1 + random)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of a step in seconds; None is no limit.

    `start_to_close` bounds one attempt (then it is cancelled and retried by the policy);
    `total` bounds all attempts from the first start, waits included (schedule to close: then the step fails).
    `soft` comes before `start_to_close`: the body gets a `SoftTimeLimit`, which it may catch to save what it
    has; without, the attempt ends there. `schedule_to_start` bounds the wait for a worker, a turn or a place of a
    limit, as a lane's `ttl_s` does (then the job ends as expired). `heartbeat`: an attempt that does not call
    `ctx.heartbeat` for so long is cut and retried; `idle`: one that does not `ctx.emit` for so long.
    """

    start_to_close: float | None = None
    total: float | None = None
    soft: float | None = None
    schedule_to_start: float | None = None
    heartbeat: float | None = None
    idle: float | None = None
    # An attempt must be looked at for more than its end.
    is_watched: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        limits = (
            self.start_to_close,
            self.total,
            self.soft,
            self.schedule_to_start,
            self.heartbeat,
            self.idle,
        )
        for value in limits:
            if value is not None and not 0 < value < math.inf:
                raise DefinitionError(f"time limit {value} can't be used: expected seconds > 0 or None")
        if self.soft is not None and self.start_to_close is not None and self.soft >= self.start_to_close:
            raise DefinitionError(
                f"soft time limit {self.soft:g} s can't be used: expected less than start_to_close ({self.start_to_close:g} s)"
            )
        object.__setattr__(
            self, "is_watched", any(value is not None for value in (self.soft, self.heartbeat, self.idle))
        )


# What a step has that declares none; `with_defaults` knows them by identity.
UNDECLARED_RETRY = RetryPolicy()
UNDECLARED_TIMEOUTS = Timeouts()
