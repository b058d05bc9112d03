"""Derives a job's events from the rows that the store keeps of it (`store.queue.events.read_events`).

An event's id is made from the number of the row it comes from and its place among that row's events. So
it is the same in every process and after every reconnect, and grows within the job. A failed job that a
person started again keeps the events of its first end: their row has moved, their ids have not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import orjson

from rkyc.flow.graph import ITEMS_SPAN
from rkyc.flow.undo import BEGIN as UNDO_BEGIN

# Ids that one row may use. A fork starts up to 10,000 steps at once.
_IDS_PER_ROW = 100_000
# The first place of each kind of row: rows of one number stay apart, in the order in which they happen.
_CHECKPOINT = 1
_EVENT = 20_000
_END = 30_000
_RETRIED = 40_000
_STARTED = 50_000
_STREAM = 60_000
# What a worker did; the end of a job may be a person's doing.
_BY_WORKERS = ("step.completed", "step.failed", "step.retrying")


class Row(Protocol):
    """A row of the store: values by name."""

    def keys(self) -> Iterable[str]: ...

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event; `status` and `progress_pct` are the job's, `more` are further fields of its data.

    A `result` among them is JSON text, as the store gave it. `worker_id` is the worker that brought a step to this, and
    `worker` its name, where somebody looked it up.
    """

    id: int
    type: str
    step: str | None
    status: str
    progress_pct: int
    at: datetime
    more: dict[str, Any] = field(default_factory=dict)
    worker_id: int | None = None
    worker: str | None = None


class JobHistory:
    """Reads a job's rows in their order, page by page, and gives each event once.

    `since` is the number to read on from; `is_over` tells that the job's end was read.
    """

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self._first: str = graph["first"]
        self._followers: dict[str, list[str]] = {one["name"]: one["next"] for one in graph["steps"]}
        self._shares: dict[str, float] = {one["name"]: one["share"] for one in graph["steps"]}
        self._routed = {one["name"] for one in graph["steps"] if "arms" in one}
        # That one item of a map is done says nothing: only its row tells that what follows the map starts.
        self._told = {one["name"] for one in graph["steps"] if "collects" in one}
        self._befores: dict[str, set[str]] = {name: set() for name in self._followers}
        for name, followers in self._followers.items():
            for follower in followers:
                self._befores[follower].add(name)
        self._is_forked = any(
            "each" in one or (len(one["next"]) > 1 and "arms" not in one) for one in graph["steps"]
        )
        # How much of each step is done, 0-1: a map's by its items.
        self._done: dict[str, float] = {}
        self._counted = 0
        self._has_started = False
        self.last_id = 0
        self.since = 0
        self.is_over = False

    def read(self, rows: Iterable[Row]) -> list[JobEvent]:
        """Return the events of rows that follow those read before; rows of the last number may come again."""
        fresh = []
        for row in rows:
            self.since = row["seq"]
            for event in self._derive(row):
                if event.id > self.last_id:
                    self.last_id = event.id
                    fresh.append(event)
        return fresh

    def _derive(self, row: Row) -> Iterator[JobEvent]:
        self.is_over = False
        match row["kind"]:
            case "created":
                yield self._event(row, _CHECKPOINT, "job.created", None, "pending")
            case "started":
                self._has_started = True
                yield self._event(row, _STARTED, "job.started", self._first, "running")
                yield self._event(row, _STARTED + 1, "step.started", self._first, "running")
            case "checkpoint" if row["step"] == UNDO_BEGIN:
                yield from self._undo(row)
            case "checkpoint":
                yield from self._checkpoint(row)
            case "event" if row["type"] == "job.retried":
                said = orjson.loads(row["data"])
                yield from self._end(row, said["state"], said)
                if said.get("kept") is not None:
                    self._done = dict.fromkeys(said["kept"], 1.0)
                yield self._event(row, _RETRIED, "job.retried", row["step"], "pending")
            case "stream":
                said = orjson.loads(row["data"])
                place = _STREAM + said.pop("place") - 1
                more = {"attempt": row["attempt"], **(said if row["type"] == "stream.completed" else {})}
                yield self._event(row, place, row["type"], row["step"], "running", **more)
            case "event":
                status = "running" if self._is_forked else "pending"
                yield self._event(row, _EVENT, row["type"], row["step"], status, **_retry(row))
            case "history":
                yield from self._end(row, row["type"], orjson.loads(row["data"]))
                self.is_over = True

    def _checkpoint(self, row: Row) -> Iterator[JobEvent]:
        step = row["step"]
        if row["seq"] > self._counted:
            self._counted = row["seq"]
            self._done[step] = self._done.get(step, 0.0) + 1 / (row["items"] or 1)
        yield self._completed(row, _CHECKPOINT, step)
        for number, follower in enumerate(self._find_started(step, row["next_step"]), 1):
            yield self._event(row, _CHECKPOINT + number, "step.started", follower, "running", **_item(row))

    def _undo(self, row: Row) -> Iterator[JobEvent]:
        """Give the turn of a job whose steps are undone before it ends."""
        said = orjson.loads(row["data"] or b"{}")
        why: dict[str, Any] = {
            "error": {"code": said.get("error_code"), "message": said.get("error_message")}
        }
        if said.get("state") == "cancelled":
            why = {"reason": said.get("error_message")}
        told = {"ends_as": said.get("state", "failed"), "steps": said.get("steps"), **why}
        yield self._event(row, _CHECKPOINT, "job.undoing", said.get("step"), "pending", **told)
        if row["next_step"] is not None:
            yield self._event(row, _CHECKPOINT + 1, "step.started", row["next_step"], "running")

    def _find_started(self, step: str, next_step: str | None) -> list[str]:
        if next_step is not None:
            return [next_step]
        followers = self._followers.get(step, [])
        if step in self._routed:
            return []
        # A join starts with the last of those it waits for.
        return [one for one in followers if one not in self._told and self._befores[one] <= self._done.keys()]

    def _end(self, row: Row, state: str, said: Mapping[str, Any]) -> Iterator[JobEvent]:
        """Give what ended the job; a first end that a person undid is told in the words of the retry."""
        step = row["step"]
        if said.get("finished_at"):
            row = {**row, "at": datetime.fromisoformat(said["finished_at"])}
        error = {"error": _error(said)} if state == "failed" else {}
        if state == "completed":
            self._done[step] = 1.0
            yield self._completed(row, _END, step)
            more = {"result": row["result"], "partial": row["degraded"]}
        else:
            more = error if state == "failed" else {"reason": said.get("error")}
            if state == "failed" and self._has_started:
                yield self._event(row, _END, "step.failed", step, "running", attempt=row["attempt"], **error)
        yield self._event(row, _END + 1, f"job.{state}", step, state, **more)

    def _completed(self, row: Row, place: int, step: str) -> JobEvent:
        return self._event(
            row,
            place,
            "step.completed",
            step,
            "running",
            attempt=row["attempt"],
            degraded=row["degraded"],
            **_item(row),
        )

    def _event(self, row: Row, place: int, type: str, step: str | None, status: str, **more: Any) -> JobEvent:
        if status == "completed":
            progress = 100
        else:
            progress = min(
                99,
                round(sum(self._shares.get(name, 0) * min(1.0, part) for name, part in self._done.items())),
            )
        worker_id = row["worker_id"] if type in _BY_WORKERS else None
        return JobEvent(
            row["seq"] * _IDS_PER_ROW + place, type, step, status, progress, row["at"], more, worker_id
        )


def _item(row: Row) -> dict[str, Any]:
    """Return which element of a map's list a row is about."""
    return {"item": row["branch"] % ITEMS_SPAN} if row["branch"] >= ITEMS_SPAN else {}


def _retry(row: Row) -> dict[str, Any]:
    """Return why an attempt is made again, and when; or between which versions the job was moved."""
    said = orjson.loads(row["data"] or b"{}")
    more: dict[str, Any] = {"attempt": row["attempt"], **_item(row)}
    if said.get("error_code"):
        more["error"] = _error(said)
    told = ("reason", "retry_at", "from_version", "version")
    return more | {name: said[name] for name in told if said.get(name)}


def _error(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"code": said.get("error_code"), "message": said.get("error")}
