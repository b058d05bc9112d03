"""The line that the log gets when a job has ended."""

from __future__ import annotations

from rkyc.flow.job import Claim
from rkyc.flow.outcome import Fail, Finish
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)


def log_end(claim: Claim, step: str, outcome: Finish | Fail) -> None:
    """Say that a job failed, as a warning, or that it was completed, for those who debug."""
    if isinstance(outcome, Finish):
        _log.debug(events.JOB_COMPLETED, job_id=claim.uuid, pipeline=claim.pipeline)
        return
    _log.warning(
        events.JOB_FAILED,
        job_id=str(claim.uuid),
        pipeline=claim.pipeline,
        step=step,
        error_code=outcome.error_code,
        error=outcome.error_message,
    )
