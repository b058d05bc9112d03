"""Sees when somebody holds back the vacuum horizon, and says who and what to do.

While a session keeps an old snapshot or an old transaction open, Postgres can't remove the deleted
rows of the hot tables. The claim's cursor keeps the queue fast for a while; the disk fills all the
same. The look rides on the beat. A holder counts as long as it stays the oldest with the same xid, by
this process's own clock, so that any role can judge it; naming the query takes more rights.
"""

from __future__ import annotations

import time

from rkyc.store.pool import Connection, Record
from rkyc.store.queue import workers
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger
from rkyc.telemetry.metrics import Metrics

_log = get_logger(__name__)

# The most seconds between two looks.
LOOK_S = 5.0
_ADVICE = {
    "session": "end its transaction, or the session: SELECT pg_terminate_backend({id})",
    "prepared": "COMMIT PREPARED or ROLLBACK PREPARED '{id}'",
    "slot": "start its standby, or drop it: SELECT pg_drop_replication_slot('{id}')",
}


class HorizonWatch:
    """Remembers the oldest holder; warns once when it has held for `limit_s` seconds."""

    def __init__(self, *, metrics: Metrics, limit_s: float) -> None:
        self._metrics = metrics
        self._limit_s = limit_s
        self._looked_at = float("-inf")
        # Who holds (kind, id and xid as one word), since when this process sees it, and whether the log knows.
        self._holder: str | None = None
        self._since = 0.0
        self._is_told = False

    def is_due(self) -> bool:
        """Whether the next beat should look."""
        return time.monotonic() - self._looked_at >= min(LOOK_S, self._limit_s / 4)

    async def note(self, conn: Connection, holder: str | None) -> None:
        """Take in what a look found: the oldest holder, or None."""
        now = self._looked_at = time.monotonic()
        if holder != self._holder:
            if self._is_told:
                _log.info(events.HORIZON_FREE, seconds=round(now - self._since))
            self._holder, self._since, self._is_told = holder, now, False
        held_s = 0.0 if holder is None else now - self._since
        self._metrics.set_horizon_held(held_s)
        if holder is not None and held_s >= self._limit_s and not self._is_told:
            row = await workers.read_horizon_holder(conn, holder)
            if row is not None:
                self._is_told = True
                _log.warning(events.HORIZON_HELD, **_describe(row, held_s))


def _describe(row: Record, held_s: float) -> dict[str, object]:
    """Return the fields of the warning: who holds, for how long, and what to do."""
    names = ("id", "owner", "database", "application", "state", "age_xids", "query")
    found = {name: row[name] for name in names}
    instants = {
        name: row[name] and row[name].isoformat(timespec="seconds") for name in ("since", "query_start")
    }
    named = {
        "pid" if name == "id" and row["kind"] == "session" else name: value for name, value in found.items()
    }
    known = {name: value for name, value in (named | instants).items() if value is not None}
    return {
        "kind": row["kind"],
        **known,
        "seconds": round(held_s),
        "advice": _ADVICE[row["kind"]].format(id=row["id"]) + "; until then deleted rows stay in the tables",
    }
