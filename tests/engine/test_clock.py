"""The database's time in a process that is now and then busy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rkyc.engine import clock as clock_module
from rkyc.engine.clock import DatabaseClock

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Monotonic:
    """Stands in for the time module: seconds that the test moves."""

    at = 100.0

    def monotonic(self) -> float:
        return self.at

    def time(self) -> float:
        return 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> tuple[DatabaseClock, Monotonic]:
    passed = Monotonic()
    monkeypatch.setattr(clock_module, "time", passed)
    one = DatabaseClock()
    one.set(START)
    return one, passed


def test_an_answer_taken_in_late_does_not_set_the_clock_back(
    clock: tuple[DatabaseClock, Monotonic],
) -> None:
    one, passed = clock
    passed.at += 10
    one.set(START + timedelta(seconds=9))
    assert one.now() == START + timedelta(seconds=10)


def test_a_quicker_answer_sets_it_forward_at_once(clock: tuple[DatabaseClock, Monotonic]) -> None:
    one, _ = clock
    one.set(START + timedelta(seconds=0.5))
    assert one.now() == START + timedelta(seconds=0.5)


def test_a_database_that_was_set_back_is_followed_after_a_few_beats(
    clock: tuple[DatabaseClock, Monotonic],
) -> None:
    one, passed = clock
    for beat in range(1, 5):
        passed.at += 10
        one.set(START + timedelta(seconds=10 * beat, hours=-1))
    assert one.now() == START + timedelta(seconds=40, hours=-1)
