"""The loops by which every worker keeps the house: deadlines, dead letters.

None has a leader, and all but the first may be late without harm: what they do is due at an instant that
stands in the database, and whoever looks after it finds it.
"""

from __future__ import annotations

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.deadlines import Deadlines
from rkyc.engine.loop import PeriodicLoop
from rkyc.engine.notices import Notices
from rkyc.engine.redrive import Redrive
from rkyc.store.pool import Pool
from rkyc.telemetry.metrics import Metrics

# Between two looks at most, in polls.
LOOK_POLLS = 3


def make_loops(
    *, pool: Pool, clock: DatabaseClock, notices: Notices, metrics: Metrics, poll_s: float
) -> dict[str, PeriodicLoop]:
    """Return the loops by name; each looks at least every three polls."""
    interval_s = LOOK_POLLS * poll_s
    deadlines = Deadlines(pool=pool, clock=clock, metrics=metrics)
    redrive = Redrive(pool=pool, clock=clock, notices=notices, metrics=metrics, interval_s=interval_s)
    rounds = {"deadlines": deadlines.run_once, "dead letters": redrive.run_once}
    return {name: PeriodicLoop(name, run, interval_s=interval_s) for name, run in rounds.items()}
