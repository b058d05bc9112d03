"""What went wrong at a vendor, in words that no vendor owns.

`read_fault` reads what the SDKs, httpx2 and aiohttp raise and gives one `Fault`; each kind of
provider turns that into its own errors. It knows exceptions by the names of their classes, so that
reading one loads no SDK. A vendor's message never travels further: it may quote the prompt or the
key. Only its codes do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

# Seconds to wait after a 429 that names no time: the bound that the vendors' per-minute limits share.
RETRY_AFTER_DEFAULT_S = 60.0

# In-stream errors arrive under status 200; these are the statuses that their words stand for.
# Source: the `error.type` literals of the anthropic SDK 2.11 and OpenAI's error codes.
_STATUS_BY_CODE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "insufficient_quota": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "context_length_exceeded": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
# A limit of money, not of pace: the same request fails until somebody pays.
_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_error",
        "billing_hard_limit_reached",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "credit_balance_too_low",
    }
)
_POLICY_CODES = frozenset({"content_policy_violation", "content_filter", "invalid_prompt", "content_blocked"})
# Two refusals that anthropic marks by their text alone.
_CODE_BY_PHRASE = {
    "content filtering policy": "content_blocked",
    "credit balance is too low": "credit_balance_too_low",
}


class FaultKind(StrEnum):
    """What the one who asked can make of it."""

    TIMEOUT = "timeout"
    CONNECT = "connect"  # no connection, or lost before any answer
    CUT = "cut"  # the connection ended in the middle of the answer
    BROKEN = "broken"  # an answer that can't be read
    RATE = "rate"
    QUOTA = "quota"
    AUTH = "auth"
    POLICY = "policy"
    REQUEST = "request"  # the vendor will refuse the same request again
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed call. `status` is None when no status line came; `code` is the vendor's own word."""

    provider: str
    kind: FaultKind
    error: str  # the name of the exception's class
    status: int | None = None
    code: str | None = None
    retry_after_s: float | None = None
    request_id: str | None = None

    def details(self) -> dict[str, Any]:
        """Small JSON values for an error's `details`; what is unknown is left out."""
        given = {
            "provider": self.provider,
            "original_error": self.error,
            "status": self.status,
            "vendor_code": self.code,
            "retry_after": self.retry_after_s,
            "request_id": self.request_id,
        }
        return {name: value for name, value in given.items() if value is not None}

    def told(self) -> str:
        """Say what the vendor answered: `429 (rate_limit_error)`."""
        words = [str(self.status)] if self.status is not None else []
        words += [f"({self.code})"] if self.code else []
        return " ".join(words) or self.error


def read_fault(provider: str, error: BaseException) -> Fault:
    """Read what a client of `provider` raised."""
    telling = _telling(error)
    name = type(telling).__name__
    names = {cls.__name__ for cls in type(telling).__mro__}
    if names & {"TimeoutError", "TimeoutException", "APITimeoutError"}:
        return Fault(provider, FaultKind.TIMEOUT, name)
    status = getattr(error, "status_code", None)
    body = getattr(error, "body", None)
    code = _vendor_code(body)
    if not isinstance(status, int) and code is None and not isinstance(body, dict):
        return Fault(provider, _transport_kind(names), name)
    headers = getattr(getattr(error, "response", None), "headers", {})
    return answered(provider, status=status or _numeric_code(body), code=code, headers=headers, error=name)


def answered(
    provider: str, *, status: int | None, code: str | None, headers: Mapping[str, str], error: str
) -> Fault:
    """Sort an answer that says no: a status of 400 or more, or an error event inside a stream."""
    effective = status if status is not None and status >= 400 else _STATUS_BY_CODE.get(code or "", 500)
    kind = _kind(effective, code)
    wait = retry_after_s(headers, now=datetime.now(UTC))
    if kind is FaultKind.RATE and wait is None:
        wait = RETRY_AFTER_DEFAULT_S
    request_id = headers.get("request-id") or headers.get("x-request-id")
    return Fault(provider, kind, error, status, code, wait, request_id)


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Read `retry-after-ms` or `retry-after` (seconds or a date); None when absent or unreadable."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _telling(error: BaseException) -> BaseException:
    """Find the exception of the chain that knows what happened.

    The SDKs wrap what the transport said, and the transport of the openai SDK 3.52 calls a refused
    connection a time-out; aiohttp's own class, where there is one, tells the truth.
    """
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    for link in chain:
        if type(link).__module__.partition(".")[0] == "aiohttp":
            return link
    is_wrapper = any(cls.__name__ == "APIConnectionError" for cls in type(error).__mro__)
    return chain[1] if is_wrapper and len(chain) > 1 else error


def _transport_kind(names: set[str]) -> FaultKind:
    if names & {"ReadError", "RemoteProtocolError", "ClientPayloadError", "ClientConnectionResetError"}:
        return FaultKind.CUT
    if names & {"APIConnectionError", "NetworkError", "ClientConnectionError", "OSError"}:
        return FaultKind.CONNECT
    return FaultKind.BROKEN


def _kind(status: int, code: str | None) -> FaultKind:
    if code in _QUOTA_CODES or status == 402:
        return FaultKind.QUOTA
    if code in _POLICY_CODES:
        return FaultKind.POLICY
    if status == 429:
        return FaultKind.RATE
    if status in (401, 403):
        return FaultKind.AUTH
    if status in (408, 504):
        return FaultKind.TIMEOUT
    # 409, 425 and 499 tell of a collision or of a cut connection, not of a wrong request.
    if status >= 500 or status in (409, 425, 499):
        return FaultKind.SERVER
    return FaultKind.REQUEST


def _numeric_code(body: object) -> int | None:
    """Read the status that vLLM and its like put into an in-stream error as `code`."""
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _vendor_code(body: object) -> str | None:
    """Find the most telling word in an error body: its code, else its type."""
    if not isinstance(body, dict):
        return None
    inner = body.get("error")
    inner = inner if isinstance(inner, dict) else body
    message = inner.get("message")
    for phrase, code in _CODE_BY_PHRASE.items():
        if isinstance(message, str) and phrase in message.lower():
            return code
    nested = inner.get("details")
    words = [
        nested.get("error_code") if isinstance(nested, dict) else None,
        inner.get("code"),
        inner.get("type"),
    ]
    known = _QUOTA_CODES | _POLICY_CODES | _STATUS_BY_CODE.keys()
    usable = [word for word in words if isinstance(word, str) and 0 < len(word) <= 64]
    return next((word for word in usable if word in known), usable[0] if usable else None)
