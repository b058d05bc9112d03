"""Compensation: what completed steps did is undone in reverse order when their job fails for good."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pydantic
import pytest

from rkyc.engine.client import Client
from rkyc.errors import DefinitionError, PermanentException
from rkyc.flow import payload
from rkyc.flow.graph import chain, map_over
from rkyc.flow.limits import Limit
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.engine.test_payloads import codec
from tests.support.crashes import entries, make_input, wait_entries
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_for, wait_status
from tests.support.sagas import registry

pytestmark = pytest.mark.anyio


class Room(pydantic.BaseModel):
    number: int


def told(folder: Path, *what: str) -> list[tuple[str, str]]:
    return [(entry.what, entry.step) for entry in entries(folder) if entry.what in what]


async def test_completed_steps_are_undone_in_reverse_order_and_the_job_fails_with_its_own_error(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("booking", make_input(tmp_path, 1, fails=["car"]))
        row = await wait_status(pool, job_id)
    assert (row["status"], row["pipeline_step"], row["error_code"]) == ("failed", "car", "PERMANENT")
    assert row["error_message"] == "meant to fail"
    assert payload.decode(row["metadata"])["compensated"] == ["hotel", "flight"]
    assert told(tmp_path, "acted", "undone") == [
        ("acted", "flight"),
        ("acted", "note"),
        ("acted", "hotel"),
        ("undone", "undo:hotel"),
        ("undone", "undo:flight"),
    ]
    (letter,) = await query(pool, "SELECT step, reason FROM rkyc.dead_letter")
    assert tuple(letter) == ("car", "task_failed")
    kept = await query(
        pool, "SELECT step FROM rkyc.superseded_checkpoint WHERE step LIKE 'undo:%' ORDER BY seq"
    )
    assert [one["step"] for one in kept] == [
        "undo:begin",
        "undo:hotel",
        "undo:flight",
    ]
    assert await tasks_left(pool) == []


async def test_what_was_undone_is_done_again_when_the_job_is_started_again(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("booking", make_input(tmp_path, 1, fails=["mail"]))
        for _ in range(2):
            assert (await wait_status(pool, job_id))["status"] == "failed"
            assert told(tmp_path, "undone")[-3:] == [
                ("undone", f"undo:{name}") for name in ("car", "hotel", "flight")
            ]
            await client.retry(job_id)
            await wait_entries(tmp_path, "undone", 3)
        assert (await wait_status(pool, job_id))["status"] == "failed"
        await query(pool, "UPDATE rkyc.job SET input = input - 'fails'")
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    acted = [name for _, name in told(tmp_path, "acted")]
    assert acted.count("flight") == 4 and acted.count("mail") == 1
    assert [name for _, name in told(tmp_path, "refunded")].count("undo:flight") == 3, "each time anew"


async def test_a_compensator_is_tried_again_and_its_calls_are_remembered(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    given = make_input(tmp_path, 1, fails=["hotel"], undo_fails={"flight": 2})
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("booking", given)
        assert (await wait_status(pool, job_id))["status"] == "failed"
    assert told(tmp_path, "undoing", "undone", "refunded") == [
        ("undoing", "undo:flight"),
        ("refunded", "undo:flight"),
        ("undoing", "undo:flight"),
        ("undoing", "undo:flight"),
        ("undone", "undo:flight"),
    ]


async def test_a_compensator_that_fails_for_good_is_a_dead_letter_and_goes_on_there(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    given = make_input(tmp_path, 1, fails=["car"], undo_fails={"hotel": "always"})
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("booking", given)
        row = await wait_status(pool, job_id)
        assert (row["status"], row["pipeline_step"]) == ("failed", "undo:hotel")
        (letter,) = await query(pool, "SELECT step, reason FROM rkyc.dead_letter")
        assert tuple(letter) == ("undo:hotel", "compensation_failed")
        assert told(tmp_path, "undone") == []
        await query(
            pool, "UPDATE rkyc.checkpoint SET output = output #- '{job,undo_fails}' WHERE step = 'hotel'"
        )
        await client.retry(job_id)
        row = await wait_status(pool, job_id)
    assert (row["status"], row["pipeline_step"]) == ("failed", "car"), "with the error that it began with"
    assert told(tmp_path, "undone") == [("undone", "undo:hotel"), ("undone", "undo:flight")]


async def test_the_branches_that_completed_are_undone_once_each(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    given = make_input(tmp_path, 1, fails=["right"], waits={"right": 0.2})
    async with serve(dsn, registry=registry):
        job_id = await client.enqueue("tour", given)
        assert (await wait_status(pool, job_id))["status"] == "failed"
        assert told(tmp_path, "undone") == [("undone", "undo:left"), ("undone", "undo:start")]
        await query(pool, "UPDATE rkyc.job SET input = input - 'fails'")
        await client.retry(job_id)
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert sorted(name for _, name in told(tmp_path, "acted")) == [
        "finish",
        "left",
        "left",
        "right",
        "start",
        "start",
    ]


async def test_a_branch_that_still_runs_is_stopped_before_the_others_are_undone(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    given = make_input(tmp_path, 1, fails=["right"], waits={"left": 60, "right": 0.1})
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("tour", given)
        assert (await wait_status(pool, job_id))["status"] == "failed"
    assert told(tmp_path, "acted", "undone") == [("acted", "start"), ("undone", "undo:start")]


async def test_a_failure_before_anything_was_done_undoes_nothing(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with serve(dsn, registry=registry):
        job_id = await Client(pool=pool).enqueue("booking", make_input(tmp_path, 1, fails=["flight"]))
        row = await wait_status(pool, job_id)
    assert (row["status"], "compensated" in payload.decode(row["metadata"])) == ("failed", False)
    assert await query(pool, "SELECT FROM rkyc.checkpoint") == []


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_an_optional_step_that_failed_is_not_undone(dsn: str, pool: Pool, is_sealed: bool) -> None:
    undone: list[tuple[str, Any]] = []

    async def undo(ctx: Any, output: dict[str, Any]) -> None:
        undone.append((ctx.step, output))

    async def undo_any(ctx: Any, output: Any) -> None:
        undone.append((ctx.step, output))

    @step(optional=True, compensate=undo)
    async def fail(ctx: Any) -> dict[str, Any]:
        raise PermanentException("not that important")

    @step(compensate=undo_any)
    async def warn(ctx: Any) -> None:
        ctx.warn("ODD", "done all the same", subject=ctx.step)

    @step(compensate=undo)
    async def hire(ctx: Any) -> dict[str, Any]:
        return {"room": 7}

    @step
    async def refuse(ctx: Any) -> None:
        raise PermanentException("no")

    aside = chain(
        hire, fail.with_policy(optional=False).named("fail_aside"), hire.named("rest"), optional=True
    )
    sealer = codec(pool) if is_sealed else None
    client = Client(pool=pool, codec=sealer)
    async with serve(dsn, Pipeline("hiring", 1, chain(fail, warn, aside, refuse)), codec=sealer):
        job_id = await client.enqueue("hiring", {})
        for times in (1, 2):
            if times > 1:
                await client.retry(job_id)
            row = await wait_status(pool, job_id)
            assert (row["status"], row["pipeline_step"], row["error_message"]) == ("failed", "refuse", "no")
            assert payload.decode(row["metadata"])["compensated"] == ["hire", "warn"]
            assert undone == [("undo:hire", {"room": 7}), ("undo:warn", None)] * times


async def test_an_item_that_failed_and_is_optional_is_not_undone(dsn: str, pool: Pool) -> None:
    undone: list[Any] = []

    async def undo(ctx: Any, output: dict[str, Any]) -> None:
        undone.append(output)

    @step
    async def count(ctx: Any) -> list[int]:
        return [1, 2, 3]

    @step(optional=True, compensate=undo)
    async def work(ctx: Any, input: int) -> dict[str, Any]:
        if input == 2:
            raise PermanentException("not that important")
        return {"n": input}

    @step
    async def refuse(ctx: Any) -> None:
        raise PermanentException("no")

    async with serve(dsn, Pipeline("items", 1, chain(count, map_over(work), refuse))):
        row = await wait_status(pool, await Client(pool=pool).enqueue("items", {}))
    assert (row["pipeline_step"], row["error_message"]) == ("refuse", "no")
    assert sorted(output["n"] for output in undone) == [1, 3]


async def test_a_compensator_runs_past_the_deadline_that_ended_its_job(dsn: str, pool: Pool) -> None:
    undone: list[Any] = []

    async def undo(ctx: Any, output: Any) -> None:
        undone.append(output)

    @step(compensate=undo)
    async def reserve(ctx: Any) -> dict[str, Any]:
        return {"room": 7}

    @step
    async def wait(ctx: Any) -> None:
        await asyncio.sleep(60)

    async with serve(dsn, Pipeline("late", 1, chain(reserve, wait))):
        job_id: UUID = await Client(pool=pool).enqueue("late", {}, deadline_s=1.0)
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "DEADLINE_EXCEEDED") or row[
        "error_code"
    ] == "STEP_TIMEOUT"
    assert undone == [{"room": 7}]


async def test_a_job_ends_with_its_own_error_however_long_the_names_of_its_calls_are(
    dsn: str, pool: Pool
) -> None:
    async def answer() -> dict[str, Any]:
        return {}

    async def undo(ctx: Any, output: Any) -> None:
        await ctx.call("u" * 200, answer)
        await ctx.call("u" * 200, answer)

    @step(compensate=undo)
    async def reserve(ctx: Any) -> dict[str, Any]:
        await ctx.call("n" * 200, answer)
        await ctx.call("n" * 200, answer)
        return {"room": 7}

    @step
    async def refuse(ctx: Any) -> None:
        raise PermanentException("no")

    async with serve(dsn, Pipeline("talk", 1, chain(reserve, refuse))):
        job_id: UUID = await Client(pool=pool).enqueue("talk", {})
        row = await wait_status(pool, job_id)
    assert (row["status"], row["pipeline_step"], row["error_message"]) == ("failed", "refuse", "no")


@pytest.mark.parametrize("kind", ["def", "model"])
async def test_a_compensator_is_called_as_it_is_declared(dsn: str, pool: Pool, kind: str) -> None:
    undone: list[Any] = []

    def give_back(ctx: Any, room: dict[str, Any]) -> None:
        undone.append((ctx.step, room["number"]))

    async def give_back_room(ctx: Any, output: Room) -> dict[str, Any]:
        undone.append((ctx.step, output.number))
        return {"said": "thanks"}

    @step(compensate=give_back if kind == "def" else give_back_room)
    async def hire(ctx: Any) -> dict[str, Any]:
        return {"number": 7}

    @step
    async def refuse(ctx: Any) -> None:
        raise PermanentException("no")

    async with serve(dsn, Pipeline("hiring", 1, chain(hire, refuse))):
        job_id = await Client(pool=pool).enqueue("hiring", {})
        row = await wait_status(pool, job_id)
    assert (row["pipeline_step"], row["error_message"]) == ("refuse", "no")
    assert undone == [("undo:hire", 7)]


async def test_a_compensator_has_what_it_needs_and_keeps_to_its_limits(dsn: str, pool: Pool) -> None:
    most, now_in = 0, 0

    class Desk:
        """What the compensator needs."""

    @step(needs=[Desk], limits=[Limit("desk", size=1)], lane="desk")
    async def give_back(ctx: Any, output: Any) -> None:
        nonlocal most, now_in
        ctx.use(Desk)
        now_in += 1
        most = max(most, now_in)
        await asyncio.sleep(0.02)
        now_in -= 1

    @step(compensate=give_back)
    async def hire(ctx: Any) -> dict[str, Any]:
        return {}

    @step
    async def refuse(ctx: Any) -> None:
        raise PermanentException("no")

    pipeline = Pipeline("hiring", 1, chain(hire, refuse))
    with pytest.raises(DefinitionError, match=r"step undo:hire of hiring@1 needs Desk"):
        async with serve(dsn, pipeline):
            pass
    async with serve(dsn, pipeline, resources={Desk: Desk()}):
        await Client(pool=pool).enqueue_many("hiring", [{}] * 5)
        assert await wait_all_ended(pool, 5) == {"failed": 5}
    assert most == 1


async def undo_anew(ctx: Any, output: Any) -> None:
    ctx.continue_as_new({})


@step(name="paid", compensate=undo_anew)
async def pays(ctx: Any, input: Any) -> None: ...


@step(name="breaks")
async def breaks(ctx: Any, input: Any) -> None:
    raise PermanentException("its own error")


async def test_a_compensator_can_not_turn_a_failing_job_into_a_new_run(dsn: str, pool: Pool) -> None:
    async with serve(dsn, Pipeline("reborn", version=1, steps=chain(pays, breaks))):
        row = await wait_status(pool, await Client(pool=pool).enqueue("reborn", {}))
    assert (row["status"], row["error_code"]) == ("failed", "DEFINITION_INVALID")
    assert len(await query(pool, "SELECT FROM rkyc.job")) == 1
    (letter,) = await query(pool, "SELECT reason FROM rkyc.dead_letter")
    assert letter["reason"] == "compensation_failed"


async def test_a_step_that_the_code_lost_ends_its_job_and_what_was_done_is_undone(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    stops = step(name="stops")(_wait_for_go)
    renamed = step(name="renamed")(_wait_for_go)
    kept = registry.latest("booking").place("flight").step
    client = Client(pool=pool)
    async with serve(dsn, Pipeline("moved", version=1, steps=chain(kept, stops))):
        job_id = await client.enqueue("moved", make_input(tmp_path, 1))
        await wait_for(lambda: _waits(pool), what="a job that waits in its second step")
    async with serve(dsn, Pipeline("moved", version=1, steps=chain(kept, renamed))):
        await client.signal(job_id, "go", {})
        row = await wait_status(pool, job_id)
    assert (row["status"], row["error_code"]) == ("failed", "DEFINITION_INVALID")
    assert told(tmp_path, "acted", "undone") == [("acted", "flight"), ("undone", "undo:flight")]


async def _wait_for_go(ctx: Any, input: Any) -> None:
    await ctx.wait_signal("go")


async def _waits(pool: Pool) -> bool:
    return bool(await query(pool, "SELECT FROM rkyc.waiting WHERE kind = 'signal'"))
