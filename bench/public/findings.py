"""What became of every job of a case: the ledger's times, and what the database holds once all is done.

A latency ends with the body, as the other adapters measure it, and not with its commit.
"""

from __future__ import annotations

import datetime as dt
import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.harness import Connection
from bench.measure import pick_quantile
from bench.public.ledger import Entry, Ledger
from rkyc.store.statements import load

_SQL = load(__file__)
_CURSOR_ROWS = 10_000
SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Span:
    """A phase as it really was: seconds of the wall clock."""

    label: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds from the enqueue to the start and to the end of each body, of jobs enqueued in one phase."""

    start_ms: list[float] = field(default_factory=list)
    end_ms: list[float] = field(default_factory=list)

    def quantiles(self) -> dict[str, tuple[float, float]]:
        """Return (start, end) by the names of SHARES."""
        return {
            name: (pick_quantile(self.start_ms, share), pick_quantile(self.end_ms, share))
            for name, share in SHARES.items()
        }


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the jobs. `acknowledged`: the enqueue was answered; `lost`: of these, not completed."""

    acknowledged: int
    completed: int
    lost: int
    # Enqueues whose answer got lost, and how many of them are there all the same.
    unanswered: int
    unanswered_there: int
    enqueued_twice: int
    # Bodies that ended once more after they had ended: their commit was cut off.
    ended_again: int
    dead_letters: int


def collect_latencies(entries: Iterable[Entry], spans: Sequence[Span]) -> dict[str, Latencies]:
    """Return the latencies of all jobs whose body ended, by the phase in which they were enqueued."""
    starts = [span.since for span in spans]
    found = {span.label: Latencies() for span in spans}
    for entry in entries:
        place = bisect_right(starts, entry.enqueued_at) - 1
        if entry.ended and place >= 0 and entry.enqueued_at < spans[place].until:
            latencies = found[spans[place].label]
            latencies.start_ms.append(entry.start_ms)
            latencies.end_ms.append(entry.end_ms)
    return {label: latencies for label, latencies in found.items() if latencies.end_ms}


def find_longest_gap_s(ends: Sequence[float], since: float, until: float) -> float:
    """Return the longest time without an end between two moments; `ends` are sorted."""
    inside = [since, *(end for end in ends if since < end < until), until]
    return max(later - earlier for earlier, later in itertools.pairwise(inside))


async def read_takeovers(conn: Connection, killed_at: Sequence[dt.datetime]) -> tuple[int, float]:
    """Return how many tasks were taken from killed replicas, and the seconds until the last of them ended."""
    row = await conn.fetchrow(_SQL["read_takeovers"].text, list(killed_at))
    assert row is not None
    return row["tasks"], row["last_s"] or 0.0


async def read_fate(conn: Connection, ledger: Ledger) -> Fate:
    """Compare what the ledger says with what the database holds."""
    rows: Counter[tuple[int, int]] = Counter()
    completed: set[tuple[int, int]] = set()
    async with conn.transaction():
        async for row in conn.cursor(_SQL["list_jobs"].text, prefetch=_CURSOR_ROWS):
            rows[row["producer"], row["number"]] += 1
            if row["is_completed"]:
                completed.add((row["producer"], row["number"]))
    acknowledged = lost = unanswered = unanswered_there = ended_again = 0
    for entry in ledger.entries():
        key = (entry.producer, entry.number)
        ended_again += max(0, entry.ended - 1)
        if entry.is_acknowledged:
            acknowledged += 1
            lost += key not in completed
        else:
            unanswered += 1
            unanswered_there += key in rows
    return Fate(
        acknowledged=acknowledged,
        completed=len(completed),
        lost=lost,
        unanswered=unanswered,
        unanswered_there=unanswered_there,
        enqueued_twice=sum(count - 1 for count in rows.values()),
        ended_again=ended_again,
        dead_letters=int(await conn.fetchval(_SQL["count_dead_letters"].text)),
    )
