"""Samples, medians and ratios: what a case returns, how it is printed, how it is kept.

Two sides of a comparison are measured in turn, round by round, after one round that is thrown away,
so that a drift of the machine meets both. A ratio is formed within its round: the speed of rkyc
relative to bare SQL, 1.0 is equal, more is faster. The median of the ratios counts, with the smallest and
largest beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One run's value in the measure's unit, and what else was seen in it."""

    value: float
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measure:
    """The runs of one question, with those of what it is compared with beside them, if anything."""

    name: str
    unit: str
    samples: Sequence[Sample]
    baseline: Sequence[Sample] = ()
    more_is_better: bool = True
    against: str = "bare SQL"

    @property
    def median(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    @property
    def ratio(self) -> float | None:
        """The median of the ratios; None without a baseline."""
        return statistics.median(self.ratios) if self.baseline else None

    @property
    def ratios(self) -> list[float]:
        """One per round: how fast it was relative to the baseline."""
        pairs = zip(self.samples, self.baseline, strict=bool(self.baseline))
        found = [(ours.value, bare.value) for ours, bare in pairs]
        return [ours / bare if self.more_is_better else bare / ours for ours, bare in found]

    def describe(self) -> str:
        """Return the measure as one line for people."""
        text = f"{self.name}: {_spread([s.value for s in self.samples])} {self.unit}".rstrip()
        if self.baseline:
            text += (
                f"; {self.against} {_spread([s.value for s in self.baseline])}, ratio {_spread(self.ratios)}"
            )
        details = _medians(self.samples)
        return text + (
            "" if not details else f"; {', '.join(f'{k} {number(v)}' for k, v in details.items())}"
        )

    def columns(self) -> tuple[str, str, str]:
        """Return the medians of both sides and of the ratios, as cells of a table."""
        bare = number(statistics.median([s.value for s in self.baseline])) if self.baseline else ""
        ratio = number(self.ratio) if self.ratio is not None else ""
        return f"{number(self.median)} {self.unit}", bare, ratio

    def as_json(self) -> dict[str, Any]:
        """Return everything that was measured."""
        sides = {"measured": self.samples, "baseline": self.baseline}
        return {
            "name": self.name,
            "unit": self.unit,
            "more_is_better": self.more_is_better,
            **({"against": self.against} if self.baseline else {}),
            **{side: _summary(samples) for side, samples in sides.items() if samples},
            **({"ratio": _statistics(self.ratios)} if self.baseline else {}),
        }


async def measure_in_turn(
    runs: int, sides: Mapping[str, Callable[[], Awaitable[Sample]]], *, warm_ups: int = 1
) -> dict[str, list[Sample]]:
    """Measure all sides once a round; return the samples of each, without the warm-up's."""
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for number_of_round in range(-warm_ups, runs):
        for name, measure in sides.items():
            sample = await measure()
            if number_of_round >= 0:
                samples[name].append(sample)
    return samples


def of_detail(samples: Sequence[Sample], name: str, scale: float = 1.0) -> list[Sample]:
    """Return what else was seen in each run as samples of their own."""
    return [Sample(sample.details[name] * scale) for sample in samples]


def pick_quantile(values: Sequence[float], quantile: float) -> float:
    """Return the smallest value that is not below the given share of all."""
    return sorted(values)[min(len(values) - 1, int(len(values) * quantile))]


def number(value: float) -> str:
    """Write a number with three digits that count, and thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _spread(values: Sequence[float]) -> str:
    return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})"


def _statistics(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "values": [round(value, 4) for value in values],
    }


def _summary(samples: Sequence[Sample]) -> dict[str, Any]:
    details = {name: round(value, 4) for name, value in _medians(samples).items()}
    return {**_statistics([sample.value for sample in samples]), **({"details": details} if details else {})}


def _medians(samples: Sequence[Sample]) -> dict[str, float]:
    names = dict.fromkeys(name for sample in samples for name in sample.details)
    return {name: statistics.median(s.details[name] for s in samples if name in s.details) for name in names}
