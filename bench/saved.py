"""The saved results: the newest of each measure, over all dated files of bench/results.

A result is what `harness.record` writes. A measure that is measured no more under its name stays in
the files and is not asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Results of another shape.
_NOT_CASES = ("-peers", "-public")


@dataclass(frozen=True, slots=True)
class Entry:
    """A measure as it was saved, and the result that it belongs to."""

    measure: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def median(self) -> float:
        value: float = self.measure["measured"]["median"]
        return value

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.measure["measured"]["min"], self.measure["measured"]["max"]

    @property
    def unit(self) -> str:
        return str(self.measure["unit"])

    @property
    def baseline(self) -> float | None:
        """The median of what it is compared with."""
        return self.measure["baseline"]["median"] if "baseline" in self.measure else None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios, 1 is equal, more is better."""
        return self.measure["ratio"]["median"] if "ratio" in self.measure else None

    @property
    def against(self) -> str:
        return str(self.measure.get("against", ""))


class Saved:
    """Newest first: which measure, by which run."""

    def __init__(self, results: Iterable[Mapping[str, Any]]) -> None:
        self._newest: dict[tuple[str, str], Entry] = {}
        # ISO instants of one zone sort as texts; of equal ones the later in its file counts.
        for result in sorted(results, key=lambda result: str(result["at"])):
            for measure in result["measures"]:
                self._newest[result["case"], measure["name"]] = Entry(measure, result)

    @classmethod
    def load(cls, folder: Path) -> Saved:
        """Read all results of a folder."""
        return cls(_read(folder))

    def find(self, case: str, measure: str) -> Entry | None:
        """Return the newest result of a measure."""
        return self._newest.get((case, measure))

    def of_case(self, case: str) -> list[Entry]:
        """Return what the newest run of a case measured, and what only its newest long run did."""
        entries = [entry for (name, _), entry in self._newest.items() if name == case]
        newest = {_is_long(e): e.result for e in sorted(entries, key=lambda e: str(e.result["at"]))}
        return [entry for entry in entries if entry.result is newest[_is_long(entry)]]


def _is_long(entry: Entry) -> bool:
    return "--long" in entry.result["command"]


def _read(folder: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(folder.glob("*.json")):
        if path.stem.endswith(_NOT_CASES):
            continue
        yield from json.loads(path.read_text(encoding="utf-8"))
