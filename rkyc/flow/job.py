"""What a worker holds when it has claimed a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from rkyc.flow import payload
from rkyc.flow.graph import ITEMS_SPAN

# Under these names a claim holds the element that a map's item is for, and the item's key; no step can be called so.
ITEM_INPUT = "*item"
ITEM_KEY = "*key"


@dataclass(frozen=True, slots=True)
class Item:
    """Which element of a map's list a task is for: its index from 0, and its key for people."""

    index: int
    key: str


@dataclass(slots=True)
class Claim:
    """A task under lease, as the claim returned it; `events` grows as the worker commits.

    `input` is JSON text; `outputs` are pairs (step, JSON text) of what is done already, None for a fresh job, empty
    where they are too large together. Attempts are of the current step, crashes since the last checkpoint.
    """

    job_id: int
    branch: int
    fence: int
    lane: str
    step: str
    events: int
    error_attempts: int
    crash_attempts: int
    alone_crashes: int
    # Seconds since the epoch: where the current step's time limit over all attempts counts from.
    step_started_at: float
    uuid: UUID
    pipeline: str
    version: int
    input: str
    deadline_at: datetime | None
    outputs: list[list[str]] | None
    # No worker held the job before: nothing can be remembered of it.
    is_fresh: bool
    # Where its steps run that declare no lane; `lane` is where this task was claimed.
    job_lane: str
    # What few jobs have (a parent, a key), as JSON text; None for all others.
    traits_json: str | None = None
    # Claimed as a suspect: nothing else may run beside it.
    is_alone: bool = False
    _traits: dict[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def wake_key(self) -> str:
        """The name under which it waits when nobody here serves it."""
        return f"{self.pipeline}@{self.version}"

    @property
    def item(self) -> Item | None:
        """The element that it is for; None outside a map."""
        if self.branch < ITEMS_SPAN:
            return None
        return Item(self.branch % ITEMS_SPAN, dict(self.outputs or ()).get(ITEM_KEY, ""))

    @property
    def traits(self) -> dict[str, Any] | None:
        """The job's rare properties, read at the first use; None where it has none."""
        if self._traits is None and self.traits_json is not None:
            self._traits = payload.decode(self.traits_json)
        return self._traits
