"""Every error that rkyc raises on purpose, sorted by what the one who gets it can do.

RkycError
├── UsageError                     the caller's mistake: exit code 2, HTTP 4xx; nothing was changed
│   ├── ConfigError                CONFIG_INVALID
│   ├── DefinitionError            DEFINITION_INVALID       a pipeline that can't run as written
│   ├── InvalidInputError          INPUT_INVALID
│   │   └── DossierError           DOSSIER_INVALID
│   ├── PayloadTooLargeError       PAYLOAD_TOO_LARGE
│   ├── UnknownPipelineError       PIPELINE_UNKNOWN
│   ├── UnknownLaneError           LANE_UNKNOWN
│   ├── NotFoundError              NOT_FOUND
│   └── ConflictError              CONFLICT                 same key, other input; a move that the state forbids
├── StoreError                     the database can't serve: its message says what to do
│   ├── StoreUnavailableError      STORE_UNAVAILABLE        not reached or gone; try later
│   ├── StoreUnsuitableError       STORE_UNSUITABLE         too old, no rights, schema newer than the program
│   └── EmbeddedError              EMBEDDED_FAILED          the private Postgres could not start
├── LeaseLostError                 LEASE_LOST               stop quietly: another worker holds the task
└── WorkerBaseException            WORKER_ERROR             an attempt of a step failed
    ├── RetryableException         RETRYABLE                try later
    │   ├── LLMProviderError       LLM_PROVIDER_ERROR
    │   │   ├── LLMTimeoutError    LLM_TIMEOUT
    │   │   └── LLMRateLimitError  LLM_RATE_LIMIT
    │   ├── EmbeddingTimeoutError  EMBEDDING_TIMEOUT
    │   │   └── EmbeddingRateLimitError  EMBEDDING_RATE_LIMIT
    │   ├── SearchTimeoutError     SEARCH_TIMEOUT
    │   │   └── SearchRateLimitError  SEARCH_RATE_LIMIT
    │   ├── DatabaseConnectionError  DB_CONNECTION_ERROR
    │   ├── StorageDownloadError   STORAGE_DOWNLOAD_ERROR
    │   ├── StepTimeoutError       STEP_TIMEOUT             the attempt passed its start-to-close limit
    │   │   ├── TaskSoftTimeLimitError  TASK_SOFT_TIME_LIMIT    it ended at its soft limit
    │   │   ├── TaskTimeLimitError  TASK_TIME_LIMIT         it heard of its soft limit and passed the hard one
    │   │   ├── HeartbeatTimeoutError  HEARTBEAT_TIMEOUT    it gave no sign of life for too long
    │   │   └── IdleTimeoutError   IDLE_TIMEOUT             it emitted nothing for too long
    │   ├── OutOfMemoryError       OUT_OF_MEMORY            wait until memory is free, best elsewhere
    │   └── ChildProcessDiedError  CHILD_PROCESS_DIED       the child that ran CPU-bound work died
    ├── PermanentException         PERMANENT                never try again
    │   ├── InvalidFileError       INVALID_FILE
    │   │   ├── UnsupportedTypeError  UNSUPPORTED_TYPE
    │   │   ├── TextTooShortError  TEXT_TOO_SHORT
    │   │   └── FileTooLargeError  FILE_TOO_LARGE
    │   ├── MultiIdentityError     MULTI_IDENTITY
    │   ├── EncryptionError        ENCRYPTION_ERROR
    │   ├── ValidationError        VALIDATION_ERROR
    │   ├── OutputInvalidError     OUTPUT_INVALID           a step's output that the database can't hold
    │   ├── InsufficientCreditsError  INSUFFICIENT_CREDITS
    │   ├── ContentPolicyError     CONTENT_POLICY
    │   ├── LLMParseError          LLM_PARSE_ERROR
    │   ├── LLMRequestError        LLM_REQUEST_INVALID
    │   ├── LLMAuthError           LLM_AUTH
    │   ├── LLMQuotaError          LLM_QUOTA                money or quota spent: a retry only costs time
    │   ├── CorpNotFoundError      CORP_NOT_FOUND
    │   ├── SnapshotInvalidError   SNAPSHOT_INVALID
    │   ├── DeadlineExceededError  DEADLINE_EXCEEDED        the job's or the step's total limit passed
    │   ├── SignalTimeoutError     SIGNAL_TIMEOUT           no signal or event came in time
    │   ├── ChildFailedError       CHILD_FAILED             a child job failed or was cancelled
    │   └── PoisonError            POISON                   three crashes, each alone in its process
    └── PartialFailureException    PARTIAL_FAILURE          the work goes on without this part
        ├── EmbeddingPartialFailure  EMBEDDING_PARTIAL_FAILURE
        ├── VisualAgentFailure     VISUAL_AGENT_FAILURE
        └── OcrUnavailableError    OCR_UNAVAILABLE

A message names its subject, what happened, what was expected and what to do; it holds no payload
and no secret. What is not a failure (sleep, cancel, wait) is an outcome, not an error.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar


class RkycError(Exception):
    """Base of all: a message for people, details for programs.

    `details` hold small JSON values only; they are stored with the job.
    """

    error_code: ClassVar[str] = "RKYC_ERROR"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})

    def __reduce__(self) -> tuple[Any, ...]:
        # Crosses the pipe of a child process with its details.
        return (type(self), (self.message, self.details))

    @property
    def retry_after_s(self) -> float | None:
        """Seconds that the other side asked to wait at least (`details["retry_after"]`)."""
        value = self.details.get("retry_after")
        if not isinstance(value, int | float):
            return None
        # Bounded first: an int may be larger than any float.
        return float(max(-1e9, min(value, 1e9)))


class UsageError(RkycError):
    """The caller's mistake; nothing was changed."""

    error_code = "USAGE"


class ConfigError(UsageError):
    error_code = "CONFIG_INVALID"


class DefinitionError(UsageError):
    error_code = "DEFINITION_INVALID"


class InvalidInputError(UsageError):
    error_code = "INPUT_INVALID"


class DossierError(InvalidInputError):
    error_code = "DOSSIER_INVALID"


class PayloadTooLargeError(UsageError):
    error_code = "PAYLOAD_TOO_LARGE"


class UnknownPipelineError(UsageError):
    error_code = "PIPELINE_UNKNOWN"


class UnknownLaneError(UsageError):
    error_code = "LANE_UNKNOWN"


class NotFoundError(UsageError):
    error_code = "NOT_FOUND"


class ConflictError(UsageError):
    error_code = "CONFLICT"


class StoreError(RkycError):
    """The database can't serve."""

    error_code = "STORE_ERROR"


class StoreUnavailableError(StoreError):
    error_code = "STORE_UNAVAILABLE"
    retryable = True


class StoreUnsuitableError(StoreError):
    error_code = "STORE_UNSUITABLE"


class EmbeddedError(StoreError):
    error_code = "EMBEDDED_FAILED"


class LeaseLostError(RkycError):
    """The task's fence moved on: another worker holds it. Not a failure of the step."""

    error_code = "LEASE_LOST"


class WorkerBaseException(RkycError):
    """An attempt of a step failed."""

    error_code = "WORKER_ERROR"


class RetryableException(WorkerBaseException):
    """Try later."""

    error_code = "RETRYABLE"
    retryable = True


class LLMProviderError(RetryableException):
    error_code = "LLM_PROVIDER_ERROR"


class LLMTimeoutError(LLMProviderError):
    error_code = "LLM_TIMEOUT"


class LLMRateLimitError(LLMProviderError):
    error_code = "LLM_RATE_LIMIT"


class EmbeddingTimeoutError(RetryableException):
    error_code = "EMBEDDING_TIMEOUT"


class EmbeddingRateLimitError(EmbeddingTimeoutError):
    error_code = "EMBEDDING_RATE_LIMIT"


class SearchTimeoutError(RetryableException):
    error_code = "SEARCH_TIMEOUT"


class SearchRateLimitError(SearchTimeoutError):
    error_code = "SEARCH_RATE_LIMIT"


class DatabaseConnectionError(RetryableException):
    error_code = "DB_CONNECTION_ERROR"


class StorageDownloadError(RetryableException):
    error_code = "STORAGE_DOWNLOAD_ERROR"


class StepTimeoutError(RetryableException):
    error_code = "STEP_TIMEOUT"


class TaskSoftTimeLimitError(StepTimeoutError):
    error_code = "TASK_SOFT_TIME_LIMIT"


class TaskTimeLimitError(StepTimeoutError):
    error_code = "TASK_TIME_LIMIT"


class HeartbeatTimeoutError(StepTimeoutError):
    error_code = "HEARTBEAT_TIMEOUT"


class IdleTimeoutError(StepTimeoutError):
    error_code = "IDLE_TIMEOUT"


class OutOfMemoryError(RetryableException):
    """Memory ran out, of the process or of a device: an attempt that comes too soon finds none either."""

    error_code = "OUT_OF_MEMORY"


class ChildProcessDiedError(RetryableException):
    error_code = "CHILD_PROCESS_DIED"


class PermanentException(WorkerBaseException):
    """Never try again."""

    error_code = "PERMANENT"


class InvalidFileError(PermanentException):
    error_code = "INVALID_FILE"


class UnsupportedTypeError(InvalidFileError):
    error_code = "UNSUPPORTED_TYPE"


class TextTooShortError(InvalidFileError):
    error_code = "TEXT_TOO_SHORT"


class FileTooLargeError(InvalidFileError):
    error_code = "FILE_TOO_LARGE"


class MultiIdentityError(PermanentException):
    error_code = "MULTI_IDENTITY"


class EncryptionError(PermanentException):
    error_code = "ENCRYPTION_ERROR"


class ValidationError(PermanentException):
    error_code = "VALIDATION_ERROR"


class OutputInvalidError(PermanentException):
    error_code = "OUTPUT_INVALID"


class InsufficientCreditsError(PermanentException):
    error_code = "INSUFFICIENT_CREDITS"


class ContentPolicyError(PermanentException):
    error_code = "CONTENT_POLICY"


class LLMParseError(PermanentException):
    error_code = "LLM_PARSE_ERROR"


class LLMRequestError(PermanentException):
    error_code = "LLM_REQUEST_INVALID"


class LLMAuthError(PermanentException):
    error_code = "LLM_AUTH"


class LLMQuotaError(PermanentException):
    error_code = "LLM_QUOTA"


class CorpNotFoundError(PermanentException):
    error_code = "CORP_NOT_FOUND"


class SnapshotInvalidError(PermanentException):
    error_code = "SNAPSHOT_INVALID"


class DeadlineExceededError(PermanentException):
    error_code = "DEADLINE_EXCEEDED"


class SignalTimeoutError(PermanentException):
    error_code = "SIGNAL_TIMEOUT"


class ChildFailedError(PermanentException):
    error_code = "CHILD_FAILED"


class PoisonError(PermanentException):
    error_code = "POISON"


class PartialFailureException(WorkerBaseException):
    """The work goes on without this part."""

    error_code = "PARTIAL_FAILURE"


class EmbeddingPartialFailure(PartialFailureException):
    error_code = "EMBEDDING_PARTIAL_FAILURE"


class VisualAgentFailure(PartialFailureException):
    error_code = "VISUAL_AGENT_FAILURE"


class OcrUnavailableError(PartialFailureException):
    error_code = "OCR_UNAVAILABLE"


class SoftTimeLimit(asyncio.CancelledError):
    """Raised inside a step's body at its soft limit: catch it to save what there is, and return or raise.

    A cancellation, so that whatever the body waits for is cancelled as it should be. The body may go on
    until its hard limit; what it returns counts.
    """
