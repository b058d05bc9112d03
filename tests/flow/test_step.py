"""What `@step` reads at definition, and what it refuses there."""

from __future__ import annotations

import functools
from typing import Any

import pydantic
import pytest

from rkyc.errors import DefinitionError, OutputInvalidError, ValidationError
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import step


class Amount(pydantic.BaseModel):
    value: int


@step
async def double(ctx: Any, input: Amount) -> Amount:
    return Amount(value=input.value * 2)


def test_an_input_of_the_declared_type_is_built_from_its_json() -> None:
    assert double.read_arguments({"input": {"value": 4}}) == {"input": Amount(value=4)}


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, {"value": "four"}, {"value": 1.5}])
def test_an_input_of_another_shape_is_refused_without_showing_it(value: Any) -> None:
    with pytest.raises(ValidationError, match="step double: input has a wrong shape") as caught:
        double.read_arguments({"input": value})
    assert "four" not in str(caught.value)


def test_an_output_of_another_shape_is_refused() -> None:
    assert double.check_output({"value": 3}) == Amount(value=3)
    with pytest.raises(OutputInvalidError, match="step double returned a wrong shape"):
        double.check_output({"value": "three"})


def test_a_model_of_another_class_is_no_valid_output() -> None:
    class Other(pydantic.BaseModel):
        name: str = "x"

    with pytest.raises(OutputInvalidError):
        double.check_output(Other())


def test_a_plain_function_keeps_its_name_and_its_signature() -> None:
    @step
    def plain(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
        return input

    assert (plain.name, plain.task_name, [one.name for one in plain.wanted]) == ("plain", "plain", ["input"])
    assert plain.blocking is not None


async def no_context() -> None: ...
async def any_arguments(ctx: Any, *inputs: Any) -> None: ...
async def any_names(ctx: Any, **inputs: Any) -> None: ...
async def only_by_place(ctx: Any, input: Any, /) -> None: ...


@pytest.mark.parametrize("function", [no_context, any_arguments, any_names, only_by_place])
def test_a_signature_that_says_nothing_about_inputs_is_refused(function: Any) -> None:
    with pytest.raises(DefinitionError):
        step(function)


@pytest.mark.parametrize(
    "name", ["", "Upper", "with space", "1st", "input", "job", "ctx", "a" * 64, "ü", "a\n"]
)
def test_a_name_that_can_not_be_used_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="can't be used"):
        double.named(name)


@pytest.mark.parametrize("lane", ["", "Upper", "a b", "-x", "a" * 64, "x\n"])
def test_a_lane_that_can_not_be_used_is_refused(lane: str) -> None:
    with pytest.raises(DefinitionError, match="lane"):
        step(lane=lane)(double.fn)


def test_a_wrapped_function_is_still_a_step() -> None:
    @functools.wraps(double.fn)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        return await double.fn(*args, **kwargs)

    assert [want.name for want in step(wrapped).wanted] == ["input"]


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_that_lets_nothing_run_is_refused(concurrency: int) -> None:
    with pytest.raises(DefinitionError, match="concurrency"):
        step(concurrency=concurrency)(double.fn)


def test_one_version_of_a_pipeline_is_registered_once() -> None:
    pipeline = Pipeline("doubling", 1, double)
    with pytest.raises(DefinitionError, match="registered twice"):
        Registry([pipeline, Pipeline("doubling", 1, double)])
    assert len(Registry([pipeline, Pipeline("doubling", 2, double)])) == 2


@pytest.mark.parametrize("version", [0, -1, 2**31, "1", 1.5])
def test_a_version_that_can_not_be_stored_is_refused(version: Any) -> None:
    with pytest.raises(DefinitionError, match="version"):
        Pipeline("doubling", version, double)


def test_the_input_of_a_job_is_checked_against_its_first_step() -> None:
    pipeline = Pipeline("doubling", 1, double)
    pipeline.check_input({"value": 1})
    with pytest.raises(ValidationError, match="input of doubling"):
        pipeline.check_input({"value": "one"})
