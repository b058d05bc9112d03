"""What came out: one flat record per rival and measure, the file that keeps them, the table for people."""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.harness import RESULTS
from bench.machine import describe_commit, describe_machine
from bench.measure import Measure, Sample, number
from bench.peers.cases import Case
from bench.peers.rival import Rival
from bench.peers.stores import Servers


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measure of rkyc with the rival's beside it, in pairs; a ratio above 1 says that rkyc is ahead."""

    rival: Rival
    case: str
    title: str
    measure: Measure
    goal: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether the median of the ratios is below the goal."""
        return self.goal is not None and statistics.median(self.measure.ratios) < self.goal

    def as_json(self) -> dict[str, Any]:
        """Return the flat record: `rkyc` and `theirs` hold a value per pair; what else was seen is in `costs`."""
        ratios = self.measure.ratios
        sides = {"rkyc": self.measure.samples, "theirs": self.measure.baseline}
        return {
            "rival": self.rival.name,
            "version": self.rival.version,
            "case": self.case,
            "title": self.title,
            "unit": self.measure.unit,
            "more_is_better": self.measure.more_is_better,
            **{side: [round(sample.value, 4) for sample in samples] for side, samples in sides.items()},
            "ratio_median": round(statistics.median(ratios), 3),
            "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
            "goal": self.goal,
            "costs": {side: _medians(samples) for side, samples in sides.items()},
            "settings": self.rival.settings,
        }

    def row(self) -> list[str]:
        """Return the cells of the table."""
        measure = self.measure
        values = [[sample.value for sample in side] for side in (measure.samples, measure.baseline)]
        ours, theirs = (_write(side) for side in values)
        verdict = "" if self.goal is None else f"{number(self.goal)} {'missed' if self.is_missed else 'met'}"
        return [measure.name, f"{ours} {measure.unit}", theirs, _write(measure.ratios), verdict]


def compare(
    rival: Rival, case_name: str, case: Case, rkyc: Sequence[Sample], theirs: Sequence[Sample]
) -> list[Comparison]:
    """Return the case's measures: that of its values, and those of its details."""

    def pair(title: str, goal: float | None, ours: Sequence[Sample], theirs: Sequence[Sample]) -> Comparison:
        name = f"{title}, beside {rival.name} {rival.version}"
        more = case.more_is_better
        measure = Measure(name, case.unit, ours, theirs, more_is_better=more, against=rival.name)
        return Comparison(rival, case_name, title, measure, goal)

    found = [pair(case.title, rival.loads[case_name].goal, rkyc, theirs)]
    for title, detail in case.also:
        sides = [[Sample(sample.details[detail]) for sample in samples] for samples in (rkyc, theirs)]
        found.append(pair(title, None, *sides))
    return found


@dataclass(slots=True)
class Record:
    """The result of this call, kept as one entry of the day's file and rewritten as it grows."""

    path: Path | None
    earlier: list[dict[str, Any]]
    entry: dict[str, Any]
    comparisons: list[Comparison] = field(default_factory=list)

    @classmethod
    def begin(cls, servers: Servers, command: str, *, save: bool) -> Record:
        """Describe what the numbers depend on."""
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        path = RESULTS / f"{at[:10]}-peers.json" if save else None
        earlier = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else []
        entry = {
            "case": "peers",
            "command": command,
            "at": at,
            "commit": describe_commit(),
            "machine": describe_machine(),
            "postgres": servers.bench.postgres,
            "redis": servers.redis.version if servers.redis else None,
            "load_before": _load(),
        }
        return cls(path, earlier, entry)

    def add(self, comparisons: Sequence[Comparison]) -> None:
        """Keep measures: a call that is broken off later has not lost them."""
        self.comparisons.extend(comparisons)
        if self.path is None:
            return
        measures = [comparison.as_json() for comparison in self.comparisons]
        entries = [*self.earlier, {**self.entry, "load_after": _load(), "measures": measures}]
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def print_table(self) -> None:
        table = Table("measure", "rkyc", "rival", "ratio", "goal")
        for comparison in self.comparisons:
            table.add_row(*comparison.row())
        Console(width=150).print(table)


def _load() -> list[float]:
    return [round(load, 2) for load in os.getloadavg()]


def _write(values: Sequence[float]) -> str:
    return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})"


def _medians(samples: Sequence[Sample]) -> dict[str, float]:
    names = dict.fromkeys(name for sample in samples for name in sample.details)
    return {name: round(statistics.median(s.details[name] for s in samples), 4) for name in names}
