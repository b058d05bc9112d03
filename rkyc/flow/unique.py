"""Unique jobs: a key that at most one job holds, for as long as its terms say.

An idempotency key is about the request and stands for ever; a unique key is about the work: two requests
for the same thing make one job, and a later one is welcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from rkyc.errors import DefinitionError
from rkyc.flow.numbers import SECONDS_MAX
from rkyc.flow.payload import is_storable

HeldWhile: TypeAlias = Literal["pending", "running", "unfinished"]
OnConflict: TypeAlias = Literal["keep", "replace"]

KEY_CHARS_MAX = 255


@dataclass(frozen=True, slots=True)
class Unique:
    """The new job holds `key` while it is pending, running or unfinished (the default), or for `for_s` seconds.

    Whoever asks for the key meanwhile gets the job that holds it (`keep`). Under `replace` a holder that is
    pending is cancelled and the new job takes its place; one that runs is kept.

    Raises:
        DefinitionError: terms that can't be held.
    """

    key: str
    while_: HeldWhile | None = None
    for_s: float | None = None
    on_conflict: OnConflict = "keep"

    def __post_init__(self) -> None:
        if not (1 <= len(self.key) <= KEY_CHARS_MAX and is_storable(self.key)):
            raise DefinitionError(
                f"unique key {self.key[:40]!r} has {len(self.key)} characters: expected 1 to {KEY_CHARS_MAX}, without NUL "
                "and halves of surrogate pairs"
            )
        if self.while_ is not None and self.for_s is not None:
            raise DefinitionError(
                f"unique key {self.key!r}: it is held while_ a state or for_s seconds: give one of them"
            )
        if self.while_ not in (None, *get_args(HeldWhile)) or self.on_conflict not in get_args(OnConflict):
            raise DefinitionError(
                f"unique key {self.key!r}: while_ {self.while_!r} with on_conflict {self.on_conflict!r} can't be used: "
                f"expected one of {', '.join(get_args(HeldWhile))}, and one of {', '.join(get_args(OnConflict))}"
            )
        if self.for_s is not None and not 0 < self.for_s <= SECONDS_MAX:
            raise DefinitionError(
                f"unique key {self.key!r}: for_s {self.for_s} can't be used: expected seconds > 0, at most {SECONDS_MAX}"
            )

    @property
    def held_while(self) -> str:
        """`pending`, `running`, `unfinished`, or `period`."""
        return self.while_ or ("unfinished" if self.for_s is None else "period")
