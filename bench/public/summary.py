"""From samples and rows of the database to flat rows: case, phase, metric, value, unit.

Rates are summed over the replicas of a moment, and the median of a phase's moments counts, as in the
public benchmark. Ratios compare two phases of one case.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.public.findings import Fate, Latencies
from bench.public.fleet import Sample
from bench.public.observer import HOT_TABLES
from bench.public.scenarios import Case, Phase

# Of the completion rate before a fault, above which a case counts as recovered, as in the public benchmark.
_RECOVERED = 0.9


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `phase` is a phase's label, `all` for the whole case, `run` for what it was measured with."""

    case: str
    phase: str
    metric: str
    value: float | str
    unit: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarize_phase(
    case: Case, phase: Phase, samples: Iterable[Sample], latencies: Latencies | None
) -> Iterator[Row]:
    """Yield the figures of one phase."""
    found = _of_phase(samples, phase.label)

    def row(metric: str, value: float, unit: str) -> Row:
        return Row(case.name, phase.label, metric, round(value, 3), unit)

    for metric in ("completion_rate", "enqueue_rate"):
        rates = [value for _, value in series(found, metric)]
        if rates:
            yield row(metric, statistics.median(rates), "jobs/s")
    if latencies is not None:
        for share, (start_ms, end_ms) in latencies.quantiles().items():
            yield row(f"enqueue_to_start_{share}", start_ms, "ms")
            yield row(f"end_to_end_{share}", end_ms, "ms")
    depths = [sample.value for sample in found if sample.metric == "queue_depth"]
    if depths:
        yield row("queue_depth_max", max(depths), "jobs")
    yield from _dead_tuples(found, row)


def compare_phases(case: Case, samples: Sequence[Sample], *, period_s: float) -> Iterator[Row]:
    """Yield how the completion rate under or after the fault compares with the one before it.

    After a fault also the time until it was back, counted in sample periods from the end of the fault.
    """
    before = _median_rate(samples, case.before)
    after = _median_rate(samples, case.after)
    if not before or after is None:
        return
    is_chaos = case.name.startswith("chaos_")
    name = "recovery_ratio" if is_chaos else "stress_ratio"
    yield Row(case.name, "all", name, round(after / before, 3), "ratio")
    rates = [rate for _, rate in series(_of_phase(samples, case.after), "completion_rate")]
    good = [number for number, rate in enumerate(rates, start=1) if rate >= _RECOVERED * before]
    if is_chaos and good:
        yield Row(case.name, "all", "recovery_time", round(good[0] * period_s, 3), "s")


def summarize_fate(case: Case, fate: Fate) -> Iterator[Row]:
    """Yield what became of the jobs."""
    for name, value in asdict(fate).items():
        yield Row(case.name, "all", f"jobs_{name}", value, "jobs")


def series(samples: Iterable[Sample], metric: str) -> list[tuple[int, float]]:
    """Return (tick, sum over the replicas) of a rate, in order."""
    sums: dict[int, float] = defaultdict(float)
    for sample in samples:
        if sample.metric == metric:
            sums[sample.tick] += sample.value
    return sorted(sums.items())


def _of_phase(samples: Iterable[Sample], label: str) -> list[Sample]:
    return [sample for sample in samples if sample.phase == label]


def _median_rate(samples: Iterable[Sample], label: str) -> float | None:
    rates = [rate for _, rate in series(_of_phase(samples, label), "completion_rate")]
    return statistics.median(rates) if rates else None


def _dead_tuples(found: Sequence[Sample], row: Callable[[str, float, str], Row]) -> Iterator[Row]:
    ticks: dict[int, float] = defaultdict(float)
    for sample in found:
        if sample.metric == "dead_tuples":
            ticks[sample.tick] += sample.value
    if ticks:
        yield row("dead_tuples_max", max(ticks.values()), "tuples")
    for table in HOT_TABLES:
        seen = [s.value for s in found if s.metric == "dead_tuples" and s.subject == table]
        if seen:
            yield row(f"dead_tuples_max {table}", max(seen), "tuples")
    for sample in found:
        if sample.metric == "dead_tuples_counted":
            yield row(f"dead_tuples_at_end {sample.subject}", sample.value, "tuples")
