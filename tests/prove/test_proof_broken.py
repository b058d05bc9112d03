"""The tests behind docs/guarantees.md can fail: each mechanism is broken in a copy of the project, and its test sees it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.prove, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
# What pytest answers when tests ran and some of them failed; an error while importing is another number.
TESTS_FAILED = 1


@dataclass(frozen=True, slots=True)
class Break:
    """What is broken, in one file of the package, and the test that must fail for it."""

    what: str
    file: str
    old: str
    new: str
    test: str


BREAKS = (
    Break(
        "crashes are not counted",
        "store/queue/workers.sql",
        "THEN h.crash_attempts ELSE 0 END + 1 AS crash_attempts",
        "THEN h.crash_attempts ELSE 0 END AS crash_attempts",
        "crash/test_worker_crash.py::test_a_job_that_kills_its_process_is_found_and_nobody_else_is_blamed",
    ),
    Break(
        "the results of a map stand in any order",
        "store/migrations/0026_maps.sql",
        "string_agg(o.output, ',' ORDER BY o.branch)",
        "string_agg(o.output, ',' ORDER BY o.branch DESC)",
        "engine/test_maps.py::test_each_element_gets_an_item_and_the_results_stand_in_their_order",
    ),
    Break(
        "a route takes its first part whatever the output",
        "flow/decide.py",
        "    if target is None:\n        given",
        "    target = next(iter(place.arms.values()))\n    if target is None:\n        given",
        "engine/test_routes.py::test_the_part_that_the_output_names_runs_and_the_others_are_skipped",
    ),
    Break(
        "an optional chain fails its job",
        "flow/decide.py",
        "if step.optional or place.escape is not None:",
        "if step.optional:",
        "engine/test_routes.py::test_an_optional_chain_that_fails_is_left_and_the_rest_goes_on",
    ),
    Break(
        "a worker goes on with steps of lanes that it does not serve",
        "engine/executor.py",
        "while (place.step.lane or claim.job_lane) in self.open_lanes:",
        "while True:",
        "engine/test_maps.py::test_each_item_runs_where_its_lane_is_served",
    ),
    Break(
        "what a cancelled job did is not undone",
        "engine/endings.py",
        "    if await undo.begin_undo(",
        "    if letter and await undo.begin_undo(",
        "engine/test_undo_from_outside.py::test_what_a_running_job_did_is_undone_when_it_is_cancelled",
    ),
    Break(
        "a silent step is not cut",
        "engine/pulse.py",
        "if timeouts.heartbeat is not None and now - self._beat_at >= timeouts.heartbeat:",
        "if timeouts.heartbeat is None:",
        "engine/test_pulse.py::test_a_silent_step_is_cut_and_the_next_attempt_goes_on_where_it_was",
    ),
    Break(
        "how often a dead letter was started again is not counted",
        "store/queue/dead_letters.sql",
        "SET retry_count = retry_count + 1 WHERE id",
        "SET retry_count = retry_count WHERE id",
        "crash/test_redrive_crash.py",
    ),
    Break(
        "starts cost nothing",
        "store/queue/buckets.sql",
        "SELECT a.scope, at.now + make_interval(secs => a.cost) FROM asked a CROSS JOIN at ORDER BY a.scope",
        "SELECT a.scope, at.now FROM asked a CROSS JOIN at ORDER BY a.scope",
        "engine/test_rates.py::test_starts_are_spaced_over_all_workers",
    ),
    Break(
        "what a call really took is not settled",
        "store/queue/buckets.sql",
        "UPDATE rkyc.limit_bucket b SET full_at = b.full_at + make_interval(secs => a.cost) FROM asked a",
        "UPDATE rkyc.limit_bucket b SET full_at = b.full_at FROM asked a",
        "engine/test_admission.py::test_an_estimate_is_reserved_and_what_was_used_is_settled",
    ),
    Break(
        "a fork runs every step anew",
        "store/queue/restarts.sql",
        "coalesce(k.edited::jsonb, k.output)",
        "k.edited::jsonb",
        "engine/test_changing.py::test_a_fork_keeps_what_was_done_and_shows_what_differs",
    ),
    Break(
        "answers of calls are not recalled",
        "engine/journal.py",
        "return Remembered(self._known[key]) if key in self._known else None",
        "return None",
        "engine/test_journal.py::test_each_call_is_made_once_over_all_attempts",
    ),
    Break(
        "the note of a call may cost its answer",
        "engine/admission.py",
        "_log.warning(events.CALL_UNNOTED, provider=provider, error=str(error))",
        "raise",
        "engine/test_admission.py::test_an_answer_is_not_lost_with_the_database",
    ),
    Break(
        "a save is not under the lease",
        "engine/commit.py",
        'raise LeaseLostError(f"job {claim.uuid}: the lease of step {claim.step} is lost")',
        "pass",
        "engine/test_save.py::test_a_save_whose_lease_is_lost_leaves_nothing",
    ),
    Break(
        "what a person does leaves no entry",
        "store/queue/audit.sql",
        "VALUES (clock_timestamp(), :who, :action, :kind, :object, coalesce(:details::jsonb, '{}'));",
        "SELECT clock_timestamp(), :who, :action, :kind, :object, coalesce(:details::jsonb, '{}') WHERE false;",
        "api/test_dlq_api.py::test_what_a_person_does_to_a_job_is_in_the_audit_trail",
    ),
    Break(
        "a turn that does not come does not count as a wait",
        "store/queue/expiry.sql",
        "(w.kind IN ('fair', 'no_worker'",
        "(w.kind IN ('no_worker'",
        "engine/test_expiry.py::test_a_job_that_waits_for_its_turn_expires_like_any_other",
    ),
    Break(
        "who waits for a turn is not told that nobody serves the lane",
        "store/migrations/0030_start_waits.sql",
        "t.kind IN ('queued', 'fair')",
        "t.kind = 'queued'",
        "store/queue/test_why.py::test_a_job_is_told_what_its_lane_lacks_with_a_key_and_without",
    ),
    Break(
        "a blocked loop is not named",
        "engine/stall.py",
        "if blocked_s < self._blocked_after_s or ticked == told:",
        "if True:",
        "crash/test_worker_crash.py::test_a_blocked_loop_loses_nothing_and_is_named",
    ),
    Break(
        "an event is given out up to the last xid that ended",
        "store/queue/broadcasts.sql",
        "pg_current_xact_id()::text::bigint + 1",
        "pg_snapshot_xmax(s.s)::text::bigint",
        "engine/test_broadcast.py::test_no_event_is_skipped_whose_transaction_is_younger_than_the_last_that_ended",
    ),
)


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.what)
async def test_what_is_broken_on_purpose_is_seen(broken: Break, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    for folder in ("rkyc", "tests", "examples"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    path = copy / "rkyc" / broken.file
    text = path.read_text(encoding="utf-8")
    assert text.count(broken.old) >= 1, f"{broken.file} has changed: break it anew"
    path.write_text(text.replace(broken.old, broken.new), encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(copy)}
    for name in ("RKYC_TEST_HOME", "PYTEST_ADDOPTS"):
        environ.pop(name, None)
    done = await anyio.run_process(
        [sys.executable, "-m", "pytest", "-q", "--maxfail=1", f"tests/{broken.test}"],
        cwd=copy,
        env=environ,
        check=False,
    )
    assert done.returncode == TESTS_FAILED, done.stdout.decode(errors="replace")[-4000:]
