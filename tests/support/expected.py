"""Compares the result of an analysis with a dossier's `expected.json`.

An entry matches a risk signal when every key it gives is true of it: `rule_id`, `event_type`,
`direction`, `confidence`, `strength` are compared as they stand, `evidence_file` holds when any piece of
the signal's evidence points into that file; `why` is for people. Signals above and below the cut count
alike. Several signals may match one entry, and one signal several.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.sources import evidence_file

_COMPARED = ("rule_id", "event_type", "direction", "confidence", "strength")
_KEYS = {*_COMPARED, "evidence_file", "why"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`missing` expectations without a signal, `forbidden` signals that must not be, `others` unasked for."""

    missing: tuple[str, ...]
    forbidden: tuple[str, ...]
    others: tuple[str, ...]
    others_max: int

    @property
    def is_met(self) -> bool:
        return not self.missing and not self.forbidden and len(self.others) <= self.others_max


def read_expected(dossier: Path) -> dict[str, Any]:
    """Read `expected.json`.

    Raises: ValueError, when an entry has a key that nothing compares (a misspelt one would match all).
    """
    expected: dict[str, Any] = json.loads((dossier / "expected.json").read_text("utf-8"))
    for entry in (*expected["expected"], *expected["must_not"]):
        if unknown := set(entry) - _KEYS:
            raise ValueError(f"{dossier.name}: unknown key in expected.json: {sorted(unknown)}")
    return expected


def judge(result: dict[str, Any], dossier: Path) -> Verdict:
    """Hold the signals of `result` against the dossier's `expected.json`."""
    expected = read_expected(dossier)
    signals = reported(result)
    files = [_files(signal, dossier) for signal in signals]
    pairs = list(zip(signals, files, strict=True))
    missing = [entry for entry in expected["expected"] if not any(_matches(entry, *pair) for pair in pairs)]
    forbidden = [
        f"{describe(*pair)} is what {_short(entry)} forbids: {entry['why']}"
        for pair in pairs
        for entry in expected["must_not"]
        if _matches(entry, *pair)
    ]
    others = [
        describe(*pair)
        for pair in pairs
        if not any(_matches(entry, *pair) for entry in (*expected["expected"], *expected["must_not"]))
    ]
    return Verdict(
        tuple(f"{_short(entry)}: {entry['why']}" for entry in missing),
        tuple(forbidden),
        tuple(others),
        expected["others_max"],
    )


def reported(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the signals above and below the cut."""
    return [*result["signals"], *result["below_cut"]]


def identity(signal: dict[str, Any], dossier: Path) -> tuple[str, str, str, tuple[str, ...]]:
    """Return what makes two runs' signals the same one: (rule or event type, direction, strength, files)."""
    name = signal.get("rule_id") or signal["event_type"]
    return (name, signal["direction"], signal["strength"], tuple(sorted(_files(signal, dossier))))


def describe(signal: dict[str, Any], files: frozenset[str]) -> str:
    name = signal.get("rule_id") or signal["event_type"]
    return (
        f"{name} {signal['direction']} {signal['title']!r} from {', '.join(sorted(files)) or 'no known file'}"
    )


def _files(signal: dict[str, Any], dossier: Path) -> frozenset[str]:
    found = (evidence_file(evidence, dossier) for evidence in signal["evidence"])
    return frozenset(file for file in found if file is not None)


def _matches(entry: dict[str, Any], signal: dict[str, Any], files: frozenset[str]) -> bool:
    compared = all(signal.get(key) == entry[key] for key in _COMPARED if key in entry)
    return compared and ("evidence_file" not in entry or entry["evidence_file"] in files)


def _short(entry: dict[str, Any]) -> str:
    return " ".join(str(entry[key]) for key in (*_COMPARED, "evidence_file") if key in entry)
