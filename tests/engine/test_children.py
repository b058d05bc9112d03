"""Child processes: their answers, their deaths, and that nothing outlives its reason."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.children import ChildProcesses
from rkyc.engine.client import Client
from rkyc.errors import ChildProcessDiedError, UnsupportedTypeError
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.server_process import is_running
from tests.support import child_work
from tests.support.engine import serve, wait_for, wait_status

pytestmark = pytest.mark.anyio


@pytest.fixture
async def children(anyio_backend: object) -> AsyncIterator[ChildProcesses]:
    made = ChildProcesses()
    yield made
    await made.close()


async def wait_pid(path: Path) -> int:
    async def look() -> int:
        return int(path.read_text() or 0) if path.exists() else 0

    return int(await wait_for(look))


async def wait_gone(pid: int) -> None:
    async def gone() -> bool:
        return not is_running(pid)

    await wait_for(gone, timeout_s=5, what=f"the end of process {pid}")


async def test_a_result_comes_back(children: ChildProcesses) -> None:
    assert await children.run(child_work.add, 2, 3) == 5
    assert len(await children.run(child_work.repeat, "x", 20_000_000)) == 20_000_000


async def test_an_idle_child_is_used_again(children: ChildProcesses, tmp_path: Path) -> None:
    first = await children.run(child_work.tell_pid, str(tmp_path / "pid"))
    assert await children.run(child_work.tell_pid, str(tmp_path / "pid")) == first
    assert first != os.getpid()


@pytest.mark.parametrize(
    ("function", "cause"), [(child_work.crash, "signal 11"), (child_work.leave, "exit code 7")]
)
async def test_a_child_that_dies_says_how(children: ChildProcesses, function: Any, cause: str) -> None:
    arguments = (7,) if function is child_work.leave else ()
    with pytest.raises(ChildProcessDiedError, match=cause):
        await children.run(function, *arguments)
    assert await children.run(child_work.add, 1, 1) == 2


async def test_an_error_comes_back_with_its_class_or_its_text(children: ChildProcesses) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"a\.bin can't be read") as caught:
        await children.run(child_work.refuse, "a.bin")
    assert caught.value.details == {"subject": "a.bin"}
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by zero"):
        await children.run(child_work.fail)
    with pytest.raises(RuntimeError, match="pickle"):
        await children.run(child_work.unpicklable)


async def test_what_a_library_prints_does_not_get_between(children: ChildProcesses) -> None:
    assert await children.run(child_work.print_much) == "clean"


async def test_a_cancelled_call_kills_its_child(children: ChildProcesses, tmp_path: Path) -> None:
    calling = asyncio.create_task(children.run(child_work.tell_pid, str(tmp_path / "pid"), 60.0))
    pid = await wait_pid(tmp_path / "pid")
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await wait_gone(pid)


async def test_an_idle_child_that_was_killed_costs_no_call(children: ChildProcesses, tmp_path: Path) -> None:
    pid = await children.run(child_work.tell_pid, str(tmp_path / "pid"))
    os.kill(pid, signal.SIGKILL)
    await wait_gone(pid)
    assert await children.run(child_work.add, 1, 1) == 2


PARENT = """
import asyncio, sys
from rkyc.engine.children import ChildProcesses
from tests.support.child_work import tell_pid
asyncio.run(ChildProcesses().run(tell_pid, sys.argv[1], 60.0))
"""


async def test_a_busy_child_dies_with_its_parent(anyio_backend: object, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(tmp_path / "pid")), env=environ
    )
    pid = await wait_pid(tmp_path / "pid")
    parent.kill()
    await parent.wait()
    await wait_gone(pid)


ONCE = RetryPolicy(max_attempts=1)


@step(retry=ONCE, timeouts=Timeouts(start_to_close=1.0))
async def compute(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    if input.get("crash"):
        await ctx.run_in_process(child_work.crash)
    return {"pid": await ctx.run_in_process(child_work.tell_pid, input["path"], input["seconds"])}


async def test_the_child_of_a_step_is_killed_at_the_steps_limit(dsn: str, pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    async with serve(dsn, Pipeline("computing", 1, compute)):
        job_id = await Client(pool=pool).enqueue("computing", {"path": str(path), "seconds": 60})
        pid = await wait_pid(path)
        row = await wait_status(pool, job_id)
        assert (row["status"], row["error_code"]) == ("failed", "STEP_TIMEOUT")
        await wait_gone(pid)


async def test_the_child_of_a_cancelled_step_is_killed(dsn: str, pool: Pool, tmp_path: Path) -> None:
    pipeline = Pipeline("computing", 1, compute.with_policy(timeouts=Timeouts()))
    async with serve(dsn, pipeline):
        client = Client(pool=pool)
        job_id = await client.enqueue("computing", {"path": str(tmp_path / "pid"), "seconds": 60})
        pid = await wait_pid(tmp_path / "pid")
        await client.cancel(job_id)
        await wait_gone(pid)


async def test_a_step_whose_child_crashes_fails_by_its_code(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, Pipeline("computing", 1, compute)):
        job_id = await Client(pool=pool).enqueue("computing", {"crash": True})
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "CHILD_PROCESS_DIED")
    assert "signal 11" in row["error_message"]
