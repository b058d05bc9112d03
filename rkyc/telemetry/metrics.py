"""Metrics of one process, for Prometheus.

A `Metrics` is made by the application and passed by constructor; there is no global registry, so two
workers in one process count apart. Children of labels are bound once and kept: an observation costs
about 1 µs, a count 0.4 µs. Labels are step, pipeline, lane and model names and error codes, never ids
or data. What only the database knows (the queue's depth) is set by `set_queue` before a scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Seconds. Steps last from a millisecond (rules) to many minutes (documents).
_STEP_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# Rows of one group commit.
_GROUP_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

M = TypeVar("M", Counter, Gauge, Histogram)


class _JobCounts(Collector):
    """How many jobs ended, by pipeline and status; without a lock, as below."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = defaultdict(int)

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily("jobs", "Jobs that ended here", labels=["pipeline", "status"])
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        yield family


class _StepSeconds(Collector):
    """The duration of steps, counted in plain lists: a third of what a histogram's locks and buckets cost per step.

    Written and read by the event loop's thread alone.
    """

    def __init__(self) -> None:
        # By step: how many fell into each bucket, the last one without a bound; then the sum of seconds.
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_STEP_BUCKETS) + 1))
        self._sums: dict[str, float] = defaultdict(float)

    def observe(self, step: str, seconds: float) -> None:
        self._counts[step][bisect_left(_STEP_BUCKETS, seconds)] += 1
        self._sums[step] += seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "pipeline_step_duration_seconds", "Seconds from an attempt's start to its end", labels=["step"]
        )
        bounds = [*map(floatToGoString, _STEP_BUCKETS), "+Inf"]
        for step, counts in self._counts.items():
            buckets = [*zip(bounds, accumulate(counts), strict=True)]
            family.add_metric([step], buckets, self._sums[step])
        yield family


class _Children(dict[tuple[str, ...], M], Generic[M]):
    """The bound children of a metric by label values; made at first use."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self.metric: M = metric

    def __missing__(self, labels: tuple[str, ...]) -> M:
        child: M = self.metric.labels(*labels)
        self[labels] = child
        return child


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """How much waits in a lane, and for how long, as the view `queue_depth` says."""

    lane: str
    ready: int
    oldest_seconds: float


class Metrics:
    """What this process counts. Method names say what happened."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._step_seconds = _StepSeconds()
        self.registry.register(self._step_seconds)
        self._failures = self._counter("pipeline_failures", "Attempts that failed", "step", "error_type")
        self._jobs = _JobCounts()
        self.registry.register(self._jobs)
        self._retries = self._counter("retries", "Attempts that will be tried again", "step", "error_type")
        self._lease_lost = self._counter(
            "lease_lost", "Outcomes refused because another process holds the task"
        )
        self._recovered = self._counter("recovered", "Tasks taken back from a process that died")
        self._loop_failures = self._counter(
            "loop_failures", "Rounds of a background loop that failed", "loop"
        )
        self._loop_lag = self._gauge("event_loop_lag_seconds", "How late the event loop last woke")
        self._sse_clients = self._gauge("sse_clients", "Event streams that are open")
        self._tasks_running = self._gauge("tasks_running", "Tasks that this process holds")
        self._horizon_held = self._gauge(
            "vacuum_horizon_held_seconds", "Seconds for which the same transaction has held back vacuum"
        )
        self._group_rows = self._histogram(
            "commit_group_rows", "Rows written by one group commit", _GROUP_BUCKETS
        )
        self._queue_depth = self._gauge("queue_depth", "Tasks that could run now", "lane")
        self._queue_oldest = self._gauge(
            "queue_oldest_seconds", "Age of the oldest task that could run", "lane"
        )
        self._dlq_depth = self._gauge("dlq_depth", "Dead letters that nobody has looked after", "queue")
        self._archive_depth = self._gauge("archive_depth", "Dead letters that are in an archive", "queue")
        self._redriven = self._counter("dlq_reprocessed", "Dead letters started again by policy", "queue")
        self._dropped = self._counter("dlq_expired", "Dead letters dropped after they were kept", "queue")
        self._llm_tokens = self._counter(
            "llm_tokens", "Tokens sent to and got from models", "model", "direction"
        )
        self._llm_cost = self._counter("llm_cost_usd", "Money spent on models, in US dollars", "model")
        self._evidence_failed = self._counter("evidence_failed", "Quotes not found in their source")
        self._signals_dropped = self._counter(
            "signals_dropped", "Risk signals dropped by the validation", "reason"
        )

    def step_finished(self, step: str, seconds: float) -> None:
        self._step_seconds.observe(step, seconds)

    def step_failed(self, step: str, error_type: str) -> None:
        self._failures[step, error_type].inc()

    def step_retried(self, step: str, error_type: str) -> None:
        self._retries[step, error_type].inc()

    def job_ended(self, pipeline: str, status: str) -> None:
        self._jobs.counts[pipeline, status] += 1

    def lease_lost(self) -> None:
        self._lease_lost[()].inc()

    def recovered(self, count: int) -> None:
        self._recovered[()].inc(count)

    def redriven(self, queue: str, count: int) -> None:
        self._redriven[(queue,)].inc(count)

    def dead_letters_dropped(self, queue: str, count: int) -> None:
        self._dropped[(queue,)].inc(count)

    def group_committed(self, rows: int) -> None:
        self._group_rows[()].observe(rows)

    def loop_failed(self, loop: str) -> None:
        self._loop_failures[(loop,)].inc()

    def set_loop_lag(self, seconds: float) -> None:
        self._loop_lag[()].set(seconds)

    def set_tasks_running(self, count: int) -> None:
        self._tasks_running[()].set(count)

    def set_horizon_held(self, seconds: float) -> None:
        self._horizon_held[()].set(seconds)

    def sse_opened(self) -> None:
        self._sse_clients[()].inc()

    def sse_closed(self) -> None:
        self._sse_clients[()].dec()

    def llm_answered(self, model: str, *, tokens_in: int, tokens_out: int, cost_usd: float) -> None:
        self._llm_tokens[model, "in"].inc(tokens_in)
        self._llm_tokens[model, "out"].inc(tokens_out)
        self._llm_cost[(model,)].inc(cost_usd)

    def evidence_failed(self, count: int = 1) -> None:
        self._evidence_failed[()].inc(count)

    def signals_dropped(self, reason: str, count: int = 1) -> None:
        self._signals_dropped[(reason,)].inc(count)

    def set_queue(
        self,
        lanes: Iterable[LaneDepth],
        dead_letters: dict[str, int],
        archived: dict[str, int] | None = None,
    ) -> None:
        """Replace what the database said about its queues; lanes that are gone vanish."""
        for gauge in (self._queue_depth, self._queue_oldest, self._dlq_depth, self._archive_depth):
            gauge.metric.clear()
            gauge.clear()
        for lane in lanes:
            self._queue_depth[(lane.lane,)].set(lane.ready)
            self._queue_oldest[(lane.lane,)].set(lane.oldest_seconds)
        for queue, count in dead_letters.items():
            self._dlq_depth[(queue,)].set(count)
        for queue, count in (archived or {}).items():
            self._archive_depth[(queue,)].set(count)

    def render(self) -> bytes:
        """Return the text that a scrape gets; its type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> _Children[Counter]:
        return self._children(Counter(name, meaning, labels, registry=self.registry), labels)

    def _gauge(self, name: str, meaning: str, *labels: str) -> _Children[Gauge]:
        return self._children(Gauge(name, meaning, labels, registry=self.registry), labels)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> _Children[Histogram]:
        return self._children(
            Histogram(name, meaning, labels, buckets=buckets, registry=self.registry), labels
        )

    @staticmethod
    def _children(metric: M, labels: tuple[str, ...]) -> _Children[M]:
        children = _Children(metric)
        if not labels:
            children[()] = metric
        return children
