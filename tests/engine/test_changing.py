"""Jobs that are started again in part: from a step, as a fork, or where something changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from rkyc.engine.client import Client
from rkyc.errors import ConflictError, InvalidInputError, NotFoundError, PermanentException
from rkyc.flow import payload
from rkyc.flow.graph import Part, chain, group, map_over, route
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.crashes import entries, make_input
from tests.support.engine import announce, query, serve, wait_status
from tests.support.probes import tell

pytestmark = pytest.mark.anyio


@step
async def first(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "ran")
    return {"n": job.get("n", 1)}


@step
async def ask(ctx: Any, input: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Spend a cent on an answer that is remembered."""

    async def answer() -> dict[str, Any]:
        tell(ctx, job, "asked")
        return {"n": input["n"] * 10, "usage": {"tokens_in": 3, "tokens_out": 4, "cost_usd": 0.01}}

    tell(ctx, job, "ran")
    return {"n": (await ctx.call("ask", answer))["n"]}


@step
async def add(ctx: Any, input: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    tell(ctx, job, "ran")
    if job.get("fails"):
        raise PermanentException("meant to fail")
    return {"n": sum(v["n"] for v in input.values()) if "n" not in input else input["n"] + 1}


CHAIN = Pipeline("sums", 1, chain(first, ask, ask.named("ask_again"), add))
FORKED = Pipeline("forked_sums", 1, chain(first, group(ask.named("left"), ask.named("right")), add))


def ran(folder: Path, what: str = "ran") -> list[str]:
    return [entry.step for entry in entries(folder) if entry.what == what]


async def run(pool: Pool, pipeline: str, input: dict[str, Any]) -> UUID:
    job_id = await Client(pool=pool).enqueue(pipeline, input)
    await wait_status(pool, job_id)
    return job_id


async def test_an_ended_job_runs_again_from_a_step_and_asks_anew(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, CHAIN):
        job_id = await run(pool, "sums", make_input(tmp_path, 1))
        await client.retry_from(job_id, "ask_again")
        row = await wait_status(pool, job_id, "completed")
    assert payload.decode(row["result"]) == {"n": 101}
    assert ran(tmp_path) == ["first", "ask", "ask_again", "add", "ask_again", "add"]
    assert ran(tmp_path, "asked") == ["ask", "ask_again", "ask_again"], "what is run again is asked again"
    assert float(row["cost_usd"]) == pytest.approx(0.03), "what was paid stays on the bill"
    aside = await query(pool, "SELECT step, was_result, output FROM rkyc.superseded_checkpoint ORDER BY seq")
    assert [tuple(one) for one in aside] == [
        ("ask_again", False, '{"n": 100}'),
        ("add", True, '{"n": 101}'),
    ]
    steps = await query(pool, "SELECT step FROM rkyc.checkpoint ORDER BY seq")
    assert [one["step"] for one in steps] == ["first", "ask", "ask_again"]


async def test_calls_whose_names_are_as_long_as_can_be_are_asked_anew(dsn: str, pool: Pool) -> None:
    asked: list[str] = []

    async def answer() -> dict[str, Any]:
        asked.append("call")
        return {}

    @step
    async def talk(ctx: Any) -> None:
        await ctx.call("n" * 200, answer)
        await ctx.call("n" * 200, answer)
        await ctx.wait_signal("s" * 193, timeout_s=0.0, default=None)

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("talk", 1, chain(talk))):
        job_id = await run(pool, "talk", {})
        await client.retry_from(job_id, "talk")
        assert (await wait_status(pool, job_id))["status"] == "completed"
    assert len(asked) == 4


async def test_a_failed_branch_alone_can_be_run_again(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, FORKED):
        job_id = await run(pool, "forked_sums", make_input(tmp_path, 1))
        for _ in range(2):
            await client.retry_from(job_id, "left")
            row = await wait_status(pool, job_id, "completed")
            assert payload.decode(row["result"]) == {"n": 20}
    assert sorted(ran(tmp_path)) == sorted(["first", "right", *["left", "add"] * 3])


async def test_a_job_that_goes_on_or_a_step_that_is_not_there_is_refused(dsn: str, pool: Pool) -> None:
    await announce(pool, CHAIN)
    client = Client(pool=pool)
    job_id = await client.enqueue("sums", {})
    with pytest.raises(ConflictError, match="has not ended"):
        await client.retry_from(job_id, "ask")
    with pytest.raises(InvalidInputError, match="no step is called 'nothing'"):
        await client.fork(job_id, "nothing")
    with pytest.raises(NotFoundError):
        await client.fork(uuid4(), "ask")
    with pytest.raises(ConflictError, match="has not ended"):
        await client.rerun(job_id)


async def test_a_fork_keeps_what_was_done_and_shows_what_differs(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, CHAIN):
        job_id = await run(pool, "sums", make_input(tmp_path, 1))
        forked = await client.fork(job_id, "ask_again", outputs={"ask": {"n": 70}})
        row = await wait_status(pool, forked, "completed")
        assert payload.decode(row["result"]) == {"n": 701}
        assert payload.decode(row["metadata"])["forked_from"] == str(job_id)
        assert float(row["cost_usd"]) == pytest.approx(0.01), "a fork pays for its own calls alone"
    diff = await client.diff(job_id, forked)
    assert {name: [one.path for one in found] for name, found in diff.steps.items()} == {
        "ask": ["/n"],
        "ask_again": ["/n"],
        "add": ["/n"],
    }
    assert (diff.before["cost_usd"], diff.after["cost_usd"]) == pytest.approx((0.02, 0.01))
    assert diff.after["taken_over_usd"] == pytest.approx(0.01)
    assert ran(tmp_path) == ["first", "ask", "ask_again", "add", "ask_again", "add"]
    runs = await client.runs(forked)
    assert [(one["job_id"], one["kind"], one["source_id"]) for one in runs] == [
        (job_id, None, None),
        (forked, "fork", job_id),
    ]


async def test_a_fork_of_one_branch_joins_with_what_the_others_left(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, FORKED):
        job_id = await run(pool, "forked_sums", make_input(tmp_path, 1))
        forked = await client.fork(job_id, "left", outputs={"first": {"n": 5}})
        row = await wait_status(pool, forked, "completed")
    assert payload.decode(row["result"]) == {"n": 60}, "50 of the branch that ran again, 10 of the one kept"


async def test_a_fork_of_a_running_job_leaves_it_alone(dsn: str, pool: Pool, tmp_path: Path) -> None:
    client = Client(pool=pool)
    async with serve(dsn, CHAIN):
        job_id = await run(pool, "sums", make_input(tmp_path, 1, fails=True))
        assert (await wait_status(pool, job_id))["status"] == "failed"
        forked = await client.fork(job_id, "add", input=make_input(tmp_path, 1))
        assert (await wait_status(pool, forked))["status"] == "completed"
        assert (await wait_status(pool, job_id))["status"] == "failed"


async def test_only_an_output_that_is_kept_can_be_set(dsn: str, pool: Pool, tmp_path: Path) -> None:
    async with serve(dsn, CHAIN):
        job_id = await run(pool, "sums", make_input(tmp_path, 1))
        with pytest.raises(InvalidInputError, match="not kept: expected one of first"):
            await Client(pool=pool).fork(job_id, "ask", outputs={"ask_again": {}})


async def test_a_rerun_runs_what_was_declared_anew_and_all_after_it(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    async with serve(dsn, CHAIN):
        job_id = await run(pool, "sums", make_input(tmp_path, 1))
        same = await client.rerun(job_id)
        assert (same.job_id, same.again) == (None, ())
        assert same.saved_usd == pytest.approx(0.02)
    prompted = ask.with_policy(fingerprint=("ask@2",))
    changed = Pipeline("sums", 1, chain(first, ask, prompted.named("ask_again"), add))
    async with serve(dsn, changed):
        planned = await client.rerun(job_id, dry_run=True)
        assert planned.job_id is None
        rerun = await client.rerun(job_id)
        assert rerun.job_id is not None
        row = await wait_status(pool, rerun.job_id, "completed")
        assert rerun.again == planned.again == ("ask_again", "add")
        assert rerun.reasons == {
            "ask_again": "nothing became ask@2",
            "add": "it comes after a step that runs again",
        }
        assert rerun.before_usd == pytest.approx(0.02)
        assert rerun.saved_usd == pytest.approx(0.01)
        # The copies were made under the old declarations, and what ran under the new ones: nothing is left to do.
        assert (await client.rerun(rerun.job_id)).again == ()
    assert payload.decode(row["metadata"])["rerun_of"] == str(job_id)
    assert ran(tmp_path) == ["first", "ask", "ask_again", "add", "ask_again", "add"]


@step
async def choose(ctx: Any) -> str:
    return "x"


@step
async def give(ctx: Any) -> list[int]:
    return [1, 2]


@step
async def give_nothing(ctx: Any) -> list[int]:
    return []


@step
async def work(ctx: Any) -> dict[str, Any]:
    return {}


@step
async def break_down(ctx: Any) -> dict[str, Any]:
    raise PermanentException("meant to fail")


PAST = {
    "route": route(choose, {"x": work.named("x"), "y": work.named("y")}),
    "optional chain": chain(break_down, work.named("past"), optional=True),
    "empty map": chain(give_nothing, map_over(work.named("item")), work.named("all")),
    "route in a map": chain(
        give, map_over(route(choose, {"x": work.named("x"), "y": work.named("y")})), work.named("all")
    ),
}


@pytest.mark.parametrize("way", PAST)
async def test_a_rerun_leaves_alone_what_its_job_went_past(dsn: str, pool: Pool, way: str) -> None:
    def build(part: Part, version: str) -> Pipeline:
        return Pipeline("past", 1, chain(work, part, work.named("last").with_policy(version=version)))

    client = Client(pool=pool)
    async with serve(dsn, build(PAST[way], "1")):
        job_id = await run(pool, "past", {})
        assert (await client.rerun(job_id)).again == ()
    async with serve(dsn, build(PAST[way], "2")):
        rerun = await client.rerun(job_id)
        assert rerun.again == ("last",)
        assert rerun.job_id is not None
        await wait_status(pool, rerun.job_id, "completed")
        again = (await client.rerun(job_id, input={"n": 2}, dry_run=True)).again
        assert (again[0], again[-1]) == ("work", "last")
        await client.rerun(job_id, degraded=True, dry_run=True)


async def test_another_input_runs_everything_again_and_the_newest_version_is_taken(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    client = Client(pool=pool)
    newer = Pipeline("sums", 2, chain(first, ask, add))
    async with serve(dsn, CHAIN):
        job_id = await run(pool, "sums", make_input(tmp_path, 1))
        with_input = await client.rerun(job_id, input={"n": 2}, dry_run=True)
        assert with_input.again == ("first", "ask", "ask_again", "add")
    async with serve(dsn, newer):
        plan = await client.rerun(job_id, dry_run=True)
        assert (plan.version, plan.again) == (2, ())
        for version in (3, 0, 2**40, -(2**40)):
            for start in (client.rerun(job_id, version=version), client.fork(job_id, "ask", version=version)):
                with pytest.raises(NotFoundError, match=f"no version {version} "):
                    await start


async def test_null_is_an_input_like_any_other(dsn: str, pool: Pool) -> None:
    @step
    async def show(ctx: Any, job: Any) -> Any:
        return {"job": job}

    client = Client(pool=pool)
    async with serve(dsn, Pipeline("showing", 1, chain(show, work))):
        job_id = await client.enqueue("showing", {"n": 1})
        await wait_status(pool, job_id)
        rerun = await client.rerun(job_id, input=None)
        assert rerun.again == ("show", "work")
        for new, expected in (
            (rerun.job_id, None),
            (await client.fork(job_id, "show", input=None), None),
            (await client.fork(job_id, "show"), {"n": 1}),
        ):
            assert new is not None
            await wait_status(pool, new, "completed")
            assert await client.output(new, "show") == {"job": expected}


async def test_what_a_kept_step_saved_is_carried_over_or_the_fork_is_refused(
    dsn: str, pool: Pool, tmp_path: Path
) -> None:
    await query(pool, "CREATE TABLE public.carried (job uuid PRIMARY KEY)")

    async def save(conn: Any, output: dict[str, Any]) -> None:
        await conn.execute("INSERT INTO public.carried VALUES ($1)", UUID(output["id"]))

    async def carry(conn: Any, source_job_id: UUID, job_id: UUID) -> None:
        await conn.execute(
            "INSERT INTO public.carried SELECT $2 FROM public.carried WHERE job = $1", source_job_id, job_id
        )

    @step(save=save, carry=carry)
    async def keep(ctx: Any) -> dict[str, Any]:
        return {"id": str(ctx.job_id), "n": 1}

    carrying = Pipeline("carrying", 1, chain(keep, add))
    client = Client(pool=pool)
    async with serve(dsn, carrying):
        job_id = await run(pool, "carrying", make_input(tmp_path, 1))
        with pytest.raises(ConflictError, match="step keep saved rows that must be carried over"):
            await client.fork(job_id, "add")
        assert len(await query(pool, "SELECT FROM rkyc.job")) == 1, "a refused fork leaves nothing"
        forked = await client.fork(job_id, "add", registry=Registry([carrying]))
        await wait_status(pool, forked, "completed")
    assert {row["job"] for row in await query(pool, "SELECT job FROM public.carried")} == {job_id, forked}
