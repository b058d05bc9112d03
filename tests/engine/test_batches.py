"""Batch steps: when a call goes out, for whom, and what becomes of each task."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import PermanentException, RetryableException
from rkyc.flow import payload
from rkyc.flow.batch import Batch
from rkyc.flow.graph import chain, chord
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import Step, step
from rkyc.store.pool import Pool
from tests.engine.test_waits import wait_reason
from tests.support.engine import announce, query, serve, wait_all_ended, wait_for, wait_status

pytestmark = pytest.mark.anyio
# Long enough that nothing but a full batch, a drain or a cancel ends the wait.
LONG_S = 300.0


class Calls:
    """What the calls of one test took along, and how they answer."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.transient_failures = 0
        # Runs within the next call.
        self.meanwhile: Callable[[], Awaitable[object]] | None = None


CALLS = Calls()


@pytest.fixture(autouse=True)
def fresh_calls() -> None:
    CALLS.__init__()  # type: ignore[misc]


async def save_many(ctx: Any, inputs: list[dict[str, Any]]) -> list[dict[str, Any] | Exception]:
    CALLS.sizes.append(len(inputs))
    if CALLS.meanwhile is not None:
        await CALLS.meanwhile()
    if CALLS.transient_failures:
        CALLS.transient_failures -= 1
        raise RetryableException("the other side is busy")
    if any(one.get("breaks_all") for one in inputs):
        raise ValueError("a row that nobody can take")
    if any(one.get("cuts_short") for one in inputs):
        return []
    assert len(ctx.items) == len(inputs)
    return [PermanentException("a bad row") if one.get("is_bad") else {"n": one["n"]} for one in inputs]


def make_step(size: int, within_s: float) -> Step:
    return step(
        batch=Batch(size=size, within_s=within_s),
        retry=RetryPolicy(max_attempts=3, initial_s=0.01, max_s=0.02),
    )(save_many)


def make_pipeline(size: int, within_s: float) -> Pipeline:
    return Pipeline("saving", 1, make_step(size, within_s))


async def submit(pool: Pool, pipeline: Pipeline, *inputs: dict[str, Any]) -> list[Any]:
    await announce(pool, pipeline)
    return await Client(pool=pool).enqueue_many("saving", [{"n": n, **one} for n, one in enumerate(inputs)])


async def read_results(pool: Pool) -> list[Any]:
    rows = await query(pool, "SELECT result FROM rkyc.history WHERE state = 'completed' ORDER BY job_id")
    return [payload.decode(row["result"])["n"] for row in rows]


async def test_a_full_batch_is_one_call(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(50, LONG_S)
    await submit(pool, pipeline, *({} for _ in range(100)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 100) == {"completed": 100}
    assert CALLS.sizes == [50, 50]
    assert await read_results(pool) == list(range(100))


async def test_a_few_are_one_call_when_their_time_is_up(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(50, 0.5)
    await submit(pool, pipeline, *({} for _ in range(7)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 7) == {"completed": 7}
    assert CALLS.sizes == [7]


async def test_tasks_that_gather_hold_no_slot(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(10, LONG_S)
    await submit(pool, pipeline, *({} for _ in range(10)))
    async with serve(dsn, pipeline, slots=2):
        assert await wait_all_ended(pool, 10) == {"completed": 10}
    assert CALLS.sizes == [10]


async def test_an_answer_that_is_an_error_fails_its_own_task_alone(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(50, LONG_S)
    await submit(pool, pipeline, *({"is_bad": number == 17} for number in range(50)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 50) == {"completed": 49, "failed": 1}
    assert CALLS.sizes == [50]
    assert 17 not in await read_results(pool)
    (dead,) = await query(pool, "SELECT error_message FROM rkyc.dead_letter")
    assert dead["error_message"] == "a bad row"


async def test_a_call_that_breaks_for_good_is_repeated_in_halves_until_the_culprit_stands_alone(
    dsn: str, pool: Pool
) -> None:
    pipeline = make_pipeline(8, LONG_S)
    await submit(pool, pipeline, *({"breaks_all": number == 5} for number in range(8)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 8) == {"completed": 7, "failed": 1}
    assert CALLS.sizes == [8, 4, 4, 2, 1, 1, 2]
    assert await read_results(pool) == [0, 1, 2, 3, 4, 6, 7]


async def test_a_call_that_may_work_later_is_retried_by_each_task(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(5, 0.2)
    CALLS.transient_failures = 1
    await submit(pool, pipeline, *({} for _ in range(5)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 5) == {"completed": 5}
    rows = await query(pool, "SELECT count(*) AS n FROM rkyc.event WHERE type = 'step.retrying'")
    assert rows[0]["n"] == 5


async def test_the_limit_of_an_attempt_does_not_count_what_other_halves_take(dsn: str, pool: Pool) -> None:
    calls: list[list[int]] = []

    @step(
        batch=Batch(size=4, within_s=1.0),
        retry=RetryPolicy(max_attempts=1),
        timeouts=Timeouts(start_to_close=1.0),
    )
    async def work(ctx: Any, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls.append([one["n"] for one in inputs])
        await asyncio.sleep(0.4)
        if 0 in calls[-1]:
            raise ValueError("a row that nobody can take")
        return inputs

    pipeline = Pipeline("saving", 1, work)
    jobs = await submit(pool, pipeline, {}, {}, {}, {})
    async with serve(dsn, pipeline):
        rows = [await wait_status(pool, job_id) for job_id in jobs]
    assert [row["status"] for row in rows] == ["failed", "completed", "completed", "completed"]
    assert calls == [[0, 1, 2, 3], [0, 1], [0], [1], [2, 3]]


async def test_a_task_that_waits_leaves_its_batch_and_comes_back_and_pays_nothing_twice(
    dsn: str, pool: Pool
) -> None:
    paid: list[str] = []

    @step(batch=Batch(size=2, within_s=0.5), retry=RetryPolicy(max_attempts=1))
    async def spend(ctx: Any, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for item, told in zip(ctx.items, inputs, strict=True):
            for call in ("first", "second"):

                async def ask(name: str = f"{told['n']} {call}") -> dict[str, Any]:
                    paid.append(name)
                    return {"usage": {"cost_usd": 0.01}}

                await item.call(call, ask)
        return inputs

    pipeline = Pipeline("saving", 1, spend)
    await announce(pool, pipeline)
    client = Client(pool=pool)
    poor = await client.enqueue("saving", {"n": 0}, budget_usd=0.01)
    rich = await client.enqueue("saving", {"n": 1})
    async with serve(dsn, pipeline) as worker:
        assert (await wait_status(pool, rich))["status"] == "completed"
        row = await wait_reason(pool, poor, "budget")
        assert "0.0100 of 0.0100 USD" in row["wait_detail"]

        async def is_idle() -> bool:
            return worker.busy == 0

        await wait_for(is_idle)
        await client.add_budget(poor, 1.0)
        assert (await wait_status(pool, poor))["status"] == "completed"
        await wait_for(is_idle)
    assert sorted(paid) == ["0 first", "0 second", "1 first", "1 second"]


async def test_tasks_of_a_batch_may_sleep(dsn: str, pool: Pool) -> None:
    @step(batch=Batch(size=2, within_s=0.5), retry=RetryPolicy(max_attempts=1))
    async def rest(ctx: Any, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for item in ctx.items:
            await item.sleep(0.3)
        return inputs

    pipeline = Pipeline("saving", 1, rest)
    await submit(pool, pipeline, {}, {})
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 2) == {"completed": 2}


async def test_too_few_answers_are_an_error_of_every_task(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(3, LONG_S)
    await submit(pool, pipeline, {"cuts_short": True}, {}, {})
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 3) == {"failed": 3}
    (row,) = await query(pool, "SELECT DISTINCT error_code, error_message FROM rkyc.history")
    assert row["error_code"] == "OUTPUT_INVALID"
    assert "returned 0 answers for 3 inputs" in row["error_message"]


async def test_a_job_that_is_cancelled_while_it_gathers_leaves_the_others(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(3, LONG_S)
    first, *_ = await submit(pool, pipeline, {}, {})
    async with serve(dsn, pipeline) as worker:

        async def both_gather() -> bool:
            return worker.busy == 2

        await wait_for(both_gather)
        await Client(pool=pool).cancel(first)

        async def one_gathers() -> bool:
            return worker.busy == 1

        await wait_for(one_gathers)
        await submit(pool, pipeline, {}, {})
        assert await wait_all_ended(pool, 4) == {"completed": 3, "cancelled": 1}
    assert CALLS.sizes == [3]


async def test_a_drain_calls_at_once_for_what_has_gathered(dsn: str, pool: Pool) -> None:
    pipeline = make_pipeline(50, LONG_S)
    jobs = await submit(pool, pipeline, {}, {}, {})
    async with serve(dsn, pipeline) as worker:
        for job_id in jobs:
            await wait_status(pool, job_id, "running")

        async def all_gather() -> bool:
            return worker.busy == 3

        await wait_for(all_gather)
        await asyncio.sleep(0)
    assert await wait_all_ended(pool, 3) == {"completed": 3}
    assert sum(CALLS.sizes) == 3


async def test_a_batch_step_stands_in_a_chain_like_any_other(dsn: str, pool: Pool) -> None:
    @step
    async def before(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        return {"n": job["n"] * 10}

    @step
    async def after(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"n": input["n"] + 1}

    pipeline = Pipeline("saving", 1, chain(before, make_step(4, LONG_S), after))
    await submit(pool, pipeline, *({} for _ in range(4)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 4) == {"completed": 4}
    assert CALLS.sizes == [4]
    assert await read_results(pool) == [1, 11, 21, 31]


async def save_rows(conn: Any, outputs: list[dict[str, Any]]) -> None:
    """One INSERT for all; the row that the table's CHECK refuses breaks it."""
    await conn.execute(
        "INSERT INTO public.saved (n, txid) SELECT n, pg_current_xact_id()::text FROM unnest($1::int[]) n",
        [one["n"] for one in outputs],
    )


def make_saving(size: int) -> Pipeline:
    batch = Batch(size=size, within_s=LONG_S)
    return Pipeline(
        "saving", 1, step(batch=batch, save=save_rows, retry=RetryPolicy(max_attempts=1))(save_many)
    )


async def read_saved(pool: Pool) -> list[tuple[int, int]]:
    """Return each saved number with the size of the transaction that saved it."""
    rows = await query(
        pool, "SELECT n, count(*) OVER (PARTITION BY txid) AS size FROM public.saved ORDER BY n"
    )
    return [(row["n"], row["size"]) for row in rows]


@pytest.fixture
async def saved(pool: Pool) -> None:
    await query(pool, "CREATE TABLE public.saved (n int PRIMARY KEY CHECK (n <> 5), txid text NOT NULL)")


async def test_what_a_batch_saves_is_committed_with_the_outcomes_of_all_its_tasks(
    dsn: str, pool: Pool, saved: None
) -> None:
    pipeline = make_saving(4)
    await submit(pool, pipeline, *({"is_bad": number == 2} for number in range(4)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 4) == {"completed": 3, "failed": 1}
    assert await read_saved(pool) == [(0, 3), (1, 3), (3, 3)]
    rows = await query(pool, "SELECT DISTINCT xmin::text FROM rkyc.history WHERE state = 'completed'")
    assert len(rows) == 1
    assert await query(pool, "SELECT FROM public.saved s WHERE s.xmin::text <> $1", rows[0]["xmin"]) == []


async def test_a_row_that_can_not_be_saved_fails_its_own_task_alone(
    dsn: str, pool: Pool, saved: None
) -> None:
    pipeline = make_saving(8)
    await submit(pool, pipeline, *({} for _ in range(8)))
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 8) == {"completed": 7, "failed": 1}
    assert CALLS.sizes == [8]
    assert await read_saved(pool) == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 1), (6, 2), (7, 2)]
    assert await read_results(pool) == [0, 1, 2, 3, 4, 6, 7]


async def test_a_task_whose_lease_is_lost_is_not_saved_with_its_batch(
    dsn: str, pool: Pool, saved: None
) -> None:
    pipeline = make_saving(3)
    first, *_ = await submit(pool, pipeline, {}, {}, {"n": 7})
    # Behind the worker's back, as when another has reclaimed it: it hears of it at the commit.
    reclaim = """UPDATE rkyc.running SET fence = fence + 1000, worker_id = worker_id + 1000
                 WHERE job_id = (SELECT id FROM rkyc.job WHERE uuid = $1)"""
    CALLS.meanwhile = functools.partial(query, pool, reclaim, first)
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 2) == {"completed": 2}
        assert await read_saved(pool) == [(1, 2), (7, 2)]
        await query(pool, "DELETE FROM rkyc.running")


async def test_a_job_goes_on_after_a_batch_that_saved_in_a_chain_and_in_a_group(
    dsn: str, pool: Pool, saved: None
) -> None:
    @step
    async def before(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        return {"n": job["n"] * 10}

    @step
    async def beside(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
        return {"n": 0}

    @step
    async def after(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"n": input["save_many"]["n"] + 1}

    saving = step(batch=Batch(size=3, within_s=LONG_S), save=save_rows)(save_many)
    pipeline = Pipeline("saving", 1, chord([chain(before, saving), beside], after))
    await submit(pool, pipeline, {}, {}, {})
    async with serve(dsn, pipeline):
        assert await wait_all_ended(pool, 3) == {"completed": 3}
    assert await read_saved(pool) == [(0, 3), (10, 3), (20, 3)]
    assert await read_results(pool) == [1, 11, 21]
    linear = Pipeline("saving", 2, chain(before, saving, step(name="last")(_pass_on)))
    await query(pool, "TRUNCATE public.saved")
    await submit(pool, linear, {}, {}, {})
    async with serve(dsn, linear):
        assert await wait_all_ended(pool, 6) == {"completed": 6}
    assert await read_saved(pool) == [(0, 3), (10, 3), (20, 3)]
    assert (await read_results(pool))[3:] == [0, 10, 20]


async def _pass_on(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return input
