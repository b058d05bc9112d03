"""A pipeline in two versions, and what a deploy of the second must do to jobs of the first."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import Step, step
from rkyc.store.pool import Pool
from tests.support.crashes import checkpoints_by_step, entries, make_input, submit, wait_entries
from tests.support.engine import query, wait_all_ended, wait_for
from tests.support.fleet import Fleet, WorkerProcess, open_fleet
from tests.support.probes import pause, tell

OLD_STEPS = ("first", "second", "third", "fourth")
NEW_STEPS = ("first", "instead", "fourth")


@step
async def pass_gate(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Go on when the job's gate, a file, is there."""
    tell(ctx, job, "began")
    while not Path(job["gate"]).exists():
        await asyncio.sleep(0.02)
    tell(ctx, job, "ended")
    return {}


def _old(name: str) -> Step:
    return (pass_gate if name == "second" else pause).named(name)


old = Pipeline("deployed", 1, chain(*map(_old, OLD_STEPS)))
new = Pipeline("deployed", 2, chain(*(pause.named(name) for name in NEW_STEPS)))
casting = Registry([Pipeline("deployed", 2, new.steps, upcast={(1, 2): lambda value, outputs: (value, {})})])
only_old = Registry([old])
only_new = Registry([new])
both = Registry([old, new])


async def roll_out(dsn: str, pool: Pool, folder: Path, *, jobs: int, serves_both: bool) -> None:
    """Deploy version 2 while so many jobs of version 1 are in flight.

    With `serves_both` the new process serves version 1 as well; else its jobs wait until an old process is back.
    """
    apps = {name: f"tests.support.deploys:{name}" for name in ("only_old", "only_new", "both")}
    for name in ("old", "new"):
        (folder / name).mkdir()
    async with (
        open_fleet(folder / "old", app=apps["only_old"], dsn=dsn) as olds,
        open_fleet(folder / "new", app=apps["both" if serves_both else "only_new"], dsn=dsn) as news,
    ):
        leaving = await olds.start(slots=jobs)
        gate = folder / "gate"
        await submit(pool, "deployed", [make_input(folder, number, gate=str(gate)) for number in range(jobs)])
        await wait_entries(folder, "began", jobs, step="second", timeout_s=90)
        await news.start(slots=50)
        leaving.send(signal.SIGTERM)
        await wait_for(lambda: _drains(leaving), what="the old process that drains")
        gate.touch()
        assert await leaving.process.wait() == 0
        await submit(pool, "deployed", [make_input(folder, f"new{number}") for number in range(5)])
        if not serves_both:
            await _see_them_blocked(pool, olds)
        assert await wait_all_ended(pool, jobs + 5, timeout_s=120) == {"completed": jobs + 5}
    versions = Counter(row["version"] for row in await query(pool, "SELECT version FROM rkyc.job"))
    assert versions == {1: jobs, 2: 5}
    began = Counter((entry.job, entry.step) for entry in entries(folder) if entry.what == "began")
    assert {key: times for key, times in began.items() if times > 1} == {}, "steps that ran twice"
    assert len(began) == jobs * len(OLD_STEPS) + 5 * len(NEW_STEPS)
    assert set((await checkpoints_by_step(pool)).values()) == {1}
    assert {entry.attempt for entry in entries(folder)} == {1}


async def _drains(member: WorkerProcess) -> bool:
    return bool(member.log_lines("worker.draining"))


async def _see_them_blocked(pool: Pool, olds: Fleet) -> None:
    """All that is left of version 1 shows what it misses, while version 2 goes on; then bring an old process back."""

    async def are_blocked() -> bool:
        rows = await query(
            pool,
            """SELECT version, status, wait_reason, wake_key, count(*) AS n FROM rkyc.job_status
               WHERE status <> 'completed' GROUP BY 1, 2, 3, 4""",
        )
        return [tuple(row)[:4] for row in rows] == [(1, "pending", "version_blocked", "deployed@1")]

    await wait_for(are_blocked, timeout_s=60, what="every job of version 1 that shows version_blocked")
    (why,) = await query(
        pool,
        """SELECT w.why, w.remedy FROM rkyc.job_status s CROSS JOIN LATERAL rkyc.why(s.job_id) w
           WHERE s.wait_reason = 'version_blocked' LIMIT 1""",
    )
    assert "no live worker serves version 1 of pipeline deployed" in why["why"]
    await olds.start(slots=50)
