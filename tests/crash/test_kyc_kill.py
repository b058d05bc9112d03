"""kill -9 of a real `rkyc serve` inside each step of an analysis, with a second one beside it.

Providers are set up for all there is, and told apart by a ledger outside of both processes: what was
answered and journalled is never asked again, and what a completed step did is never done again.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.engine import wait_for
from tests.support.kyc_scene import STEPS, Scene, repeated, started
from tests.support.kyc_vendors import DIRECT, INDUSTRY_SEARCH, INSIGHT, script_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

# The promise is 3 s (bench/recovery.py). Here: by the presence that is gone, and not after the 120 s of a silent process; one
# that has just begun to watch judges nobody for 12 s, and other tests run beside.
RESUME_S_MAX = 40.0


@pytest.mark.parametrize("step", STEPS)
async def test_job_goes_on_elsewhere_when_its_process_is_killed_at_the_start_of(
    step: str, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with started(dsn, tmp_path, script_of(), "--pause-in", f"{step}:60", with_case=True) as scene:
        await wait_for(lambda: scene.runs(step), timeout_s=60, what=f"a running {step}")
        resumed_s = await _kill_and_finish(scene, step)
        assert repeated(scene.vendors.calls()) == []
        say(capsys, f"killed in {step}: goes on after {resumed_s:.2f} s")


@pytest.mark.parametrize(
    ("step", "kind", "words", "answered"),
    [
        ("external", "searches", INDUSTRY_SEARCH, 4),
        ("context", "embeddings", "한빛정밀", 5),
        ("signal", "rules", DIRECT, 9),
        ("index", "embeddings", "관련 보도", 10),
        ("insight", "rules", INSIGHT, 11),
    ],
)
async def test_only_the_unanswered_call_is_made_again_when_killed_while_it_waits_in(
    step: str,
    kind: str,
    words: str,
    answered: int,
    dsn: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = script_of((kind, words))
    async with started(dsn, tmp_path, script, with_case=True) as scene:
        await wait_for(lambda: hangs(scene, answered), timeout_s=60, what="one call without an answer")
        before = scene.vendors.calls()
        resumed_s = await _kill_and_finish(scene, step)
        again = repeated(scene.vendors.calls())
        assert len(again) == 1 and words in again[0].asked, [call.short for call in again]
        assert Counter(scene.vendors.calls())[again[0]] == 2
        assert len(before) == answered + 1
        say(capsys, f"killed in {step}, {answered} answers journalled: goes on after {resumed_s:.2f} s")


async def hangs(scene: Scene, answered: int) -> bool:
    """Say whether all calls but one are answered and remembered."""
    return await scene.journalled() == answered and len(scene.vendors.calls()) == answered + 1


async def _kill_and_finish(scene: Scene, step: str) -> float:
    """Kill, wait for the end, check it; return the seconds until the step ran again, by the database's clock."""
    assert await scene.runs(step)
    other = await scene.kill_the_one_that_runs_it()
    killed_at = (await scene.query("SELECT clock_timestamp() AS now"))[0]["now"]
    await wait_for(scene.has_ended, timeout_s=60, what="the job's end")
    job, steps = await scene.status(), await scene.steps()
    assert job["status"] == "completed", dict(job)
    assert {name: row["status"] for name, row in steps.items()} == dict.fromkeys(STEPS, "completed")
    assert {name: row["attempt"] for name, row in steps.items()} == {
        name: 2 if name == step else 1 for name in STEPS
    }
    assert job["error_attempts"] == 0
    assert steps[step]["worker"] == other.worker
    rows = await scene.query("SELECT step, count(*) AS n FROM rkyc.checkpoint GROUP BY step")
    assert {row["step"]: row["n"] for row in rows} == dict.fromkeys(STEPS[:-1], 1)
    resumed_s: float = (steps[step]["started_at"] - killed_at).total_seconds()
    assert resumed_s < RESUME_S_MAX
    return resumed_s


def say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        print(f"\n  {line}")
