"""The loops by which every worker keeps the house: deadlines, waits that were too long, dead letters, retention,
orphans, payloads.

None has a leader: what they do is due at an instant that stands in the database, and whoever looks after it
finds it.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from rkyc.engine.client import Client
from rkyc.engine.clock import DatabaseClock
from rkyc.engine.collector import COLLECT_S, Collector
from rkyc.engine.deadlines import Deadlines
from rkyc.engine.expiry import Expiry
from rkyc.engine.loop import PeriodicLoop
from rkyc.engine.notices import Notices
from rkyc.engine.orphans import Orphans
from rkyc.engine.rates import prune_rates
from rkyc.engine.redrive import Redrive
from rkyc.engine.retire import Retire
from rkyc.store.pool import Pool
from rkyc.telemetry.metrics import Metrics

# Between two looks at most, in polls.
LOOK_POLLS = 3
ORPHANS_LOOKS = 4


class Housekeeping:
    """The loops by name; each looks at least every few polls."""

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        notices: Notices,
        metrics: Metrics,
        poll_s: float,
        retention_days: float | None,
    ) -> None:
        interval_s = LOOK_POLLS * poll_s
        self._expiry = Expiry(pool=pool, clock=clock, notices=notices, metrics=metrics, interval_s=interval_s)
        redrive = Redrive(pool=pool, clock=clock, notices=notices, metrics=metrics, interval_s=interval_s)
        orphans = Orphans(pool=pool, cancel=Client(pool=pool).cancel)
        rounds: dict[str, Callable[[], Awaitable[float | None]]] = {
            "deadlines": Deadlines(pool=pool, clock=clock, metrics=metrics).run_once,
            "expiry": self._expiry.run_once,
            "dead letters": redrive.run_once,
            "retention": Retire(pool=pool, clock=clock, default_days=retention_days).run_once,
            "orphans": orphans.run_once,
            "rates": functools.partial(prune_rates, pool),
        }
        self.loops = {name: PeriodicLoop(name, run, interval_s=interval_s) for name, run in rounds.items()}
        # Whoever leaves a note for it sends a notice too.
        self.loops["orphans"].interval_s = ORPHANS_LOOKS * interval_s
        self.loops["payloads"] = PeriodicLoop("payloads", Collector(pool).run_once, interval_s=COLLECT_S)

    async def wait_for_first_look(self) -> None:
        """Return when what had waited too long is gone: before, nothing should be claimed."""
        await self._expiry.has_looked.wait()
