"""The places of compensators: what a graph says of them, and which can't be."""

from __future__ import annotations

from typing import Any

import pytest

from rkyc.errors import DefinitionError
from rkyc.flow.batch import Batch
from rkyc.flow.graph import chain, group, map_over
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import step


async def undo(ctx: Any, output: Any) -> None: ...


@step(lane="back", name="undo_there")
async def undo_elsewhere(ctx: Any, output: Any) -> None: ...


@step(compensate=undo)
async def act(ctx: Any) -> list[Any]:
    return []


plain = act.with_policy(compensate=None)


def test_a_graph_tells_what_can_be_undone_the_last_step_first_and_where() -> None:
    pipeline = Pipeline(
        "saga",
        1,
        chain(
            act.named("a"),
            group(plain.named("b"), act.named("c").with_policy(compensate=undo_elsewhere)),
            act.named("d"),
            map_over(act.named("e")),
            plain.named("f"),
        ),
    )
    said = pipeline.graph.describe()["undo"]
    (branch,) = {place.map for place in pipeline.graph.places.values() if place.map}
    assert said == [
        {"step": "e", "lane": None, "map": branch},
        {"step": "d", "lane": None},
        {"step": "c", "lane": "back"},
        {"step": "a", "lane": None},
    ]
    assert [*pipeline.graph.undo] == ["undo:e", "undo:e:item", "undo:d", "undo:c", "undo:a", "undo:end"]
    assert pipeline.lanes == {"back"}, "a worker serves the compensators' lanes too"
    assert all(place.is_undo for place in pipeline.graph.undo.values())


def test_a_graph_without_compensators_says_nothing_of_them() -> None:
    assert "undo" not in Pipeline("plain", 1, chain(plain.named("a"), plain.named("b"))).graph.describe()


@pytest.mark.parametrize("name", ["begin", "end"])
def test_a_step_that_would_take_a_name_of_the_undoing_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"step {name} has a compensator"):
        Pipeline("saga", 1, act.named(name))
    Pipeline("saga", 1, plain.named(name))


def test_a_compensator_that_can_not_be_called_is_refused() -> None:
    async def greedy(ctx: Any, output: Any, more: Any) -> None: ...

    @step(batch=Batch(size=2, within_s=1.0))
    async def many(ctx: Any, inputs: list[Any]) -> list[Any]:
        return inputs

    for wrong in (greedy, many):
        with pytest.raises(
            DefinitionError, match=r"can't be called: expected `async def \w+\(ctx, output\)`"
        ):
            step(compensate=wrong)(act.fn)
