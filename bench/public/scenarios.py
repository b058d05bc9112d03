"""The cases of the public benchmark: which phases follow one another, how long, under which load.

`sweep` has the durations of its sweep of 2026-05-09 (scripts/run_full_sweep.sh there), `full` those of its
named scenarios (bench_harness/phases.py), `short` is for a minute per case. Load, workers and replicas are
those of the sweep in all three. A phase's kind is a name of its own: faults.py does what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LENGTHS = ("short", "sweep", "full")
# Jobs waiting that a case of the greatest speed keeps, and the workers it is measured with.
PEAK_DEPTH = 4000
PEAK_WORKERS = (4, 16, 64, 128, 256)
HIGH_LOAD = 1.5

_PLAIN = {"warmup": "warmup", "clean_1": "clean", "baseline": "clean", "recovery": "clean"}
_PRESSURE = {**_PLAIN, "idle_1": "idle-in-tx", "readers_1": "active-readers", "pressure_1": "high-load"}
# Label of a phase -> seconds in each length. `full` of a chaos case is that of the sweep.
_Seconds = Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase; `options` belong to its kind: connections, per_second, period_s."""

    label: str
    kind: str
    seconds: float
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Phases under a load: `rate` jobs per second of each replica, or a depth to hold."""

    name: str
    phases: tuple[Phase, ...]
    rate: float = 800
    workers: int = 32
    replicas: int = 1
    depth: int | None = None
    # Labels of the phases that are compared: before, under or after the fault.
    before: str = ""
    after: str = ""

    @property
    def seconds(self) -> float:
        """How long its phases take together."""
        return sum(phase.seconds for phase in self.phases)


def make_cases(length: str) -> dict[str, Case]:
    """Return all cases by name; `length` is one of LENGTHS."""
    place = LENGTHS.index(length)
    cases = [*_pressure_cases(place), *_chaos_cases(place, length)]
    peak: _Seconds = {"warmup": (3, 30, 30), "clean_1": (12, 180, 180)}
    for workers in PEAK_WORKERS:
        phases = _phases(place, peak)
        cases.append(Case(f"peak_w{workers}", phases, workers=workers, depth=PEAK_DEPTH))
    return {case.name: case for case in cases}


def _pressure_cases(place: int) -> list[Case]:
    """Pinned horizon, readers, more load than before: one process, 800 jobs a second."""
    spans: dict[str, _Seconds] = {
        "idle_in_tx": {
            "warmup": (5, 30, 600),
            "clean_1": (15, 60, 3600),
            "idle_1": (30, 240, 3600),
            "recovery": (15, 180, 1800),
        },
        "active_readers": {
            "warmup": (5, 30, 600),
            "clean_1": (15, 60, 1800),
            "readers_1": (30, 240, 3600),
            "recovery": (15, 120, 1800),
        },
        "high_load": {
            "warmup": (5, 30, 600),
            "clean_1": (15, 60, 1800),
            "pressure_1": (30, 240, 7200),
            "recovery": (15, 120, 1800),
        },
    }
    cases = [
        Case(name, _phases(place, seconds), before="clean_1", after=[*seconds][2])
        for name, seconds in spans.items()
    ]
    burst: _Seconds = {
        "warmup": (5, 30, 600),
        "clean_1": (15, 60, 900),
        "pressure_1": (30, 300, 2700),
        "recovery": (15, 240, 1800),
    }
    cases.append(
        Case(
            "event_burst", _phases(place, burst), rate=1200, workers=64, before="clean_1", after="pressure_1"
        )
    )
    long = dict(spans["idle_in_tx"])
    long["recovery"] = (15, 180, 7200)
    twice = (*_phases(place, long), Phase("idle_2", "idle-in-tx", (30, 240, 7200)[place]))
    cases.append(Case("long_horizon", twice, before="clean_1", after="idle_2"))
    return cases


def _chaos_cases(place: int, length: str) -> list[Case]:
    """The five faults: 600 jobs a second in one process, or 300 in each of two."""
    before: _Seconds = {"warmup": (5, 30, 30), "baseline": (15, 60, 60)}
    after: _Seconds = {"recovery": (15, 60, 60)}
    period_s = 6.0 if length == "short" else 20.0
    faults: dict[str, list[Phase]] = {
        "postgres_restart": [Phase("restart", "postgres-restart", (16, 60, 60)[place])],
        "pg_backend_kill": [Phase("kills", "pg-backend-kill", (20, 60, 60)[place], {"per_second": 2})],
        "pool_exhaustion": [
            Phase("exhaustion", "pool-exhaustion", (20, 60, 60)[place], {"connections": 300})
        ],
        "crash_recovery": [
            Phase("kill", "kill-worker", (15, 60, 60)[place]),
            Phase("restart", "start-worker", (15, 60, 60)[place]),
        ],
        "repeated_kills": [Phase("repeated", "repeated-kill", (24, 120, 120)[place], {"period_s": period_s})],
    }
    cases = []
    for name, middle in faults.items():
        phases = (*_phases(place, before), *middle, *_phases(place, after))
        replicas = 2 if name in ("crash_recovery", "repeated_kills") else 1
        cases.append(
            Case(
                f"chaos_{name}",
                phases,
                rate=600 / replicas,
                replicas=replicas,
                before="baseline",
                after="recovery",
            )
        )
    return cases


def _phases(place: int, seconds: _Seconds) -> tuple[Phase, ...]:
    return tuple(Phase(label, _PRESSURE[label], values[place]) for label, values in seconds.items())
