"""Writes chunks of text as the events of a token stream; pure.

A token's id is its chunk's number, the same in every process. A reset has none: who is cut after it gets
it again. The end's id is the last number with a mark, since a job that a person starts again goes on after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rkyc.api.wire import dump
from rkyc.store.pool import Record

_END = "-end"
# Digits of the largest number there can be.
_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True)
class TokenPage:
    """What came after a place: each chunk's number with its events, and the place to go on from.

    `state` is that of a job that has ended. `is_lost`: the text before is not to be had any more.
    """

    events: Sequence[tuple[int, bytes]]
    place: int
    state: str | None
    is_full: bool
    is_lost: bool

    @property
    def is_over(self) -> bool:
        """The job has ended and nothing more will come."""
        return self.state is not None and not self.is_full

    def after(self, place: int) -> bytes:
        """Return the events of the chunks after a place."""
        return b"".join(event for seq, event in self.events if seq > place)


def make_page(rows: Sequence[Record], since: int, *, limit: int) -> TokenPage:
    """Turn the rows of one job into its events; there is one row at least, as `read_chunks` gives them."""
    first = rows[0]
    if first["seq"] is None:
        return TokenPage((), since, first["state"], False, False)
    # Its beginning is missing, or all that the client has seen.
    is_lost = first["is_lost"] or (first["seq"] == first["first_seq"] and first["number"] > 0)
    found = [(row["seq"], _encode(row, is_lost=is_lost and row is first)) for row in rows]
    return TokenPage(found, found[-1][0], first["state"], len(rows) == limit, is_lost)


def _encode(row: Record, *, is_lost: bool) -> bytes:
    said = {"attempt": row["attempt"], "seq": row["number"], "text": row["text"], "step": row["step"]}
    token = b"id: %d\nevent: token\ndata: %b\n\n" % (row["seq"], dump(said))
    if is_lost:
        return _reset(row, None, "lost") + token
    return _reset(row, row["step"], "attempt") + token if row["is_again"] else token


def _reset(row: Record, step: str | None, reason: str) -> bytes:
    said = {"attempt": row["attempt"], "step": step, "reason": reason}
    return b"event: stream.reset\ndata: %b\n\n" % dump(said)


def encode_end(uuid: UUID, place: int, state: str, streams: Sequence[dict[str, Any]]) -> bytes:
    """Write the last event: how the job ended, and what its completed streams were."""
    said = {"job_id": uuid, "status": state, "streams": streams}
    return b"id: %d%b\nevent: stream.completed\ndata: %b\n\n" % (place, _END.encode(), dump(said))


def read_place(last_id: str) -> tuple[int, bool]:
    """Return the place that an id stands for, and whether it is the end's; (0, False): none of a stream's."""
    digits = last_id.removesuffix(_END)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return 0, False
    return int(digits), digits != last_id
