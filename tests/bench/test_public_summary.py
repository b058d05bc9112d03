"""What the driver of the public benchmark makes of its samples, and the parts it counts with."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.public.findings import Latencies, Span, collect_latencies, find_longest_gap_s
from bench.public.fleet import Sample
from bench.public.latency import LatencyWindow
from bench.public.ledger import Entry, Ledger
from bench.public.scenarios import LENGTHS, Case, Phase, make_cases
from bench.public.summary import compare_phases, summarize_phase

CASE = Case(
    "chaos_example",
    (Phase("baseline", "clean", 3), Phase("kill", "kill-worker", 3), Phase("recovery", "clean", 3)),
    before="baseline",
    after="recovery",
)


def rates(phase: str, values: list[float], *, instance: int = 0) -> list[Sample]:
    start = {"baseline": 0, "kill": 10, "recovery": 20}[phase]
    return [Sample(phase, start + n, instance, "completion_rate", value) for n, value in enumerate(values)]


def test_rates_of_replicas_are_summed_before_the_median() -> None:
    samples = rates("baseline", [100, 300, 200]) + rates("baseline", [10, 10, 10], instance=1)
    found = {row.metric: row.value for row in summarize_phase(CASE, CASE.phases[0], samples, None)}
    assert found == {"completion_rate": 210}


def test_recovery_is_the_first_sample_near_the_rate_of_before() -> None:
    samples = rates("baseline", [100, 100, 100]) + rates("recovery", [0, 89, 90, 100])
    found = {row.metric: row.value for row in compare_phases(CASE, samples, period_s=5)}
    assert found == {"recovery_ratio": 0.895, "recovery_time": 15}


def test_a_case_that_never_recovers_has_no_recovery_time() -> None:
    samples = rates("baseline", [100]) + rates("recovery", [10, 20])
    assert [row.metric for row in compare_phases(CASE, samples, period_s=5)] == ["recovery_ratio"]


@pytest.mark.parametrize("length", LENGTHS)
def test_every_case_warms_up_first_and_names_the_phases_it_compares(length: str) -> None:
    for case in make_cases(length).values():
        labels = [phase.label for phase in case.phases]
        assert case.phases[0].kind == "warmup"
        assert len(set(labels)) == len(labels)
        assert {case.before, case.after} - {""} <= set(labels), case.name


def test_percentiles_have_three_significant_figures() -> None:
    chance = random.Random(1)
    values = sorted(chance.lognormvariate(2, 1.5) for _ in range(20_000))
    window = LatencyWindow(3600)
    for value in values:
        window.add(value)
    found = window.percentiles((0.5, 0.95, 0.99))
    expected = [values[int(len(values) * share) - 1] for share in (0.5, 0.95, 0.99)]
    assert found == pytest.approx(expected, rel=0.002)


def test_a_window_without_values_has_no_percentiles() -> None:
    assert LatencyWindow(30).percentiles() is None


def test_a_ledger_outlives_its_writers_and_goes_on_numbering(tmp_path: Path) -> None:
    path = Ledger.create(tmp_path / "ledger", replicas=2, jobs=10).path
    first, second = Ledger(path, replica=0), Ledger(path, replica=1)
    first.acknowledge(first.take(2, 100.0), 100.0)
    second.take(1, 101.0)
    first.end(0, 1, start_ms=1, end_ms=2)
    second.end(0, 1, start_ms=500, end_ms=1000)
    assert Ledger(path, replica=0).take(2, 102.0) == range(2, 4)
    assert list(Ledger(path).entries()) == [
        Entry(0, 0, 100.0, True, 0, 0, 0),
        Entry(0, 1, 100.0, True, 2, 500, 1000),
        Entry(0, 2, 102.0, False, 0, 0, 0),
        Entry(0, 3, 102.0, False, 0, 0, 0),
        Entry(1, 0, 101.0, False, 0, 0, 0),
    ]


def test_a_full_ledger_says_so(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger", replicas=1, jobs=3)
    with pytest.raises(SystemExit, match="full after 3 jobs"):
        ledger.take(4, 0.0)


def test_latencies_belong_to_the_phase_of_the_enqueue() -> None:
    spans = [Span("baseline", 10, 20), Span("kill", 21, 30)]
    entries = [
        Entry(0, 0, 19.9, True, 1, 5, 5000),  # ends in the next phase
        Entry(0, 1, 20.5, True, 1, 1, 1),  # between the two
        Entry(0, 2, 25.0, True, 0, 0, 0),  # never ended
        Entry(0, 3, 25.0, True, 1, 1, 2),
        Entry(0, 4, 5.0, True, 1, 1, 1),  # before the first
    ]
    found = collect_latencies(entries, spans)
    assert found == {"baseline": Latencies([5], [5000]), "kill": Latencies([1], [2])}


def test_the_longest_gap_reaches_to_both_ends() -> None:
    assert find_longest_gap_s([1.0, 2.0, 2.5, 9.0], since=1.5, until=5.0) == 2.5
    assert find_longest_gap_s([], since=1.5, until=5.0) == 3.5
