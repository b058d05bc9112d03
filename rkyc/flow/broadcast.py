"""Events to every process, and caches that are kept by them. Pure.

An event's number is drawn in the order of the changes it tells of, but transactions commit in any order: a
reader that saw number 7 may have yet to see 6. `Frontier` says how far a reader may go so that none is skipped:
whoever drew a lower number had an xid before the row was seen, so that it is decided once a later snapshot has
no older transaction than the one that saw the row. (That snapshot's own xmax would not do: it is one above the
last xid that ended, not the last drawn.)

`Cache` is a copy of a table, kept by three kinds of events: `full_refresh` replaces it, `upsert` adds or changes
one entry, `delete` removes one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from rkyc.errors import DefinitionError
from rkyc.flow import payload as json

FULL_REFRESH, UPSERT, DELETE = "full_refresh", "upsert", "delete"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One event of a topic; `payload_json` is JSON text."""

    id: int
    topic: str
    kind: str
    payload_json: str
    at: datetime

    @property
    def payload(self) -> Any:
        """The payload, decoded anew at each use."""
        return json.decode(self.payload_json)


Handler: TypeAlias = Callable[[Broadcast], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """`handler` gets every event of `topic` in this process, one after the other."""

    topic: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class Page:
    """What one look returned: events in their order, and the xmin of its snapshot.

    `bound`: one above an xid that was drawn after the events were seen; None where none above `noted` was.
    """

    seen: Sequence[Broadcast]
    xmin: int
    bound: int | None = None
    is_full: bool = False


class Frontier:
    """How far a reader of one topic has come. `after`: all up to this number was given out, or never will be there."""

    def __init__(self, after: int) -> None:
        self.after = after
        # The highest number of a look, and the xid that every writer of a lower one is below; oldest first.
        self._candidates: list[tuple[int, int]] = []

    @property
    def noted(self) -> int:
        """The highest number that was seen."""
        return self._candidates[-1][0] if self._candidates else self.after

    @property
    def is_settled(self) -> bool:
        """False: there are events that may not be given out yet; look again soon."""
        return not self._candidates

    def take(self, page: Page) -> list[Broadcast]:
        """Return the events that may be given out now, in their order."""
        if page.bound is not None:
            self._candidates.append((page.seen[-1].id, page.bound))
        decided = self.after
        while self._candidates and self._candidates[0][1] <= page.xmin:
            decided = self._candidates.pop(0)[0]
        if page.is_full:
            # Events below a candidate came up meanwhile, and pushed it out of this look.
            decided = min(decided, page.seen[-1].id)
        ready = [event for event in page.seen if event.id <= decided]
        self.after = decided
        return ready


class Cache:
    """A copy of what a topic tells of, in this process: entries by their id.

    `singular` and `plural` name the entries in payloads: `{"type": "upsert", "character": {…}}`,
    `{"type": "full_refresh", "characters": […]}`, `{"type": "delete", "character_id": …}`.
    """

    def __init__(
        self, topic: str, *, singular: str = "entry", plural: str = "entries", key: str = "id"
    ) -> None:
        self.topic = topic
        self._singular = singular
        self._plural = plural
        self._key = key
        self._entries: dict[Any, Any] = {}
        # False until the first full refresh: a process that has begun knows nothing of what is missing.
        self.is_complete = False

    @property
    def subscription(self) -> Subscription:
        """What keeps it: give it to the registry."""
        return Subscription(self.topic, self.apply)

    @property
    def entries(self) -> Mapping[Any, Any]:
        """All entries by id."""
        return self._entries

    def get(self, entry_id: Any) -> Any | None:
        """Return an entry, or None."""
        return self._entries.get(entry_id)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries.values())

    async def apply(self, event: Broadcast) -> None:
        """Take one event in; other kinds than the three, and an unknown id in a delete, change nothing."""
        told = event.payload
        if event.kind == FULL_REFRESH:
            self._entries = {entry[self._key]: entry for entry in told[self._plural]}
            self.is_complete = True
        elif event.kind == UPSERT:
            entry = told[self._singular]
            self._entries[entry[self._key]] = entry
        elif event.kind == DELETE:
            self._entries.pop(told[f"{self._singular}_id"], None)

    def describe_refresh(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the payload that replaces all entries.

        Raises:
            DefinitionError: an entry without an id.
        """
        return {"type": FULL_REFRESH, self._plural: [self._checked(entry) for entry in entries]}

    def describe_upsert(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payload that adds or changes one entry.

        Raises:
            DefinitionError: an entry without an id.
        """
        return {"type": UPSERT, self._singular: self._checked(entry)}

    def describe_delete(self, entry_id: Any) -> dict[str, Any]:
        """Return the payload that removes one entry."""
        return {"type": DELETE, f"{self._singular}_id": entry_id}

    def _checked(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._key not in entry:
            raise DefinitionError(
                f"an entry of topic {self.topic} has no {self._key!r}: every entry needs one"
            )
        return entry
