"""From what went wrong at a language model's vendor to our errors: the one edge for it.

The table: time-out, 408, 504 → LLM_TIMEOUT · 429 → LLM_RATE_LIMIT · 409, 425, 5xx, 529, lost or cut
connections, unreadable streams → LLM_PROVIDER_ERROR · 401, 403 → LLM_AUTH · 402 and a 429 about
money → LLM_QUOTA · refusals and filters → CONTENT_POLICY · every other 4xx → LLM_REQUEST_INVALID.
"""

from __future__ import annotations

from typing import Any, NoReturn, assert_never

from rkyc.errors import (
    ContentPolicyError,
    LLMAuthError,
    LLMProviderError,
    LLMQuotaError,
    LLMRateLimitError,
    LLMRequestError,
    LLMTimeoutError,
    WorkerBaseException,
)
from rkyc.providers.faults import Fault, FaultKind, read_fault
from rkyc.providers.llm.types import Usage


def raise_translated(provider: str, error: BaseException, *, timeout_s: float) -> NoReturn:
    """Raise our error for what a vendor's client raised, with that as its cause.

    Raises:
        WorkerBaseException: always; one of the classes of this module's table.
    """
    raise llm_error(read_fault(provider, error), timeout_s=timeout_s) from error


def llm_error(fault: Fault, *, timeout_s: float) -> WorkerBaseException:
    """Turn a fault into our error; `timeout_s` is the limit that the call had."""
    details = fault.details()
    match fault.kind:
        case FaultKind.TIMEOUT:
            details["timeout_seconds"] = timeout_s
            said = f"answered {fault.told()}" if fault.status else f"gave no answer within {timeout_s:g} s"
            if fault.error in ("ConnectTimeout", "ConnectionTimeoutError"):
                said = "could not be reached in time: failed to connect"
            return LLMTimeoutError(f"{fault.provider} {said}; a later try may do", details)
        case FaultKind.CONNECT:
            message = f"failed to connect to {fault.provider}, or lost it before its answer ({fault.error})"
            return LLMProviderError(f"{message}; check the address and the network", details)
        case FaultKind.CUT | FaultKind.BROKEN:
            message = f"the answer of {fault.provider} was cut or could not be read ({fault.error})"
            return LLMProviderError(f"{message}; a later try may do", details)
        case FaultKind.SERVER:
            return LLMProviderError(
                f"{fault.provider} failed with {fault.told()}; a later try may do", details
            )
        case FaultKind.RATE:
            message = f"{fault.provider} limits the rate: {fault.told()}"
            return LLMRateLimitError(f"{message}; wait {fault.retry_after_s:g} s", details)
        case FaultKind.QUOTA:
            message = f"money or quota is spent at {fault.provider}: {fault.told()}"
            return LLMQuotaError(f"{message}; top up the account or set another provider", details)
        case FaultKind.AUTH:
            message = f"{fault.provider} refused the key: {fault.told()}"
            return LLMAuthError(f"{message}; check the API key and its rights", details)
        case FaultKind.POLICY:
            return ContentPolicyError(f"{fault.provider} refused the content: {fault.told()}", details)
        case FaultKind.REQUEST:
            message = f"{fault.provider} refused the request: {fault.told()}"
            return LLMRequestError(f"{message}; check the model id, the schema and the size", details)
        case _:
            assert_never(fault.kind)


def refused(provider: str, *, reason: str, usage: Usage, request_id: str | None) -> ContentPolicyError:
    """Build the error for an answer that stopped because the model or a filter refused."""
    details: dict[str, Any] = {"provider": provider, "stop_reason": reason, "tokens_in": usage.tokens_in}
    details["tokens_out"] = usage.tokens_out
    if request_id is not None:
        details["request_id"] = request_id
    return ContentPolicyError(f"{provider} refused to answer (stop reason {reason})", details)


def cut_short(provider: str, *, request_id: str | None) -> LLMProviderError:
    """Build the error for a stream that ended without saying why."""
    details: dict[str, Any] = {"provider": provider, "original_error": "StreamEndedEarly"}
    if request_id is not None:
        details["request_id"] = request_id
    message = f"the answer of {provider} was cut: its stream ended without a stop reason"
    return LLMProviderError(f"{message}; a later try may do", details)
