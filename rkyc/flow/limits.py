"""What bounds the steps that name it, in the whole fleet: so many at once, all together or for each key.

Pure: a limit is a value, and its scope is read off a task's inputs. The places themselves are rows in the database
(store/queue/slots.py), taken by engine/slots.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rkyc.errors import DefinitionError, ValidationError
from rkyc.flow.payload import is_storable

LIMIT_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
SIZE_MAX = 10_000
RATE_MAX = 1e9
# A day.
PER_S_MAX = 86_400.0
# A longer key is stored as its hash, and so is one that Postgres can't hold. Characters.
KEY_CHARS_MAX = 120


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `size` steps at once that name this limit; with `key`, so many for each of its values, with
    `by_tenant` for each tenant of jobs.

    `size` None: the worker's settings say (RKYC_LIMITS), and without them it bounds nothing. `key` is the name of a
    field of the job's input, or a function of the step's input (as JSON values). `rate`: at most so many starts in
    `per_s` seconds, of which `burst` may come at once.
    """

    name: str
    size: int | None = None
    key: str | Callable[[Any], Any] | None = None
    rate: float | None = None
    per_s: float = 60.0
    burst: int = 1
    by_tenant: bool = False

    def __post_init__(self) -> None:
        if not LIMIT_NAME.fullmatch(self.name):
            raise DefinitionError(
                f"limit {self.name!r} can't be used: expected lower-case letters, digits, _ . -, at most 63"
            )
        if self.size is not None and not 1 <= self.size <= SIZE_MAX:
            raise DefinitionError(f"limit {self.name}: expected a size from 1 to {SIZE_MAX}, not {self.size}")
        if self.by_tenant and self.key is not None:
            raise DefinitionError(
                f"limit {self.name} counts by tenant and by key: give one of them, or name two limits"
            )
        if self.rate is not None and not (
            0 < self.rate <= RATE_MAX and 0 < self.per_s <= PER_S_MAX and self.burst >= 1
        ):
            raise DefinitionError(
                f"limit {self.name}: {self.rate} starts in {self.per_s} s, {self.burst} at once, can't be: "
                f"expected a rate up to {RATE_MAX:g}, per_s up to {PER_S_MAX:g} and a burst of 1 or more"
            )

    def scope(self, values: Mapping[str, Any], tenant: str = "") -> str:
        """Return what the places are counted under; `values` holds the step's `input` and `job`.

        Raises:
            ValidationError: the job's input has no such field.
        """
        if self.by_tenant:
            value: Any = tenant
        elif self.key is None:
            return self.name
        elif callable(self.key):
            value = self.key(values["input"])
        else:
            job = values["job"]
            if not isinstance(job, Mapping) or self.key not in job:
                raise ValidationError(
                    f"limit {self.name}: the job's input has no field {self.key!r} to count by; add it to the input"
                )
            value = job[self.key]
        text = str(value)
        if len(text) > KEY_CHARS_MAX or not is_storable(text):
            text = "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"{self.name}:{text}"


def make_limits(limits: Iterable[str | Limit]) -> tuple[Limit, ...]:
    """Return the limits by name, each once: places are always taken in that order.

    Raises:
        DefinitionError: a name that can't be used.
    """
    made = {limit.name: limit for limit in (Limit(one) if isinstance(one, str) else one for one in limits)}
    return tuple(made[name] for name in sorted(made))
