"""Jobs as their owners see them: enqueue, look, cancel, retry.

Functions take the connection first, so that a caller may enqueue inside a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rkyc.errors import InvalidInputError
from rkyc.flow.numbers import SECONDS_MAX
from rkyc.flow.payload import is_storable
from rkyc.store.pool import Connection, Record, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)
WAKE_CHANNEL = "rkyc_wake"
PROGRESS_CHANNEL = "job_progress"
BUDGET_USD_MAX = 1_000_000
KEY_CHARS_MAX = 255
# From here on a time would be taken for infinity, or be none that a client can read.
RUN_AT_END = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NewJobs:
    """What is common to the jobs of one call; `deadline_s` counts from now, in seconds."""

    pipeline: str
    lane: str = "default"
    run_at: datetime | None = None
    deadline_s: float | None = None
    metadata: str | None = None
    webhook_url: str | None = None
    budget_usd: float | None = None
    idempotency_key: str | None = None
    # Rare properties (`Claim.traits`), as JSON text.
    traits: str | None = None
    # The tasks wait for a turn of this key.
    fair_key: str | None = None

    def __post_init__(self) -> None:
        for what, text in (
            ("pipeline", self.pipeline),
            ("lane", self.lane),
            ("webhook_url", self.webhook_url or ""),
        ):
            if not (isinstance(text, str) and is_storable(text)):
                raise InvalidInputError(
                    f"{what} {str(text)[:40]!r} can't be used: expected a text without NUL"
                )
        if self.run_at is not None and not (
            # The wall clock's day is near enough.
            isinstance(self.run_at, datetime) and self.run_at.replace(tzinfo=UTC) < RUN_AT_END
        ):
            raise InvalidInputError(
                f"run_at {str(self.run_at)[:40]!r} can't be used: expected a datetime before the end of the year 9999"
            )
        key = self.idempotency_key
        if key is not None and not (1 <= len(key) <= KEY_CHARS_MAX and is_storable(key)):
            raise InvalidInputError(
                f"idempotency key {key[:40]!r} has {len(key)} characters: expected 1 to {KEY_CHARS_MAX}, without NUL and "
                "halves of surrogate pairs"
            )
        if self.deadline_s is not None and not 0 < self.deadline_s <= SECONDS_MAX:
            raise InvalidInputError(
                f"deadline_s {self.deadline_s} can't be used: expected seconds from now, more than 0, at most {SECONDS_MAX}"
            )
        if self.budget_usd is not None and not 0 <= self.budget_usd < BUDGET_USD_MAX:
            raise InvalidInputError(
                f"budget_usd {self.budget_usd} can't be used: expected US dollars from 0, less than {BUDGET_USD_MAX}"
            )


async def enqueue_jobs(
    conn: Connection, new: NewJobs, uuids: Sequence[UUID], inputs: Sequence[str], *, tells: bool = False
) -> tuple[str | None, int]:
    """Insert jobs; inputs are JSON text. Return (what wakes the workers: a lane, or `fair:`; how many); `tells` the workers at the commit.

    (None, 0): the pipeline or the lane is unknown.
    """
    values: dict[str, Any] = {
        "pipeline": new.pipeline,
        "lane": new.lane,
        "metadata": new.metadata,
        "idempotency_key": new.idempotency_key,
        "deadline_s": new.deadline_s,
        "webhook_url": new.webhook_url,
        "budget_usd": new.budget_usd,
        "traits": new.traits,
        "tells": tells,
    }
    # Neither one job nor those without a key pay for the others.
    if new.fair_key is not None:
        name, more = "enqueue_fair_jobs", {"fair_key": new.fair_key, "run_at": new.run_at}
    elif len(uuids) != 1 or new.run_at is not None:
        name, more = "enqueue_jobs", {"run_at": new.run_at}
    else:
        row = await fetch_row(conn, _SQL["enqueue_job"], **values, uuid=uuids[0], input=inputs[0])
        return (None, 0) if row is None else (row["lane"], row["enqueued"])
    row = await fetch_row(conn, _SQL[name], **values, **more, uuids=uuids, inputs=inputs)
    assert row is not None
    return row["lane"], row["enqueued"]


async def take_idempotency_key(conn: Connection, *, key: str, uuid: UUID, pipeline: str, input: str) -> bool:
    """Take a key for a new job with this input (JSON text); False when it is taken."""
    taken = await fetch_value(
        conn, _SQL["take_idempotency_key"], key=key, uuid=uuid, pipeline=pipeline, input=input
    )
    return taken is not None


async def find_same_request(conn: Connection, *, key: str, pipeline: str, input: str) -> UUID | None:
    """Return the job that a key stands for, or None when it was another request."""
    known: UUID | None = await fetch_value(
        conn, _SQL["find_same_request"], key=key, pipeline=pipeline, input=input
    )
    return known


async def list_lanes(conn: Connection) -> list[str]:
    """Return the lanes that jobs may take, by rank."""
    return [row["name"] for row in await fetch(conn, _SQL["list_lanes"])]


async def find_job(conn: Connection, uuid: UUID) -> Record | None:
    """Return (id, pipeline, version, lane) of a job."""
    return await fetch_row(conn, _SQL["find_job"], uuid=uuid)


async def read_job(conn: Connection, uuid: UUID) -> Record | None:
    """Return the job's row of `job_status` with its input, result, warnings and usage (JSON text)."""
    return await fetch_row(conn, _SQL["read_job"], uuid=uuid)


async def read_steps(conn: Connection, uuid: UUID) -> list[Record]:
    """Return the job's rows of `step_status`, in the graph's order and that of a map's items, with the providers used."""
    return await fetch(conn, _SQL["read_steps"], uuid=uuid)


async def read_outputs(conn: Connection, uuid: UUID) -> dict[str, str | None]:
    """Return the outputs of all completed steps as JSON text by step."""
    return {row["step"]: row["output"] for row in await fetch(conn, _SQL["read_outputs"], uuid=uuid)}


async def read_end(conn: Connection, uuid: UUID) -> Record | None:
    """Return (state, result, error_code, error_message) of a job that ended, else None."""
    return await fetch_row(conn, _SQL["read_end"], uuid=uuid)


async def cancel_chain(conn: Connection, *, job_id: int, fences: Sequence[int], reason: str | None) -> bool:
    """Take all tasks of a job and end it; False: none was found (ended, or between two tables)."""
    return bool(await fetch(conn, _SQL["cancel_chain"], job_id=job_id, fences=fences, reason=reason))


async def cancel_branched(conn: Connection, *, job_id: int, open_tasks: str, reason: str | None) -> bool:
    """End a job that forked; `open_tasks` is the JSON list of what was swept."""
    row = await fetch(conn, _SQL["cancel_branched"], job_id=job_id, open_tasks=open_tasks, reason=reason)
    return bool(row)


async def lock_branching_row(conn: Connection, job_id: int) -> bool:
    """Lock a job that forked, so that no branch moves while it is swept; False: it did not fork."""
    return bool(await fetch(conn, _SQL["lock_branching_row"], job_id=job_id))


async def is_finished(conn: Connection, job_id: int) -> str | None:
    """Return how a job ended, or None."""
    state: str | None = await fetch_value(conn, _SQL["is_finished"], job_id=job_id)
    return state


async def retry_job(conn: Connection, *, job_id: int) -> list[str]:
    """Start a failed or cancelled job again where it was; return the lanes of its tasks."""
    return [row["lane"] for row in await fetch(conn, _SQL["retry_job"], job_id=job_id)]


async def notify(conn: Connection, channel: str, payloads: Sequence[str]) -> None:
    """Send notifications; hints only, nothing rests on their arrival."""
    await fetch(conn, _SQL["notify"], channel=channel, payloads=payloads)
