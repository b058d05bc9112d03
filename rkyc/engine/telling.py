"""Says what was committed: hints to the listeners, a line at a job's end, the counters. Nothing rests on it."""

from __future__ import annotations

from rkyc.engine.notices import Notices
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.flow.lane import TTL_EXPIRED
from rkyc.flow.outcome import Advance, Continue, EndUndone, Fail, Finish, Outcome, Retry, Undo, Wait
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)


def tell_outcome(notices: Notices, metrics: Metrics, claim: Claim, place: Place, outcome: Outcome) -> bool:
    """Tell of an outcome that landed; return whether it has a time at which something is due."""
    if type(outcome) is Advance:
        notices.outcome(claim, place, outcome)
        return False
    if type(outcome) is Finish:
        _tell_completion(notices, metrics, claim, place)
        return False
    match outcome:
        case Fail():
            _tell_end(notices, metrics, claim, "failed", outcome.step)
            _tell_failure(claim, outcome)
        case Undo() if not outcome.is_begun:
            return tell_outcome(notices, metrics, claim, place, outcome.fail)
        case Undo():
            notices.outcome(claim, place, outcome)
            _tell_undo(claim, outcome.fail)
        case EndUndone():
            notices.progress(claim, outcome.state, outcome.step)
            metrics.job_ended(
                claim.pipeline, "expired" if outcome.error_code == TTL_EXPIRED else outcome.state
            )
            if outcome.state == "failed":
                _tell_failure(claim, outcome)
            else:
                _log.info(
                    events.JOB_CANCELLED,
                    job_id=str(claim.uuid),
                    pipeline=claim.pipeline,
                    step=outcome.step,
                    undone=len(outcome.undone),
                )
        case Continue():
            _tell_completion(notices, metrics, claim, place)
            notices.wake_lane("*")
        case _:
            notices.outcome(claim, place, outcome)
            if isinstance(outcome, Retry):
                metrics.step_retried(place.name, outcome.error_code or "")
                return True
            return isinstance(outcome, Wait) and outcome.due_at is not None
    return False


def _tell_completion(notices: Notices, metrics: Metrics, claim: Claim, place: Place) -> None:
    _tell_end(notices, metrics, claim, "completed", place.name)
    _log.debug(events.JOB_COMPLETED, job_id=claim.uuid, pipeline=claim.pipeline)


def _tell_failure(claim: Claim, end: Fail | EndUndone) -> None:
    _log.warning(
        events.JOB_FAILED,
        job_id=str(claim.uuid),
        pipeline=claim.pipeline,
        step=end.step,
        error_code=end.error_code,
        error=end.error_message,
    )


def _tell_undo(claim: Claim, fail: Fail) -> None:
    _log.info(
        events.JOB_UNDOING,
        job_id=str(claim.uuid),
        pipeline=claim.pipeline,
        step=fail.step,
        error_code=fail.error_code,
    )


def _tell_end(notices: Notices, metrics: Metrics, claim: Claim, state: str, step: str) -> None:
    metrics.job_ended(claim.pipeline, state)
    notices.progress(claim, state, step)
