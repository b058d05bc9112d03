"""The charts of docs/performance.md, from the saved results: which bars stand in which chart."""

from __future__ import annotations

from collections.abc import Iterable

from bench.charts import Bar, Chart
from bench.goals import ROWS
from bench.measure import number
from bench.saved import Entry, Saved

# A bar that shows how far a goal is passed ends here.
_FACTOR_MAX = 16.0


def draw_figures(saved: Saved) -> dict[str, Chart]:
    """Return the charts by the names of their files; one without any result is left out."""
    charts = {
        "goals": Chart(
            "How far beyond each goal",
            "times better than the goal; left of 1: missed; a scale of doublings",
            [list(_draw_goals(saved))],
            base=2,
            origin=1.0,
        ),
        "noop": _compare(
            saved,
            "No-op jobs per second, history kept",
            "more is better; bare SQL runs in one process; a mark is the goal, the thin line the spread",
            [
                ("noop_throughput", "one process", "one process, no prefetch"),
                ("noop_throughput", "one process, prefetch", "one process, prefetch"),
                ("noop_throughput", "two processes, prefetch", "two processes"),
                ("noop_throughput", "four processes, prefetch", "four processes"),
            ],
        ),
        "eight_steps": _compare(
            saved,
            "Jobs of eight durable steps per second",
            "more is better; each output is committed before the next step begins",
            [("eight_steps", "many at once", "one process")],
        ),
        "enqueue": _compare(
            saved,
            "Jobs enqueued per second",
            "more is better; logarithmic",
            [
                ("enqueue", "one by one", "one by one"),
                ("enqueue", "32 producers", "32 producers"),
                ("enqueue", "in the caller's transaction", "in the caller's transaction"),
                ("enqueue", "in bulk", "in bulk"),
            ],
            base=10,
        ),
        "latency": _compare(
            saved,
            "From enqueue to the first line of the body, idle",
            "ms, less is better",
            [
                ("enqueue_start", "enqueue to start, p50", "p50"),
                ("enqueue_start", "enqueue to start, p99", "p99"),
            ],
        ),
        "waiting_jobs": _compare(
            saved,
            "Thousands of jobs that wait: 8 steps of 0.5 s each",
            "seconds, less is better; ideal are 4",
            [
                ("waiting_jobs", f"{jobs} jobs x 8 x 0.5 s", f"{jobs} jobs")
                for jobs in ("1,000", "5,000", "10,000")
            ],
        ),
        "growth": _draw_growth(saved),
    }
    return {name: chart for name, chart in charts.items() if any(chart.groups)}


def _draw_goals(saved: Saved) -> Iterable[Bar]:
    for row in ROWS:
        entry = saved.find(row.case, row.measure)
        if entry is None or not row.goal:
            continue
        value = entry.ratio if row.of_ratio else entry.median
        if value is None:
            continue
        is_more = entry.measure["more_is_better"] or row.of_ratio
        factor = value / row.goal if is_more else row.goal / value if value else _FACTOR_MAX
        unit = "x" if row.of_ratio else entry.unit
        text = f"{number(value)} {unit}, goal {number(row.goal)}"
        factor = min(factor, _FACTOR_MAX)
        yield Bar(row.question.replace("`", ""), factor, text, "good" if factor >= 1 else "bad")


def _compare(
    saved: Saved, title: str, note: str, wanted: Iterable[tuple[str, str, str]], *, base: int = 0
) -> Chart:
    """Return a chart with a group of two bars for each measure: ours, and what it is compared with."""
    groups = []
    for case, measure, label in wanted:
        entry = saved.find(case, measure)
        if entry is not None:
            goals = [r.goal for r in ROWS if (r.case, r.measure) == (case, measure) and not r.of_ratio]
            groups.append(_draw_pair(entry, label, goals[0] if goals else None))
    return Chart(title, note, groups, base=base)


def _draw_pair(entry: Entry, label: str, goal: float | None) -> list[Bar]:
    low, high = entry.spread
    bars = [Bar(label, entry.median, f"{number(entry.median)} {entry.unit}", "ours", low, high, goal)]
    if entry.baseline is not None:
        baseline = entry.measure["baseline"]
        text = f"{number(entry.baseline)} {entry.unit}"
        bars.append(Bar(entry.against, entry.baseline, text, "other", baseline["min"], baseline["max"]))
    return bars


def _draw_growth(saved: Saved) -> Chart:
    bars = []
    one = saved.find("growth", "one process")
    for count, name in ((1, "one process"), (2, "two processes"), (4, "four processes")):
        entry = saved.find("growth", name)
        if entry is None or one is None:
            continue
        times = f", {number(entry.ratio)} x" if entry.ratio is not None else ""
        low, high = entry.spread
        text = f"{number(entry.median)} {entry.unit}{times}"
        bars.append(Bar(name, entry.median, text, "ours", low, high, one.median * count))
    note = "steps per second, each process with 200 slots; a mark is so many times one process"
    return Chart("Growth with the number of processes, steps of 50 ms I/O", note, [bars] if bars else [])
