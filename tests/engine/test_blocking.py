"""Steps that are plain functions: in threads and in child processes, never on the loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.engine.suspend import Suspend
from rkyc.errors import DefinitionError, LeaseLostError, RetryableException
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from rkyc.store.server_process import is_running
from rkyc.testing.kit import Kit
from tests.support import child_work
from tests.support.engine import query, serve, wait_for, wait_status

pytestmark = pytest.mark.anyio
ONCE = RetryPolicy(max_attempts=1)


@step
def name_thread(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"thread": threading.current_thread().name, "pid": os.getpid(), "attempt": ctx.attempt}


@step(run_in="process")
def name_process(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"pid": os.getpid(), "step": ctx.step, "before": input["thread"]}


@step(run_in="process", retry=ONCE)
def ask_too_much(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    ctx.progress(0.5)
    return {}


@step(run_in="process", retry=ONCE)
def hang_in_process(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    Path(input["path"]).write_text(str(os.getpid()))
    time.sleep(60)
    return {}


async def test_a_plain_function_runs_in_a_thread_or_a_process_as_declared(rkyc_kit: Kit) -> None:
    job = await rkyc_kit.run_inline(Pipeline("plain", 1, chain(name_thread, name_process)), {})
    assert job.status == "completed"
    assert job.result["before"].startswith("rkyc step")
    assert (job.result["pid"] != os.getpid(), job.result["step"]) == (True, "name_process")


async def test_a_context_that_a_child_does_not_have_is_named(rkyc_kit: Kit) -> None:
    job = await rkyc_kit.run_inline(Pipeline("plain", 1, ask_too_much), {})
    assert (job.status, job.error_code) == ("failed", "DEFINITION_INVALID")
    assert "has no ctx.progress" in (job.error_message or "")


async def test_the_whole_context_works_from_a_thread(rkyc_kit: Kit) -> None:
    asked: list[str] = []

    def ask(question: str) -> dict[str, str]:
        asked.append(threading.current_thread().name)
        return {"answer": question.upper()}

    @step(retry=RetryPolicy(max_attempts=2, initial_s=60.0))
    def use_all(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        ctx.heartbeat()
        ctx.progress(0.5)
        ctx.emit("token")
        ctx.metadata(seen=True)
        ctx.warn("ODD", "odd", partial=False)
        ctx.log.debug("thread.seen")
        first = ctx.call("first", lambda: ask("one"))
        if ctx.attempt == 1:
            raise RetryableException("again")
        return {**first, "second": ctx.call("second", lambda: ask("two"))["answer"], "job": str(ctx.job_id)}

    job = await rkyc_kit.run_inline(Pipeline("all", 1, use_all), {})
    assert job.status == "completed", job.error_message
    assert job.result == {"answer": "ONE", "second": "TWO", "job": str(job.job_id)}
    # The first answer was remembered, and both were made in the step's own thread.
    assert len(asked) == 2 and all(name.startswith("rkyc step") for name in asked)
    assert job.metadata["seen"] is True
    assert [one["code"] for one in job.warnings] == ["ODD"]


async def test_an_error_and_a_wait_come_out_of_a_thread_as_they_are(rkyc_kit: Kit) -> None:
    @step(retry=ONCE)
    def fall(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        def fail() -> dict[str, Any]:
            raise StopIteration("odd")

        if input["how"] == "wait":
            raise Suspend("event", "never")
        return ctx.call("fail", fail) if input["how"] == "call" else next(iter(()))

    pipeline = Pipeline("falling", 1, fall)
    for how in ("call", "plain"):
        job = await rkyc_kit.run_inline(pipeline, {"how": how})
        assert (job.status, job.error_code) == ("failed", "WORKER_ERROR")
        assert "StopIteration" in (job.error_message or "")
    job = await rkyc_kit.run_inline(pipeline, {"how": "wait"})
    assert (job.status, job.wait_reason) == ("pending", "event")


async def test_a_thread_sleeps_durably_and_waits_for_signals(rkyc_kit: Kit) -> None:
    @step
    def rest(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        ctx.sleep(86_400)
        return {"told": ctx.wait_signal("go")}

    job = await rkyc_kit.run_inline(Pipeline("resting", 1, rest), {})
    assert (job.status, job.wait_reason) == ("pending", "signal")
    async with rkyc_kit.client() as client:
        await client.signal(job.job_id, "go", {"by": "anna"})
    (job,) = await rkyc_kit.drain()
    assert (job.status, job.result) == ("completed", {"told": {"by": "anna"}})
    assert rkyc_kit.clock.offset_s == pytest.approx(86_400, abs=60)


async def test_many_threads_do_not_block_the_loop_and_are_bounded(dsn: str, pool: Pool) -> None:
    lock, running, highest = threading.Lock(), 0, 0

    @step
    def work(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return {}

    @step
    async def beside(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {}

    async with serve(dsn, Pipeline("blocking", 1, work), Pipeline("beside", 1, beside), threads=4) as worker:
        client = Client(pool=pool)
        await client.enqueue_many("blocking", [{}] * 40)
        await wait_for(lambda: _is_true(running == 4), what="four threads")
        beside_id = await client.enqueue("beside", {})
        await wait_status(pool, beside_id, "completed")
        assert worker.busy > 4
        await wait_for(lambda: _ended(pool, 41))
    assert highest == 4


async def test_a_thread_that_is_too_late_is_left_behind_and_refused(
    dsn: str, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    go, refused = threading.Event(), threading.Event()

    @step(retry=RetryPolicy(max_attempts=2, initial_s=0.0), timeouts=Timeouts(start_to_close=0.3))
    def linger(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        if ctx.attempt == 1:
            go.wait(30)
            try:
                ctx.heartbeat()
            except LeaseLostError:
                refused.set()
            return {"from": "the thread that was left"}
        return {"from": "the second attempt"}

    async with serve(dsn, Pipeline("lingering", 1, linger), threads=2):
        job_id = await Client(pool=pool).enqueue("lingering", {})
        row = await wait_status(pool, job_id)
        assert (row["status"], row["result"]) == ("completed", '{"from": "the second attempt"}')
        (event,) = await query(pool, "SELECT data ->> 'error_code' AS code FROM rkyc.event")
        assert event["code"] == "STEP_TIMEOUT"
        go.set()
        await wait_for(lambda: _is_true(refused.is_set()), what="the refusal of the thread")
    (line,) = [one.getMessage() for one in caplog.records if one.getMessage().startswith("thread.left")]
    assert f"step linger of job {job_id}" in line


@pytest.mark.parametrize(
    "limits",
    [{"start_to_close": 0.8}, {"soft": 0.8, "start_to_close": 9.0}, {"heartbeat": 0.8}, {"idle": 0.8}],
)
async def test_the_wait_for_a_free_thread_is_not_the_attempts(
    dsn: str, pool: Pool, limits: dict[str, float]
) -> None:
    @step(retry=ONCE, timeouts=Timeouts(**limits))
    def work(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.5)
        return {}

    async with serve(dsn, Pipeline("queueing", 1, work), threads=1):
        await Client(pool=pool).enqueue_many("queueing", [{}] * 4)
        await wait_for(lambda: _ended(pool, 4))
    rows = await query(pool, "SELECT state FROM rkyc.history")
    assert {row["state"] for row in rows} == {"completed"}


@pytest.mark.parametrize("limits", [{"start_to_close": 2.5}, {"soft": 2.5, "start_to_close": 9.0}])
async def test_the_wait_for_a_free_child_process_is_not_the_attempts(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float]
) -> None:
    monkeypatch.setattr("rkyc.engine.children._RUNNING_MAX", 1)
    work = child_work.rest.with_policy(retry=ONCE, timeouts=Timeouts(**limits))
    async with serve(dsn, Pipeline("queueing", 1, work)):
        await Client(pool=pool).enqueue_many("queueing", [{"seconds": 1.0}] * 4)
        await wait_for(lambda: _ended(pool, 4))
    rows = await query(pool, "SELECT state FROM rkyc.history")
    assert {row["state"] for row in rows} == {"completed"}


async def test_the_process_of_a_cancelled_step_is_killed(dsn: str, pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    async with serve(dsn, Pipeline("hanging", 1, hang_in_process)):
        client = Client(pool=pool)
        job_id = await client.enqueue("hanging", {"path": str(path)})
        await wait_for(lambda: _is_true(path.exists() and path.read_text() != ""), what="the child")
        await client.cancel(job_id)
        pid = int(path.read_text())
        await wait_for(lambda: _is_true(not is_running(pid)), what=f"the end of process {pid}")


async def test_a_worker_ends_while_a_thread_does_not(dsn: str, pool: Pool) -> None:
    go = threading.Event()

    @step
    def linger(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        go.wait(30)
        return {}

    try:
        async with serve(dsn, Pipeline("lingering", 1, linger), grace_s=0.1) as worker:
            await Client(pool=pool).enqueue("lingering", {})
            await wait_for(lambda: _is_true(worker.busy == 1))
        (row,) = await query(pool, "SELECT error_attempts + crash_attempts AS charged FROM rkyc.ready")
        assert row["charged"] == 0
    finally:
        go.set()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: step(run_in="thread")(_async), "run_in is for `def` steps"),
        (lambda: step(run_in="fibre")(_plain), "expected 'thread' or 'process'"),
        (lambda: step(_generate), "is no plain function"),
        (lambda: step(run_in="process")(_make_local()), "can't be found by a child process"),
        (lambda: step(_no_ctx), "takes no ctx"),
    ],
)
def test_a_function_that_can_not_run_so_is_refused_at_definition(make: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        make()


async def _async(ctx: Any) -> None: ...


def _plain(ctx: Any) -> None: ...


def _generate(ctx: Any) -> Any:
    yield 1


def _no_ctx() -> None: ...


def _make_local() -> Any:
    def local(ctx: Any) -> None: ...

    return local


async def _is_true(value: bool) -> bool:
    await asyncio.sleep(0)
    return value


async def _ended(pool: Pool, number: int) -> bool:
    return len(await query(pool, "SELECT FROM rkyc.history")) >= number
