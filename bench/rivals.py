"""The rivals in the report: what `bench.peers` saved, as a table and as charts.

Each rival ran beside rkyc in pairs; a ratio above 1 says that rkyc is ahead. The newest result of each
rival and measure counts.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from bench.charts import Bar, Chart
from bench.measure import number

Comparison: TypeAlias = "Mapping[str, Any]"


def load_rivals(folder: Path) -> list[Comparison]:
    """Return the newest comparison of each measure with each rival, measure by measure."""
    newest: dict[tuple[str, str], Comparison] = {}
    order: dict[str, int] = {}
    entries = [
        entry
        for path in sorted(folder.glob("*-peers.json"))
        for entry in json.loads(path.read_text(encoding="utf-8"))
    ]
    for entry in sorted(entries, key=lambda entry: str(entry["at"])):
        for measure in entry["measures"]:
            order.setdefault(measure["title"], len(order))
            newest[measure["rival"], measure["title"]] = {
                **measure,
                "at": entry["at"],
                "commit": entry["commit"],
                "load_before": entry["load_before"],
            }
    return sorted(newest.values(), key=lambda one: (order[one["title"]], -_rank(one)))


def is_ahead(one: Comparison) -> bool:
    """Whether rkyc is as far ahead as the goal says."""
    return bool(one["ratio_median"] >= one["goal"])


def write_rivals(comparisons: Sequence[Comparison]) -> str:
    """Return the charts, the table, the settings of each rival, and when all was measured."""
    if not comparisons:
        return "No result is saved."
    charts = [f"![{chart.title}](charts/{name}.svg)" for name, chart in draw_rivals(comparisons).items()]
    lines = [
        *charts,
        "",
        "| question | rival | rkyc | rival's | ratio | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in comparisons:
        goal = f"≥ {number(one['goal'])}" if one["goal"] is not None else ""
        verdict = "" if one["goal"] is None else "reached" if is_ahead(one) else "**missed**"
        low, high = one["ratio_spread"]
        ratio = f"{number(one['ratio_median'])} ({number(low)}-{number(high)})"
        cells = (
            str(one["title"]),
            f"{one['rival']} {one['version']}",
            f"{_spread(one['rkyc'])} {one['unit']}",
            _spread(one["theirs"]),
            ratio,
            goal,
            verdict,
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    settings = {f"{one['rival']} {one['version']}": one["settings"] for one in comparisons}
    lines += [f"* **{name}**: {said}" for name, said in sorted(settings.items())]
    runs = sorted({(str(one["at"]), str(one["commit"]), one["load_before"][0]) for one in comparisons})
    lines.append("")
    lines += [
        f"{at[:16].replace('T', ' ')} UTC, commit {commit}, load average {load:g} before."
        for at, commit, load in runs
    ]
    return "\n".join(lines)


def draw_rivals(comparisons: Sequence[Comparison]) -> dict[str, Chart]:
    """Return a chart for each case, of its first question."""
    charts: dict[str, Chart] = {}
    for title, case in dict.fromkeys((one["title"], one["case"]) for one in comparisons):
        asked = [one for one in comparisons if one["title"] == title]
        unit = asked[0]["unit"]
        ours = [value for one in asked for value in one["rkyc"]]
        better = "more" if asked[0]["more_is_better"] else "less"
        note = f"{unit}, {better} is better; logarithmic; medians, the thin line is the spread"
        bars = [_draw_bar("rkyc", ours, unit, "ours")]
        bars += [_draw_bar(one["rival"], one["theirs"], unit, "other") for one in asked]
        charts.setdefault(f"rivals-{case}", Chart(title[0].upper() + title[1:], note, [bars], base=10))
    return charts


def _draw_bar(label: str, values: Sequence[float], unit: str, kind: str) -> Bar:
    median = statistics.median(values)
    return Bar(label, median, f"{number(median)} {unit}", kind, min(values), max(values))


def _rank(one: Comparison) -> float:
    """The best rival first."""
    median: float = statistics.median(one["theirs"])
    return median if one["more_is_better"] else -median


def _spread(values: Sequence[float]) -> str:
    median = number(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({number(min(values))}-{number(max(values))})"
