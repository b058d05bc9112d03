"""Routes and optional chains run end to end: one way is taken, the others are skipped and shown so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import PermanentException
from rkyc.flow.graph import chain, chord, group, route
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, wait_for, wait_status
from tests.support.graphs import choose

pytestmark = pytest.mark.anyio


@step
async def classify(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"kind": input.get("kind")}


@step
async def mark(ctx: Any, input: Any) -> Any:
    return [ctx.step, input]


@step
async def fail(ctx: Any, input: Any) -> Any:
    raise PermanentException("meant to fail")


def marks(*names: str) -> Any:
    return chain(*(mark.named(name) for name in names))


ROUTED = Pipeline(
    "routed",
    1,
    chain(
        route(
            classify,
            {"long": marks("a1", "a2"), "wide": group(marks("b1"), marks("b2")), "none": None},
            default=marks("other"),
            by="kind",
        ),
        mark.named("last"),
    ),
)


@pytest.mark.parametrize(
    ("kind", "result", "taken"),
    [
        ("long", ["a2", ["a1", {"kind": "long"}]], {"a1", "a2"}),
        (
            "wide",
            {"b1": ["b1", {"kind": "wide"}], "b2": ["b2", {"kind": "wide"}]},
            {"start_1", "b1", "b2", "collect_1"},
        ),
        ("none", {"kind": "none"}, {"skip_1"}),
        ("strange", ["other", {"kind": "strange"}], {"other"}),
        (None, ["other", {"kind": None}], {"other"}),
    ],
)
async def test_the_part_that_the_output_names_runs_and_the_others_are_skipped(
    dsn: str, pool: Pool, kind: str | None, result: Any, taken: set[str]
) -> None:
    async with serve(dsn, ROUTED):
        row = await wait_status(pool, await Client(pool=pool).enqueue("routed", {"kind": kind}))
    assert json.loads(row["result"]) == ["last", result]
    rows = await query(pool, "SELECT step, status FROM rkyc.step_status")
    arms = {row["step"] for row in rows} - {"classify", "last"}
    assert {row["step"] for row in rows if row["status"] == "completed"} == {"classify", "last"} | taken
    assert {row["step"] for row in rows if row["status"] == "skipped"} == arms - taken


async def test_what_a_route_went_past_is_shown_as_skipped_at_once(dsn: str, pool: Pool) -> None:
    """Not only when the job has ended: here it waits for a lane that nobody serves."""
    pipeline = Pipeline(
        "waiting_arm",
        1,
        route(classify, {"a": mark.with_policy(lane="elsewhere"), "b": marks("b")}, by="kind"),
    )
    async with serve(dsn, pipeline, lanes=("default",)):
        one = await Client(pool=pool).enqueue("waiting_arm", {"kind": "a"})
        await wait_status(pool, one, "pending")

        async def look() -> dict[str, str]:
            rows = await query(pool, "SELECT step, status FROM rkyc.step_status")
            return {row["step"]: row["status"] for row in rows}

        async def is_handed_on() -> bool:
            # Between its checkpoint and its release the task is still under lease.
            seen = await look()
            return seen["classify"] == "completed" and seen["mark"] != "running"

        await wait_for(is_handed_on)
        assert await look() == {"classify": "completed", "mark": "pending", "b": "skipped"}


async def test_a_key_that_no_part_has_fails_the_job_and_names_those_there_are(dsn: str, pool: Pool) -> None:
    pipeline = Pipeline("strict", 1, route(choose, {"pdf": marks("a"), 3: None, True: None}))
    async with serve(dsn, pipeline):
        client = Client(pool=pool)
        row = await wait_status(pool, await client.enqueue("strict", "image"))
        assert (row["status"], row["error_code"], row["pipeline_step"]) == (
            "failed",
            "OUTPUT_INVALID",
            "choose",
        )
        assert row["error_message"] == "step choose gave 'image' for its route: expected one of pdf, 3, true"
        assert row["error_attempts"] == 1
        for key in (3, True):
            assert (await wait_status(pool, await client.enqueue("strict", key)))["status"] == "completed"


async def test_a_member_that_takes_a_route_joins_under_the_name_of_what_ran(dsn: str, pool: Pool) -> None:
    pipeline = Pipeline(
        "routed_member",
        1,
        chord(
            [
                chain(classify, route(choose, {"x": marks("x")}, default=marks("y", "z"), by="kind")),
                marks("m"),
            ],
            mark,
        ),
    )
    async with serve(dsn, pipeline), serve(dsn, pipeline):
        client = Client(pool=pool)
        results = [
            json.loads(
                (await wait_status(pool, await client.enqueue("routed_member", {"kind": kind})))["result"]
            )[1]
            for kind in ("x", "other")
        ]
    assert [sorted(result) for result in results] == [["m", "x"], ["m", "z"]]


async def test_an_optional_chain_that_fails_is_left_and_the_rest_goes_on(dsn: str, pool: Pool) -> None:
    lenient = chain(mark.named("before"), fail, mark.named("never"), optional=True)
    pipeline = Pipeline(
        "lenient",
        1,
        chain(
            chord([lenient, marks("sure")], mark.named("joined")),
            chain(fail.named("f2"), marks("n2"), optional=True),
            mark.named("last"),
        ),
    )
    async with serve(dsn, pipeline):
        row = await wait_status(pool, await Client(pool=pool).enqueue("lenient", {}))
    assert (row["status"], row["partial"]) == ("completed", True)
    assert json.loads(row["result"]) == ["last", None]
    assert [(one["step"], one["items"][0]["code"]) for one in json.loads(row["warnings"])] == [
        ("fail", "PERMANENT"),
        ("f2", "PERMANENT"),
    ]
    rows = await query(pool, "SELECT c.output FROM rkyc.checkpoint c WHERE c.step = 'joined'")
    assert json.loads(rows[0]["output"]) == ["joined", {"never": None, "sure": ["sure", {}]}]
    skipped = await query(pool, "SELECT step FROM rkyc.step_status WHERE status = 'skipped'")
    assert {row["step"] for row in skipped} == {"never", "n2"}
