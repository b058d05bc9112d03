"""Ticks and firings, with fixed instants: time zones, the two nights when clocks change, catching up."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rkyc.errors import DefinitionError
from rkyc.flow.schedule import Schedule, Timing, choose_starts, decide_firing


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def walk(timing: Timing, after: datetime, count: int) -> list[datetime]:
    ticks = []
    for _ in range(count):
        tick = timing.next_after(after)
        assert tick is not None
        ticks.append(after := tick)
    return ticks


def fire(timing: Timing, due: str, now: str, catch_up: str = "all", most: int = 100) -> list[datetime]:
    firing = decide_firing(timing, due_at=at(due), now=at(now), catch_up=catch_up, catch_up_max=most)
    assert firing.next_at is not None
    assert firing.next_at > at(now)
    return list(firing.ticks)


def test_an_interval_names_the_same_ticks_wherever_one_begins() -> None:
    timing = Timing(interval_s=7.0)
    ticks = walk(timing, at("2030-01-01T00:00:00Z"), 20)
    assert {later - earlier for earlier, later in itertools.pairwise(ticks)} == {timedelta(seconds=7)}
    assert walk(timing, ticks[4] + timedelta(seconds=3), 5) == ticks[5:10]


def test_a_tick_is_not_its_own_next_one() -> None:
    timing = Timing(interval_s=0.5)
    tick = at("2030-01-01T00:00:00Z")
    assert timing.next_after(tick) == tick + timedelta(seconds=0.5)


def test_cron_goes_by_the_wall_clock_of_its_time_zone() -> None:
    timing = Timing(cron="30 6 * * mon-fri", time_zone="Asia/Seoul")
    # 2030-01-04 is a Friday.
    assert walk(timing, at("2030-01-04T00:00:00+09:00"), 2) == [
        at("2030-01-04T06:30:00+09:00"),
        at("2030-01-07T06:30:00+09:00"),
    ]


def test_a_time_that_the_clocks_jump_over_runs_right_after_the_gap() -> None:
    timing = Timing(cron="30 2 * * *", time_zone="Europe/Berlin")
    # On 2030-03-31 the clocks go from 02:00 to 03:00.
    assert walk(timing, at("2030-03-30T12:00:00+01:00"), 2) == [
        at("2030-03-31T03:00:00+02:00"),
        at("2030-04-01T02:30:00+02:00"),
    ]


def test_two_times_in_one_gap_run_once() -> None:
    timing = Timing(cron="15,45 2 * * *", time_zone="Europe/Berlin")
    assert walk(timing, at("2030-03-30T12:00:00+01:00"), 3) == [
        at("2030-03-31T03:00:00+02:00"),
        at("2030-04-01T02:15:00+02:00"),
        at("2030-04-01T02:45:00+02:00"),
    ]


def test_a_time_that_comes_twice_runs_the_first_time_only() -> None:
    timing = Timing(cron="30 2 * * *", time_zone="Europe/Berlin")
    # On 2030-10-27 the clocks go from 03:00 back to 02:00.
    first = at("2030-10-27T02:30:00+02:00")
    next_day = at("2030-10-28T02:30:00+01:00")
    assert walk(timing, at("2030-10-26T12:00:00+02:00"), 2) == [first, next_day]
    # Nor does it run again for one who looks from between the two.
    for minutes in (0, 20, 40, 59, 60, 70):
        assert timing.next_after(first + timedelta(minutes=minutes)) == next_day


@pytest.mark.parametrize("night", ["2030-03-30T22:00:00Z", "2030-10-26T22:00:00Z"])
def test_a_step_goes_by_real_time_through_both_nights(night: str) -> None:
    ticks = walk(Timing(cron="*/15 * * * *", time_zone="Europe/Berlin"), at(night), 24)
    assert {later - earlier for earlier, later in itertools.pairwise(ticks)} == {timedelta(minutes=15)}


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("none", []),
        ("last", ["2030-01-01T04:00:00Z"]),
        ("all", [f"2030-01-01T0{hour}:00:00Z" for hour in range(1, 5)]),
    ],
)
def test_catching_up(catch_up: str, expected: list[str]) -> None:
    timing = Timing(cron="0 * * * *")
    ticks = fire(timing, "2030-01-01T01:00:00Z", "2030-01-01T04:30:00Z", catch_up)
    assert ticks == [at(one) for one in expected]


def test_a_tick_that_is_just_due_runs_without_catching_up() -> None:
    timing = Timing(interval_s=1)
    now = "2030-01-01T00:00:09.5Z"
    assert fire(timing, "2030-01-01T00:00:00Z", now, "none") == [at("2030-01-01T00:00:09Z")]


def test_of_too_many_missed_ticks_the_newest_run() -> None:
    every_minute = Timing(cron="* * * * *")
    ticks = fire(every_minute, "2028-01-01T00:00:00Z", "2030-01-01T00:00:30Z", "all", 3)
    assert ticks == [at(f"2029-12-31T23:{minute}:00Z") for minute in (58, 59)] + [at("2030-01-01T00:00:00Z")]
    assert len(fire(Timing(interval_s=1), "2028-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "all", 7)) == 7


def test_rare_ticks_of_long_ago_are_found() -> None:
    timing = Timing(cron="0 0 29 2 *")
    assert fire(timing, "2024-02-29T00:00:00Z", "2030-01-01T00:00:00Z") == [
        at("2024-02-29T00:00:00Z"),
        at("2028-02-29T00:00:00Z"),
    ]


@pytest.mark.parametrize(
    ("overlap", "is_busy", "expected"),
    [
        ("skip", True, []),
        ("skip", False, [1]),
        ("cancel", True, [3]),
        ("cancel", False, [3]),
        ("queue", True, [1, 2, 3]),
        ("allow", True, [1, 2, 3]),
    ],
)
def test_what_starts_beside_a_job_that_has_not_ended(
    overlap: str, is_busy: bool, expected: list[int]
) -> None:
    ticks = [at(f"2030-01-01T00:00:0{second}Z") for second in (1, 2, 3)]
    assert [tick.second for tick in choose_starts(ticks, overlap, is_busy=is_busy)] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either cron or interval_s"),
        ({"cron": "* * * * *", "interval_s": 5}, "either cron or interval_s"),
        ({"cron": "61 * * * *"}, "Bad minute"),
        ({"cron": "hourly"}, "five fields"),
        ({"cron": "* * * * * */5"}, "five fields"),
        ({"cron": "0 0 31 2 *"}, "Bad day-of-month"),
        ({"cron": "0 6 * * *", "time_zone": "Mars/Base"}, "no time zone is called 'Mars/Base'"),
        ({"cron": "0 6 * * *", "time_zone": "../etc/passwd"}, "no time zone"),
        ({"interval_s": 0.01}, "interval_s 0.01"),
        ({"interval_s": float("nan")}, "interval_s nan"),
        ({"interval_s": "5"}, "interval_s '5' can't be used"),
        ({"cron": 5}, "cron 5 can't be used"),
        ({"interval_s": 5, "input": {"a": [{"$rkyc": {"size": 1}}]}}, "the engine's own"),
        ({"interval_s": 5, "input": object()}, "its input can't be stored"),
        ({"interval_s": 5, "catch_up": "some"}, "catch_up 'some'"),
        ({"interval_s": 5, "overlap": "wait"}, "overlap 'wait'"),
        ({"interval_s": 5, "catch_up_max": 0}, "catch_up_max 0"),
        ({"interval_s": 5, "name": "Nightly run"}, "schedule name 'Nightly run'"),
    ],
)
def test_a_schedule_that_can_not_run_is_refused_at_definition(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        Schedule(**{"name": "nightly", "pipeline": "screening", **options})
    assert message in str(refused.value)
