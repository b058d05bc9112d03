"""The shapes of bodies and queries. Unknown fields are refused: a misspelt one must not pass unseen."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from rkyc.flow.numbers import SECONDS_MAX
from rkyc.flow.schedule import CatchUp, Overlap
from rkyc.flow.states import JobState
from rkyc.flow.unique import HeldWhile, OnConflict

# Names that go to the database as they are: no control characters.
Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f\x7f]+$")]
LongName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$")]
Reason = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
_LIST_MAX = 1000


class Request(BaseModel):
    """What all bodies and queries have in common."""

    model_config = ConfigDict(extra="forbid")


class UniqueRequest(Request):
    """What `flow.unique.Unique` is over HTTP."""

    key: Key
    while_: HeldWhile | None = Field(default=None, alias="while")
    for_s: float | None = Field(default=None, gt=0, le=SECONDS_MAX)
    on_conflict: OnConflict = "keep"


class JobRequest(Request):
    """The body of POST /api/v1/jobs."""

    pipeline: Name
    input: Any
    lane: Name = "default"
    idempotency_key: Key | None = None
    deadline_s: float | None = Field(default=None, gt=0, le=SECONDS_MAX)
    run_at: AwareDatetime | None = None
    webhook_url: Url | None = None
    metadata: dict[str, Any] | None = None
    budget_usd: float | None = Field(default=None, ge=0, lt=1_000_000)
    fair_key: LongName | None = None
    tenant: LongName | None = None
    weight: float = Field(default=1.0, ge=0.01, le=100)
    unique: UniqueRequest | None = None


class ScheduleRequest(Request):
    """The body of POST /api/v1/schedules; what it means is said at `flow.schedule.Schedule`."""

    name: Name
    pipeline: Name
    input: Any = Field(default_factory=dict)
    cron: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] | None = None
    interval_s: float | None = None
    time_zone: Name = "UTC"
    lane: Name = "default"
    catch_up: CatchUp = "last"
    catch_up_max: int = 100
    overlap: Overlap = "skip"


class CancelRequest(Request):
    """The body of POST …/cancel; none is needed."""

    reason: Reason | None = None


class SignalRequest(Request):
    """The body of POST …/signal."""

    name: LongName
    payload: Any = None
    delivery_id: LongName | None = None


class EventRequest(Request):
    """The body of POST /api/v1/events."""

    topic: LongName
    payload: Any = None


class EmptyRequest(Request):
    """A body that may only be `{}`, or missing."""


class ResumeRequest(Request):
    """The body of POST …/resume; none is needed."""

    budget_usd: float | None = Field(default=None, gt=0, lt=1_000_000)


class RetryRequest(Request):
    """The body of POST …/retry; none is needed."""

    from_step: Name | None = None


class ForkRequest(Request):
    """The body of POST …/fork; no input: the same, null is another."""

    from_step: Name
    input: Any = None
    outputs: dict[Name, Any] = Field(default_factory=dict)
    version: int | None = Field(default=None, ge=1, lt=2**31)


class RerunRequest(Request):
    """The body of POST …/rerun; none is needed."""

    input: Any = None
    degraded: bool = False
    version: int | None = Field(default=None, ge=1, lt=2**31)
    dry_run: bool = False


class OutputQuery(Request):
    """The query of GET …/steps/{step}/output: which item, where the step is part of a map."""

    item: Annotated[str, StringConstraints(max_length=200)] | None = None


class DiffQuery(Request):
    """The query of GET …/diff: the other job."""

    to: UUID


class StartQuery(Request):
    """The query of POST /api/v1/pipelines/{pipeline}, whose body is the input itself."""

    lane: Name = "default"


class JobsQuery(Request):
    """The query of GET /api/v1/jobs; `before` is the last id of the page before."""

    status: JobState | None = None
    pipeline: Name | None = None
    corp: Name | None = None
    since: AwareDatetime | None = None
    before: UUID | None = None
    limit: int = Field(default=50, ge=1, le=_LIST_MAX)


class HistoryQuery(Request):
    """The query of GET /api/v1/pipelines/history; `status` in its words or in ours."""

    hours: float = Field(default=1, gt=0, le=87_600)
    limit: int = Field(default=100, ge=1, le=_LIST_MAX)
    status: Name | None = None
    task_name: Name | None = None


class ReportQuery(Request):
    """The query of GET …/report."""

    format: Literal["html", "md", "json"] = "html"
