"""The seventh step: marks of change over runs, vectors or none, repeated and concurrent saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import numpy as np
import pytest

from rkyc.errors import EmbeddingPartialFailure, EmbeddingTimeoutError, RetryableException
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.embedding.types import Embedding
from rkyc.steps.kyc import index as index_step
from rkyc.steps.kyc.schemas import (
    DroppedDraft,
    IndexOut,
    KycInput,
    RiskSignalDraft,
    SnapshotOut,
    ValidationOut,
)
from rkyc.steps.kyc.signature import compute_signature
from rkyc.store.kyc.embeddings import read_embeddings
from rkyc.store.kyc.results import load_analysis
from rkyc.store.kyc.risk_signals import list_known, move_risk_signal
from rkyc.store.pool import Pool
from tests.support.context import InlineContext
from tests.support.kyc import make_draft, take_snapshot

pytestmark = pytest.mark.anyio


class CountingEmbedder:
    """Gives each text the vector (its length, 1); `error` is raised instead while it is set."""

    name = model = "counting"
    dim = 2

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.error: Exception | None = None

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> Embedding:
        self.batches.append(len(texts))
        if self.error is not None:
            raise self.error
        return Embedding(np.array([[len(text), 1] for text in texts], dtype=np.float32), self.model)

    async def aclose(self) -> None: ...


class Runs:
    """Runs of the step over one company, each in a job of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.provider = CountingEmbedder()

    async def start(self) -> tuple[InlineContext, SnapshotOut]:
        manifest = KycInput.model_validate({"corp": {"name": "한빛정밀", "biz_no": "999-81-27464"}})
        snapshot, first = await take_snapshot(self.pool, manifest)
        return InlineContext(self.pool, Embedder(self.provider), job_id=first.job_id), snapshot

    async def index(
        self, *drafts: RiskSignalDraft, below_cut: Sequence[RiskSignalDraft] = ()
    ) -> tuple[IndexOut, InlineContext]:
        ctx, snapshot = await self.start()
        report = ValidationOut(kept=list(drafts), below_cut=list(below_cut))
        output = await index_step.run(ctx, report, snapshot)
        await self.save(output)
        return output, ctx

    async def save(self, output: IndexOut) -> None:
        async with self.pool.transaction() as conn:
            await index_step.save(conn, output)

    async def load(self, ctx: InlineContext) -> dict[str, Any]:
        async with self.pool.connection() as conn:
            return await load_analysis(conn, ctx.job_id)


@pytest.fixture
def runs(pool: Pool) -> Runs:
    return Runs(pool)


async def test_new_then_unchanged_then_gone(runs: Runs) -> None:
    lawsuit, fire = make_draft(), make_draft(ref="https://news.example/2", event_type="ADVERSE_MEDIA")
    first, first_ctx = await runs.index(lawsuit, below_cut=[fire])
    again, again_ctx = await runs.index(lawsuit, below_cut=[fire])
    last, last_ctx = await runs.index(lawsuit)
    assert len(first.inserted) == 2
    assert (again.inserted, again.unchanged) == ([], first.inserted)
    assert (last.unchanged, last.gone) == (first.inserted[:1], first.inserted[1:])
    assert [item["change"] for item in (await runs.load(first_ctx))["signals"]] == ["NEW"]
    assert [item["change"] for item in (await runs.load(again_ctx))["below_cut"]] == ["UNCHANGED"]
    result = await runs.load(last_ctx)
    assert [(item["id"], item["change"]) for item in result["gone"]] == [(first.inserted[1], "GONE")]


async def test_gone_signal_that_returns_is_known(runs: Runs) -> None:
    first, _ = await runs.index(make_draft())
    await runs.index()
    back, _ = await runs.index(make_draft())
    assert back.unchanged == first.inserted


async def test_graver_facts_under_one_signature_are_changed(runs: Runs) -> None:
    first, first_ctx = await runs.index(make_draft(severity=3))
    second, second_ctx = await runs.index(make_draft(severity=5, title="다른 말"))
    assert (second.changed, second.gone) == (first.inserted, [])
    assert [item["severity"] for item in (await runs.load(first_ctx))["signals"]] == [3]
    assert [item["severity"] for item in (await runs.load(second_ctx))["signals"]] == [5]


async def test_other_words_alone_are_no_change(runs: Runs) -> None:
    first, _ = await runs.index(make_draft())
    second, _ = await runs.index(make_draft(title="Lawsuit", summary="A lawsuit was reported."))
    assert second.unchanged == first.inserted


async def test_dismissed_finding_with_a_further_source_comes_back_changed(runs: Runs) -> None:
    first, _ = await runs.index(make_draft())
    async with runs.pool.transaction() as conn:
        await move_risk_signal(
            conn, first.inserted[0], "DISMISSED", actor="analyst", reason_code="NOT_MATERIAL"
        )
    suppressed, _ = await runs.index()
    assert suppressed.gone == []
    evidence = [*make_draft().evidence, *make_draft(ref="https://dart.example/9").evidence]
    back, ctx = await runs.index(make_draft(evidence=evidence))
    assert len(back.changed) == 1
    assert back.changed != first.inserted
    assert [item["status"] for item in (await runs.load(ctx))["signals"]] == ["NEW"]


async def test_two_findings_from_one_page_do_not_continue_each_other(runs: Runs) -> None:
    one = make_draft(rule_id=None)
    evidence = [*one.evidence, *make_draft(ref="https://news.example/3").evidence]
    both = make_draft(evidence=evidence)
    await runs.index(one)
    output, _ = await runs.index(one, both)
    assert (len(output.unchanged), len(output.inserted), output.changed) == (1, 1, [])


async def test_same_signature_twice_in_a_run_is_kept_once(runs: Runs) -> None:
    output, ctx = await runs.index(make_draft(), below_cut=[make_draft(title="wieder")])
    assert len(output.inserted) == 1
    result = await runs.load(ctx)
    assert (len(result["signals"]), len(result["below_cut"])) == (1, 0)


async def test_repeated_save_is_harmless(runs: Runs) -> None:
    output, ctx = await runs.index(make_draft())
    await runs.save(output)
    assert len((await runs.load(ctx))["signals"]) == 1
    async with runs.pool.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM rkyc.evidence") == 1


async def test_step_that_runs_again_in_its_job_reports_new_again(runs: Runs) -> None:
    ctx, snapshot = await runs.start()
    report = ValidationOut(kept=[make_draft()])
    first = await index_step.run(ctx, report, snapshot)
    await runs.save(first)
    ctx.next_attempt()
    second = await index_step.run(ctx, report, snapshot)
    await runs.save(second)
    assert second.inserted == first.inserted
    assert runs.provider.batches == [1]


async def test_two_runs_at_once_end_with_one_risk_signal(runs: Runs) -> None:
    report = ValidationOut(kept=[make_draft()])
    (one_ctx, snapshot), (other_ctx, _) = await runs.start(), await runs.start()
    one = await index_step.run(one_ctx, report, snapshot)
    other = await index_step.run(other_ctx, report, snapshot)
    await runs.save(one)
    with pytest.raises(RetryableException, match="same moment"):
        await runs.save(other)
    other_ctx.next_attempt()
    other = await index_step.run(other_ctx, report, snapshot)
    await runs.save(other)
    assert other.unchanged == one.inserted


async def test_vectors_are_kept_in_batches_of_a_hundred(runs: Runs) -> None:
    drafts = [make_draft(ref=f"https://news.example/{number}") for number in range(101)]
    output, _ = await runs.index(*drafts[:5], below_cut=drafts[5:])
    assert runs.provider.batches == [100, 1]
    assert output.embedding_model == "counting"
    async with runs.pool.connection() as conn:
        rows = await read_embeddings(
            conn, owner_type="risk_signal", model="counting", owner_ids=output.inserted
        )
    text = f"{drafts[0].title}\n{drafts[0].summary}"
    assert len(rows) == 101
    assert rows[0]["vector"] == [len(text), 1]


async def test_embedding_failure_leaves_the_signals_and_marks_the_job_partial(runs: Runs) -> None:
    runs.provider.error = EmbeddingPartialFailure("no vectors today")
    output, ctx = await runs.index(make_draft())
    assert (len(output.inserted), output.embedding_model) == (1, None)
    assert [(item["code"], item["partial"]) for item in ctx.warnings] == [("EMBEDDING_PARTIAL_FAILURE", True)]


async def test_silent_provider_is_tried_again_and_then_left_out(runs: Runs) -> None:
    runs.provider.error = EmbeddingTimeoutError("no answer")
    ctx, snapshot = await runs.start()
    report = ValidationOut(kept=[make_draft()])
    for _ in range(2):
        with pytest.raises(EmbeddingTimeoutError):
            await index_step.run(ctx, report, snapshot)
        ctx.next_attempt()
    output = await index_step.run(ctx, report, snapshot)
    await runs.save(output)
    assert ctx.warnings[0]["code"] == "EMBEDDING_PARTIAL_FAILURE"


async def test_dropped_drafts_are_told(runs: Runs) -> None:
    ctx, snapshot = await runs.start()
    dropped = DroppedDraft(title="소문", reason="QUOTE_NOT_FOUND", detail="the quote is not in the text")
    await runs.save(await index_step.run(ctx, ValidationOut(dropped=[dropped]), snapshot))
    assert (await runs.load(ctx))["dropped"] == [dropped.model_dump()]


async def test_unverified_evidence_alone_is_refused_by_the_database(runs: Runs) -> None:
    ctx, snapshot = await runs.start()
    output = await index_step.run(ctx, ValidationOut(kept=[make_draft(check="FAILED")]), snapshot)
    with pytest.raises(asyncpg.CheckViolationError, match="no verified evidence"):
        await runs.save(output)


async def test_known_signals_tell_what_validation_compares_with(runs: Runs) -> None:
    output, _ = await runs.index(make_draft())
    async with runs.pool.connection() as conn:
        known = await list_known(conn, (await runs.start())[1].corp_id)
    assert [(row["id"], row["signature"], row["refs"], row["best_grade"]) for row in known] == [
        (output.inserted[0], compute_signature(make_draft()), ["https://news.example/1"], "B")
    ]
