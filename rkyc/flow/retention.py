"""How long the jobs of a pipeline are kept after their end, by how they ended. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rkyc.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that a job is kept after its end; None is what the process says (RKYC_RETENTION_DAYS).

    With a job go its checkpoints, events, journal and history. One with a dead letter that is still kept stays,
    and so does a child whose parent has not ended.
    """

    completed_days: float | None = None
    failed_days: float | None = None
    cancelled_days: float | None = None

    def __post_init__(self) -> None:
        for days in (self.completed_days, self.failed_days, self.cancelled_days):
            if days is not None and not 0 < days < math.inf:
                raise DefinitionError(f"retention of {days} days can't be used: expected days > 0 or None")
