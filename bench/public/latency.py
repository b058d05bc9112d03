"""Percentiles of the last seconds, in bounded memory: the contract asks for three significant figures.

A value goes into the bucket of its logarithm, 0.2 % wide, of the second it came in. What is asked for is
the sum of the seconds that are not too old.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Sequence

# Buckets per factor e; a bucket's middle is at most 0.1 % from any value in it.
_FINENESS = 500
# Values below count as this. Milliseconds.
_SMALLEST_MS = 0.001


class LatencyWindow:
    """The latencies of the last `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        # (second, bucket -> how many), oldest first.
        self._seconds: deque[tuple[int, Counter[int]]] = deque()

    def add(self, value_ms: float, *, times: int = 1) -> None:
        """Take a value, or the same value for many jobs of a batch."""
        second = int(time.monotonic())
        if not self._seconds or self._seconds[-1][0] != second:
            self._drop_old()
            self._seconds.append((second, Counter()))
        self._seconds[-1][1][math.floor(math.log(max(value_ms, _SMALLEST_MS)) * _FINENESS)] += times

    def percentiles(self, shares: Sequence[float] = (0.50, 0.95, 0.99)) -> list[float] | None:
        """Return the values in milliseconds that such shares do not exceed, or None when there was none."""
        self._drop_old()
        total: Counter[int] = Counter()
        for _, counts in self._seconds:
            total.update(counts)
        if not total:
            return None
        wanted = [share * total.total() for share in shares]
        found: list[float] = []
        seen = 0
        for bucket in sorted(total):
            seen += total[bucket]
            while len(found) < len(wanted) and seen >= wanted[len(found)]:
                found.append(math.exp((bucket + 0.5) / _FINENESS))
        return found

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._window_s - 1
        while self._seconds and self._seconds[0][0] < oldest:
            self._seconds.popleft()
