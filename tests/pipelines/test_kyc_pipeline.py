"""The built-in pipeline: its steps, their names and their shares of the progress bar are a promise."""

from __future__ import annotations

from itertools import accumulate

from rkyc.pipelines.kyc import kyc

STEPS = ["snapshot", "doc_ingest", "external", "context", "signal", "validation", "index", "insight"]
TASKS = [
    "collect_snapshot",
    "ingest_documents",
    "search_external",
    "fetch_context",
    "extract_signals",
    "validate_signals",
    "index_vectors",
    "generate_insight",
]


def test_the_eight_steps_stand_in_the_banks_order() -> None:
    places = list(kyc.graph.places.values())
    assert [place.name for place in places] == STEPS
    assert [place.step.task_name for place in places] == TASKS
    assert [place.next for place in places] == [*STEPS[1:], None]


def test_shares_add_up_to_the_banks_percent_bands() -> None:
    shares = [place.share for place in kyc.graph.places.values()]
    assert [round(share) for share in accumulate(shares)] == [10, 30, 40, 50, 70, 80, 95, 100]


def test_every_step_is_limited_and_tried_again_three_times() -> None:
    for place in kyc.graph.places.values():
        assert place.step.timeouts.start_to_close is not None
        assert place.step.retry.max_attempts == 4
        assert place.step.retry.max_s == 300


def test_rows_are_saved_with_the_checkpoint_of_their_step() -> None:
    saving = {name for name, place in kyc.graph.places.items() if place.step.save is not None}
    assert {"snapshot", "doc_ingest", "index", "insight"} <= saving
