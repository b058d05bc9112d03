"""The table of moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkyc.flow.states import MOVES, JobState, can_move, render_markdown

ROOT = Path(__file__).parents[2]
ALLOWED = {
    ("pending", "running"),
    ("pending", "pending"),
    ("pending", "failed"),
    ("pending", "cancelled"),
    ("running", "running"),
    ("running", "pending"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("failed", "pending"),
    ("cancelled", "pending"),
    ("completed", "pending"),
}


@pytest.mark.parametrize("source", list(JobState))
@pytest.mark.parametrize("target", list(JobState))
def test_exactly_the_listed_moves_are_allowed(source: JobState, target: JobState) -> None:
    assert can_move(source, target) is ((source.value, target.value) in ALLOWED)


def test_a_completed_job_moves_again_only_when_a_person_starts_it_from_a_step() -> None:
    assert {move.by for move in MOVES if move.source is JobState.COMPLETED} == {"retry from a step"}


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    assert {move.target for move in MOVES} == set(JobState)
    assert {move.source for move in MOVES} >= {state for state in JobState if not state.is_terminal}


def test_the_document_is_what_the_table_says() -> None:
    document = (ROOT / "docs" / "state_machine.md").read_text(encoding="utf-8")
    assert document == render_markdown(), "run: python -m rkyc.flow.states > docs/state_machine.md"
