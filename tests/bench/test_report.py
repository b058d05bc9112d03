"""The page of numbers: what is generated, what stays, and what must not pass in silence."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.charts import Bar, Chart, draw
from bench.figures import draw_figures
from bench.goals import ROWS
from bench.measure import Measure, Sample
from bench.report import fill, find_unexplained
from bench.rivals import draw_rivals, write_rivals
from bench.saved import Saved

CASE, NAME, GOAL = "eight_steps", "many at once", 5_000


def make_result(value: float, *, at: str = "2026-01-01T10:00:00+00:00", command: str = "x") -> dict[str, Any]:
    """A saved result of one measure, by the code that saves them."""
    measure = Measure(NAME, "jobs/s", [Sample(value)], [Sample(10_000)])
    return {
        "case": CASE,
        "command": command,
        "at": at,
        "commit": "abc",
        "load_before": [0.5],
        "load_after": [0.7],
        "machine": {"processors": 2, "processor": "P", "memory_gb": 4, "system": "Linux", "python": "3.11"},
        "postgres": {"server_version": "18", "fsync": "on"},
        "measures": [measure.as_json()],
    }


def test_only_what_stands_between_the_marks_is_written_anew() -> None:
    text = "before\n<!-- begin case eight_steps -->\nold\n<!-- end -->\nby hand\n"
    filled = fill(text, Saved([make_result(6_000)]))
    assert filled.startswith("before\n") and filled.endswith("<!-- end -->\nby hand\n")
    assert "old" not in filled and "6,000 jobs/s" in filled
    assert fill(filled, Saved([make_result(6_000)])) == filled


def test_newest_result_of_a_measure_counts() -> None:
    newer = make_result(2.0, at="2026-01-02T10:00:00+00:00")
    older = make_result(1.0)
    entry = Saved([newer, older]).find(CASE, NAME)
    assert entry is not None and entry.median == 2.0


def test_long_run_stays_beside_a_newer_short_one() -> None:
    long = make_result(1.0, command="python -m bench.x --long --runs 5")
    long["measures"][0]["name"] = "only in the long form"
    short = make_result(2.0, at="2026-01-02T10:00:00+00:00")
    names = [entry.measure["name"] for entry in Saved([long, short]).of_case(CASE)]
    assert sorted(names) == [NAME, "only in the long form"]


@pytest.mark.parametrize(("value", "verdict"), [(GOAL, "reached"), (GOAL - 1, "**missed**")])
def test_goal_is_shown_as_reached_or_missed(value: float, verdict: str) -> None:
    table = fill("<!-- begin table -->\n<!-- end -->", Saved([make_result(value)]))
    row = next(line for line in table.splitlines() if "≥ 5,000" in line)
    assert verdict in row


def test_missed_goal_needs_a_word_on_it() -> None:
    saved = Saved([make_result(1.0)])
    region = "<!-- begin case eight_steps -->\n<!-- end -->\n"
    assert find_unexplained(f"{region}\n### Next\n", saved) == [CASE]
    assert find_unexplained(f"{region}\nThe disk limits it.\n", saved) == []


def test_charts_are_drawn_with_every_bar_and_its_text() -> None:
    chart = Chart("A & B", "note", [[Bar("one", 0.0, "0 s"), Bar("two", 3.0, "3 s", low=2.0, high=4.0)]])
    for base in (0, 2, 10):
        root = ET.fromstring(draw(Chart(chart.title, chart.note, chart.groups, base=base)))
        texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
        assert {"A & B", "one", "two", "0 s", "3 s"} <= texts


def test_charts_without_results_are_left_out() -> None:
    assert draw_figures(Saved([])) == {}
    assert {"goals", "eight_steps"} == set(draw_figures(Saved([make_result(6_000)])))


def test_each_row_promises_about_one_measure_once() -> None:
    keys = [(row.case, row.measure, row.of_ratio) for row in ROWS]
    assert len(keys) == len(set(keys))


def test_rivals_are_listed_best_first() -> None:
    slow, quick = make_comparison("slow", 10.0), make_comparison("quick", 20.0)
    table = write_rivals([slow, quick])
    assert "**missed**" not in table and table.count("| reached |") == 2
    assert set(draw_rivals([slow, quick])) == {"rivals-noop"}


def make_comparison(rival: str, theirs: float) -> dict[str, Any]:
    return {
        "rival": rival,
        "version": "1",
        "case": "noop",
        "title": "no-op jobs",
        "unit": "jobs/s",
        "more_is_better": True,
        "rkyc": [100.0],
        "theirs": [theirs],
        "ratio_median": 100.0 / theirs,
        "ratio_spread": [1.0, 2.0],
        "goal": 2.0,
        "settings": "as documented",
        "at": "2026-01-01T10:00:00+00:00",
        "commit": "abc",
        "load_before": [0.5],
    }
