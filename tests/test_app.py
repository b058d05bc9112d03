"""The composition root: registries by name, resources by type, a store that is brought up to date."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.app import load_registry, make_resources, open_app, with_defaults
from rkyc.cli.working import working
from rkyc.config import load_settings
from rkyc.errors import ConfigError, DefinitionError, RetryableException, UnknownPipelineError
from rkyc.flow.batch import Batch
from rkyc.flow.context import StepContext
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import Track
from rkyc.providers.search.router import Search
from rkyc.store.pool import Pool
from tests.support.engine import wait_for, wait_status

OWN = """
from rkyc import Pipeline, Registry, chain, step

@step
async def double(ctx, input: dict) -> dict:
    return {"n": input["n"] * 2}

registry = Registry([Pipeline("doubling", version=1, steps=chain(double, double.named("double_again")))])
not_a_registry = 7
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_flows.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "own_flows", raising=False)
    return "own_flows"


def test_the_built_in_pipeline_is_served_beside_ones_own(own_module: str) -> None:
    registry = load_registry([f"{own_module}:registry"])
    assert {pipeline.name for pipeline in registry} == {"kyc", "doubling"}
    assert {pipeline.name for pipeline in load_registry([f"{own_module}:registry"], only_app=True)} == {
        "doubling"
    }


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("nowhere_to_be_found:registry", ConfigError, "no module nowhere_to_be_found"),
        ("own_flows", ConfigError, "MODULE:REGISTRY"),
        ("own_flows:not_a_registry", DefinitionError, "expected a rkyc.Registry"),
        ("own_flows:missing", DefinitionError, "expected a rkyc.Registry"),
    ],
)
def test_a_registry_that_is_not_there_is_named(
    own_module: str, spec: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        load_registry([spec])


def test_only_app_without_an_app_is_refused() -> None:
    with pytest.raises(ConfigError, match="--app"):
        load_registry(only_app=True)


def test_an_unknown_pipeline_names_the_known_ones() -> None:
    with pytest.raises(UnknownPipelineError, match="expected one of kyc"):
        load_registry().latest("kcy")


@pytest.mark.anyio
async def test_without_keys_every_provider_is_its_offline_stand_in(pool: Pool) -> None:
    resources = make_resources(load_settings({}), pool, load_registry())
    assert not resources[Llm].available(Track.EXTERNAL)
    assert not resources[Llm].available(Track.INTERNAL)
    assert not resources[Search].available
    assert resources[Embedder].model.startswith("lexical-hash")


@pytest.mark.anyio
async def test_keys_bring_the_vendors_in_the_order_of_the_chain(pool: Pool) -> None:
    settings = load_settings(
        {
            "ANTHROPIC_API_KEY": "a",
            "OPENAI_API_KEY": "b",
            "PERPLEXITY_API_KEY": "c",
            "INTERNAL_LLM_BASE_URL": "http://127.0.0.1:1/v1",
            "INTERNAL_LLM_MODEL": "house",
        }
    )
    resources = make_resources(settings, pool, load_registry())
    assert resources[Llm].available(Track.EXTERNAL)
    assert list(resources[Llm].models(Track.INTERNAL)) == ["internal/house"]
    assert resources[Search].available


@pytest.mark.anyio
async def test_a_core_registry_needs_no_provider(pool: Pool) -> None:
    assert set(make_resources(load_settings({}), pool, Registry())) == {Pool}


@step
async def undeclared(ctx: StepContext, input: dict[str, Any]) -> dict[str, Any]:
    if input["fails"]:
        raise RetryableException("again")
    await asyncio.sleep(60)
    return input


@step(retry=RetryPolicy(max_attempts=2), timeouts=Timeouts(start_to_close=600))
async def declared(ctx: StepContext, input: dict[str, Any]) -> dict[str, Any]:
    return input


async def read_due(pool: Pool, job_id: UUID) -> float | None:
    """Return the seconds until the retry of a job that waits for one."""
    async with pool.connection() as conn:
        return await conn.fetchval(
            "SELECT extract(epoch FROM due_at - now())::float FROM rkyc.job_status WHERE job_id = $1 AND due_at IS NOT NULL",
            job_id,
        )


POLICIES = Registry([Pipeline("policies", version=1, steps=chain(undeclared, declared))])


@pytest.mark.anyio
async def test_the_task_settings_are_the_policy_of_steps_that_declare_none(dsn: str) -> None:
    settings = load_settings({"TASK_TIME_LIMIT": "0.2", "TASK_MAX_RETRIES": "0"})
    async with open_app(settings, dsn=dsn, registry=POLICIES) as app, working(app.make_worker()):
        job_id = await app.client.enqueue("policies", {"fails": False})
        status = await wait_status(app.pool, job_id, "failed")
        assert status["error_code"] == "STEP_TIMEOUT"
    place = app.registry.latest("policies").place("declared")
    assert place.step.timeouts.start_to_close == 600 and place.step.retry.max_attempts == 2


@pytest.mark.anyio
async def test_a_retry_of_a_step_without_a_policy_waits_as_the_settings_say(dsn: str) -> None:
    settings = load_settings({"TASK_DEFAULT_RETRY_DELAY": "60", "TASK_SOFT_TIME_LIMIT": "240"})
    async with open_app(settings, dsn=dsn, registry=POLICIES) as app, working(app.make_worker()):
        job_id = await app.client.enqueue("policies", {"fails": True})
        due = await wait_for(lambda: read_due(app.pool, job_id))
        assert due > 50


async def undo(ctx: StepContext, output: Any) -> None: ...


@step(compensate=undo)
async def undone(ctx: StepContext, input: Any) -> None: ...


@step(batch=Batch(2, 0.1))
async def gathered(ctx: Any, inputs: list[Any]) -> list[Any]:
    return inputs


def test_the_task_settings_reach_compensators_and_batches() -> None:
    given = Registry([Pipeline("policies", version=1, steps=chain(undone, gathered))])
    settings = load_settings({"TASK_TIME_LIMIT": "7", "TASK_SOFT_TIME_LIMIT": "6", "TASK_MAX_RETRIES": "0"})
    graph = with_defaults(given, settings).latest("policies").graph
    compensator = graph.undo["undo:undone"].step
    assert (compensator.timeouts, compensator.retry.max_attempts) == (Timeouts(start_to_close=7, soft=6), 1)
    assert graph.places["gathered"].step.timeouts == Timeouts(start_to_close=7)


def test_every_built_in_step_has_a_limit_of_its_own() -> None:
    """So that the defaults are only for the pipelines of others."""
    for pipeline in load_registry():
        for place in pipeline.graph.places.values():
            assert place.step.timeouts.start_to_close is not None, place.name


@pytest.mark.anyio
async def test_opening_migrates_and_makes_the_pipelines_known(empty_dsn: str) -> None:
    async with (
        open_app(load_settings({}), dsn=empty_dsn, registry=load_registry()) as app,
        app.pool.connection() as conn,
    ):
        assert await conn.fetchval("SELECT name FROM rkyc.pipeline_version") == "kyc"
