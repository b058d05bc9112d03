"""The public benchmark in the report: what `bench.public` saved, one line per phase and one per case."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bench.measure import number

# {case, phase, metric, value, unit}; the phase is `all` for the whole case, `run` for its circumstances.
Figure: TypeAlias = "Mapping[str, Any]"

_OF_PHASE = {
    "completion_rate": "jobs/s",
    "enqueue_to_start_p50": "start p50, ms",
    "enqueue_to_start_p99": "start p99, ms",
    "end_to_end_p99": "end p99, ms",
    "queue_depth_max": "most waiting",
    "dead_tuples_max": "most dead tuples",
}
_OF_CASE = {
    "stress_ratio": "under pressure / before",
    "recovery_ratio": "after / before",
    "recovery_time": "recovered after",
    "longest_gap": "longest gap",
    "jobs_acknowledged": "acknowledged",
    "jobs_lost": "lost",
    "jobs_ended_again": "bodies that ended twice",
}


def load_public(folder: Path) -> list[Figure]:
    """Return the figures of the newest run of each case, in the order of the cases there."""
    cases: dict[str, list[Figure]] = {}
    for path in sorted(folder.glob("*-public.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        fresh: dict[str, list[Figure]] = {}
        for figure in figures:
            fresh.setdefault(figure["case"], []).append(figure)
        cases.update(fresh)
    return [figure for figures in cases.values() for figure in figures]


def write_public(figures: Iterable[Figure]) -> str:
    """Return a table of the phases and one of the cases."""
    found: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in figures:
        found.setdefault((figure["case"], figure["phase"]), {})[figure["metric"]] = figure
    phases = {key: metrics for key, metrics in found.items() if key[1] not in ("all", "run")}
    wholes = {key[0]: metrics for key, metrics in found.items() if key[1] == "all"}
    if not found:
        return "No result is saved."
    lines = [f"| case | phase | {' | '.join(_OF_PHASE.values())} |", f"|---|---|{'---|' * len(_OF_PHASE)}"]
    for (case, phase), metrics in phases.items():
        cells = [_write(metrics.get(metric), with_unit=False) for metric in _OF_PHASE]
        lines.append(f"| {case} | {phase} | {' | '.join(cells)} |")
    lines += ["", f"| case | {' | '.join(_OF_CASE.values())} |", f"|---|{'---|' * len(_OF_CASE)}"]
    for case, metrics in wholes.items():
        cells = [_write(metrics.get(metric), with_unit=True) for metric in _OF_CASE]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _write(figure: Figure | None, *, with_unit: bool) -> str:
    if figure is None:
        return ""
    value = figure["value"]
    text = number(value) if isinstance(value, int | float) else str(value)
    return f"{text} {figure['unit']}" if with_unit and figure["unit"] in ("s", "ms") else text
