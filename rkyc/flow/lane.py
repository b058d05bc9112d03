"""What a lane does with tasks that wait too long and with jobs that failed: policies as data.

A worker writes them beside the lane's name in the database when it starts, where operators may read
and change them; for lanes that no registry declares, what stands there stays. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rkyc.errors import DefinitionError
from rkyc.flow.numbers import SECONDS_MAX

# The code of a job whose task was not started in time.
TTL_EXPIRED = "TTL_EXPIRED"


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How long a task may wait in the lane, and what becomes of the lane's dead letters.

    `ttl_s`: a task that waited so long for a worker, for the turn of its key or for a place of a limit is not run any
    more; its job ends as expired (None: it waits for ever). `redrive_every_s`: so often at most `redrive_at_most` dead
    letters are started again, each at most `redrive_times` times, then it goes to the archive (None: only a person starts
    them again). What can't succeed goes to the archive at once. Dead letters and the archive are kept for
    `dead_kept_days` days.
    """

    lane: str
    ttl_s: float | None = None
    redrive_every_s: float | None = None
    redrive_at_most: int = 10
    redrive_times: int = 3
    dead_kept_days: float = 7.0

    def __post_init__(self) -> None:
        seconds = [value for value in (self.ttl_s, self.redrive_every_s) if value is not None]
        if not (
            all(0 < value <= SECONDS_MAX for value in seconds)
            and 1 <= self.redrive_at_most <= 10_000
            and 0 <= self.redrive_times <= 1000
            and 0 < self.dead_kept_days < math.inf
        ):
            raise DefinitionError(
                f"{self} can't be used: expected seconds above 0 and at most ten years, redrive_at_most from 1 to 10000, "
                "redrive_times from 0 to 1000, dead_kept_days above 0"
            )
