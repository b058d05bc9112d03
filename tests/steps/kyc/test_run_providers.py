"""The steps with models, a search and broken papers: what leaves the house, what fails, what degrades."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rkyc.errors import ChildProcessDiedError, ContentPolicyError, LLMTimeoutError, SearchTimeoutError
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.embedding.types import Embedding
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import LlmAnswer, LlmRequest, Usage
from rkyc.providers.search.router import Search
from rkyc.providers.search.types import SearchHit, SearchQuery
from rkyc.steps.kyc import doc_ingest, external, insight, signal, snapshot
from rkyc.store.pool import Pool
from tests.support.context import InlineContext
from tests.support.dossiers import HANBIT, copy_dossier
from tests.support.kyc_run import run_kyc, upload

pytestmark = pytest.mark.anyio

CANARY = "INTERNAL-CANARY-7431"
Answer = Callable[[LlmRequest], Any]


class ScriptedModel:
    """Answers by a function of the request, and keeps what it was asked."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name = name
        self.model = "scripted"
        self.asked: list[LlmRequest] = []
        self._answer = answer

    async def complete(self, request: LlmRequest, *, timeout_s: float, on_token: object = None) -> LlmAnswer:
        self.asked.append(request)
        value = self._answer(request)
        if isinstance(value, Exception):
            raise value
        text = json.dumps(value, ensure_ascii=False)
        return LlmAnswer(text, value, self.name, self.model, Usage(), "end", None, 1)

    async def aclose(self) -> None: ...


class ScriptedSearch:
    """Gives the same hits for every query, or fails."""

    name = "scripted"

    def __init__(self, hits: list[SearchHit] | Exception) -> None:
        self.asked: list[SearchQuery] = []
        self._hits = hits

    async def search(self, query: SearchQuery, *, timeout_s: float) -> list[SearchHit]:
        self.asked.append(query)
        if isinstance(self._hits, Exception):
            raise self._hits
        return self._hits

    async def aclose(self) -> None: ...


def proposal(**changes: Any) -> dict[str, Any]:
    return {
        "event_type": "ADVERSE_MEDIA",
        "category": "REPUTATIONAL",
        "title": "노조와의 갈등 보도",
        "summary": "노조가 회사의 체불을 비판한 것으로 전해짐",
        "direction": "RISK",
        "strength": "MED",
        "confidence": "MED",
        "severity": 3,
        "probability": "MED",
        "evidence": [{"ref": "https://news.example/1", "quote": "노조가 회사를 비판했다"}],
    } | changes


def nothing(request: LlmRequest) -> Any:
    return {"signals": []}


def with_canary(tmp_path: Path) -> Path:
    """A dossier whose INTERNAL parts (bank records, papers, CEO) all hold the canary."""
    folder = copy_dossier(HANBIT, tmp_path)
    bank = json.loads((folder / "bank.json").read_text("utf-8"))
    bank["loan"][0]["product"] = CANARY
    (folder / "bank.json").write_text(json.dumps(bank, ensure_ascii=False), encoding="utf-8")
    (folder / "documents" / "memo.txt").write_text(f"{CANARY} 여신 회수 검토. " * 20, encoding="utf-8")
    (folder / "documents" / "public" / "notice.txt").write_text(
        "PUBLIC-NOTICE 한빛정밀 공고. " * 20, encoding="utf-8"
    )
    return folder


async def test_internal_data_never_reaches_the_external_track_or_the_search(
    pool: Pool, tmp_path: Path
) -> None:
    outside, inside = ScriptedModel("outside", nothing), ScriptedModel("inside", nothing)
    search = ScriptedSearch([])
    await run_kyc(
        pool, with_canary(tmp_path), llm=Llm(external=[outside], internal=[inside]), search=Search([search])
    )
    told_outside = "\n".join(f"{request.system}\n{request.prompt}" for request in outside.asked)
    told_inside = "\n".join(f"{request.system}\n{request.prompt}" for request in inside.asked)
    assert "PUBLIC-NOTICE" in told_outside
    assert CANARY in told_inside
    assert CANARY not in told_outside
    assert "33500000000" not in told_outside
    assert search.asked
    assert CANARY not in repr(search.asked)


class ScriptedEmbedding:
    """A vendor's embedding that keeps what it was given."""

    name = model = "vendor"
    dim = 2

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> Embedding:
        self.texts += texts
        return Embedding(np.ones((len(texts), 2), dtype=np.float32), self.model)

    async def aclose(self) -> None: ...


async def test_internal_findings_are_never_embedded_outside(pool: Pool) -> None:
    vendor = ScriptedEmbedding()
    run = await run_kyc(pool, HANBIT, embedder=Embedder(vendor))
    told = "\n".join(vendor.texts)
    drafts = [*run.validation.kept, *run.validation.below_cut]
    assert {draft.rule_id for draft in drafts if draft.title in told} == {
        draft.rule_id for draft in drafts if str(draft.rule_id).startswith(("E-", "O-"))
    }
    assert "640,000,000" not in told


async def test_without_an_internal_track_internal_data_gets_rules_only(pool: Pool, tmp_path: Path) -> None:
    outside = ScriptedModel("outside", nothing)
    run = await run_kyc(pool, with_canary(tmp_path), llm=Llm(external=[outside]))
    assert CANARY not in repr(outside.asked)
    assert {request.data_class for request in outside.asked} == {"PUBLIC"}
    assert run.signal.failed_agents == []
    assert run.insight.insight.provider == "template"
    assert any(draft.rule_id == "D-OVERDUE" for draft in run.validation.kept)


def first_event_ref(request: LlmRequest) -> str:
    return next(line for line in request.prompt.splitlines() if line.startswith("ref: http")).removeprefix(
        "ref: "
    )


def quote_after(request: LlmRequest, ref: str) -> str:
    lines = request.prompt.splitlines()
    return lines[lines.index(f"ref: {ref}") + 2][:60]


async def test_models_claim_stands_only_with_its_quote_and_its_numbers(pool: Pool) -> None:
    def answer(request: LlmRequest) -> Any:
        if request.operation != "kyc.signal.direct":
            return {"signals": []}
        ref = first_event_ref(request)
        quote = quote_after(request, ref)
        return {
            "signals": [
                proposal(
                    title="지어낸 인용", evidence=[{"ref": ref, "quote": "회사가 파산을 선언했다고 한다"}]
                ),
                proposal(title="없는 주소", evidence=[{"ref": "https://nowhere.example/9", "quote": quote}]),
                proposal(
                    title="없는 숫자", summary="손실이 987억원", evidence=[{"ref": ref, "quote": quote}]
                ),
                proposal(title="없는 자리", evidence=[{"ref": "/loan/99/balance_krw", "quote": "1"}]),
                proposal(title="반드시 살필 일", category="MARKET", evidence=[{"ref": ref, "quote": quote}]),
            ]
        }

    run = await run_kyc(pool, HANBIT, llm=Llm(external=[ScriptedModel("outside", answer)]))
    assert {draft.title: draft.reason for draft in run.validation.dropped} == {
        "지어낸 인용": "QUOTE_NOT_FOUND",
        "없는 주소": "EVIDENCE_NOT_FOUND",
        "없는 숫자": "NUMBER_NOT_GROUNDED",
        "없는 자리": "EVIDENCE_NOT_FOUND",
    }
    kept = [*run.validation.kept, *run.validation.below_cut]
    assert [draft.title for draft in kept if draft.source == "direct"] == ["살필 일"]
    assert run.signal.provider == "rules+outside/scripted"
    assert run.signal.by_source["direct"] == 5


async def test_refused_extractor_leaves_the_run_partial_and_the_rules_standing(pool: Pool) -> None:
    def answer(request: LlmRequest) -> Any:
        if request.operation == "kyc.signal.industry":
            return ContentPolicyError("the model refused")
        return {"signals": []}

    run = await run_kyc(pool, HANBIT, llm=Llm(external=[ScriptedModel("outside", answer)]))
    assert run.signal.failed_agents == ["industry"]
    assert any(each["code"] == "CONTENT_POLICY" and each["partial"] for each in run.warnings)
    assert run.signal.by_source["rule"] > 20


async def test_answers_of_the_others_are_not_paid_again_when_one_extractor_times_out(pool: Pool) -> None:
    failures = [LLMTimeoutError("no answer")]

    def answer(request: LlmRequest) -> Any:
        if request.operation == "kyc.signal.direct" and failures:
            return failures.pop()
        return {"signals": []}

    model = ScriptedModel("outside", answer)
    run = await run_kyc(pool, HANBIT)
    ctx = InlineContext(pool, Llm(external=[model]), step="signal", job_id=run.job_id)
    with pytest.raises(LLMTimeoutError):
        await signal.run(ctx, run.context, run.job, run.snapshot)
    ctx.next_attempt()
    output = await signal.run(ctx, run.context, run.job, run.snapshot)
    assert output.failed_agents == []
    operations = [request.operation for request in model.asked]
    assert operations.count("kyc.signal.direct") == 2
    assert operations.count("kyc.signal.industry") == 1


async def test_model_without_an_answer_to_the_last_degrades_the_step(pool: Pool) -> None:
    model = ScriptedModel("outside", lambda request: LLMTimeoutError("no answer"))
    run = await run_kyc(pool, HANBIT)
    ctx = InlineContext(pool, Llm(external=[model]), step="signal", job_id=run.job_id)
    ctx.attempt = 3
    output = await signal.run(ctx, run.context, run.job, run.snapshot)
    assert set(output.failed_agents) == {"direct", "industry", "environment"}
    assert output.provider == "rules"


def written(*sentences: tuple[str, list[str]], headline: str = "한빛정밀 점검") -> dict[str, Any]:
    return {
        "stance": "CAUTION",
        "headline": headline,
        "sections": [
            {"title": "요약", "sentences": [{"text": text, "citations": ids} for text, ids in sentences]}
        ],
    }


async def test_models_insight_keeps_only_sentences_that_cite_and_tell_known_numbers(pool: Pool) -> None:
    run = await run_kyc(pool, HANBIT)
    first = run.index.indexed[0].id
    answer = written(
        ("연체가 있는 것으로 나타남", [f"signal:{first}"]),
        ("없는 신호를 든다", ["signal:999999"]),
        ("손실이 987억원이다", [f"signal:{first}"]),
    )
    ctx = InlineContext(
        pool, Llm(internal=[ScriptedModel("inside", lambda request: answer)]), job_id=run.job_id
    )
    output = await insight.run(ctx, run.index, run.job, run.snapshot, run.doc_ingest, run.validation)
    sentences = [each.text for section in output.insight.sections for each in section.sentences]
    assert sentences == ["연체가 있는 것으로 나타남"]
    assert output.insight.provider == "inside/scripted"
    assert output.insight.coverage < 0.5
    assert output.needs_review
    assert not output.published


async def test_insight_falls_back_to_the_template(pool: Pool) -> None:
    run = await run_kyc(pool, HANBIT)
    for failure in (ContentPolicyError("refused"), written(("빈말이다", ["signal:999999"]))):
        model = ScriptedModel("inside", lambda request, failure=failure: failure)
        ctx = InlineContext(pool, Llm(internal=[model]), job_id=run.job_id)
        output = await insight.run(ctx, run.index, run.job, run.snapshot, run.doc_ingest, run.validation)
        assert output.insight.provider == "template"
        assert [warning["partial"] for warning in ctx.warnings] == [True]


async def test_search_finds_beside_the_record_and_its_failure_degrades(pool: Pool) -> None:
    hit = SearchHit(
        url="https://yna.co.kr/view/1",
        title="한빛정밀 압수수색",
        text="검찰이 경기 안산의 한빛정밀 본사를 압수수색했다.",
        published_at="2025-03-20",
        source="연합뉴스",
        source_type="NEWS",
        lang="ko",
        provider="scripted",
    )
    odd = [
        replace(hit, url="https://a.example/" + "x" * 2000),
        replace(hit, url="https://b.example/", text="NUL \x00"),
        replace(hit, url="https://c.example/", title="\ud800"),
    ]
    search = ScriptedSearch([hit, *odd])
    run = await run_kyc(pool, HANBIT, search=Search([search]))
    assert run.external.provider == "recorded+scripted"
    assert run.external.queries == len(search.asked) == 5
    assert run.external.dropped["DUPLICATE_URL"] == 4 * len([hit, *odd])
    assert run.external.dropped["UNUSABLE"] == len(odd)
    assert any(draft.rule_id == "E-PROBE" for draft in (*run.validation.kept, *run.validation.below_cut))

    failing = Search([ScriptedSearch(SearchTimeoutError("no answer"))])
    ctx = InlineContext(pool, failing, job_id=run.job_id)
    with pytest.raises(SearchTimeoutError):
        await external.run(ctx, run.doc_ingest, run.job, run.snapshot)
    ctx.attempt = 3
    degraded = await external.run(ctx, run.doc_ingest, run.job, run.snapshot)
    assert degraded.provider == "recorded"
    assert {warning["code"] for warning in ctx.warnings} == {"SEARCH_TIMEOUT"}


async def test_paper_that_can_not_be_read_fails_alone(pool: Pool, tmp_path: Path) -> None:
    folder = copy_dossier(HANBIT, tmp_path)
    (folder / "documents" / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of use")
    (folder / "documents" / "empty.pdf").write_bytes(b"")
    (folder / "documents" / "old.doc").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600)
    run = await run_kyc(pool, folder)
    by_name = {paper.name: paper for paper in run.doc_ingest.documents}
    for name in ("broken.pdf", "empty.pdf", "old.doc"):
        paper = by_name[f"documents/{name}"]
        assert (paper.status, bool(paper.message)) == ("FAILED", True)
        assert paper.error_code in ("INVALID_FILE", "UNSUPPORTED_TYPE")
    assert by_name["documents/audit_report_fy2024.pdf"].status == "DONE"
    assert by_name["documents/shareholders_scan.png"].ocr_pages == 0
    assert {warning["subject"] for warning in run.warnings} >= {"documents/broken.pdf", "documents/empty.pdf"}
    assert any(draft.rule_id == "X-GOING" for draft in (*run.validation.kept, *run.validation.below_cut))


class DyingContext(InlineContext):
    async def run_in_process(self, fn: Callable[..., Any], *args: Any) -> Any:
        raise ChildProcessDiedError("the child ended without an answer")


async def test_dead_parser_fails_its_paper_and_a_known_paper_is_not_parsed_again(pool: Pool) -> None:
    job = await upload(pool, HANBIT)
    ctx = InlineContext(pool, step="snapshot")
    shot = await snapshot.run(ctx, job)
    async with pool.transaction() as conn:
        await snapshot.save(conn, shot)
    dying = DyingContext(pool, job_id=ctx.job_id)
    output = await doc_ingest.run(dying, shot, job)
    assert {paper.error_code for paper in output.documents} == {"CHILD_PROCESS_DIED"}

    first = await doc_ingest.run(InlineContext(pool, job_id=ctx.job_id), shot, job)
    async with pool.transaction() as conn:
        await doc_ingest.save(conn, first)
    again = await doc_ingest.run(DyingContext(pool), shot, job)
    assert {paper.status for paper in again.documents} == {"DONE"}
    assert [paper.pages for paper in again.documents] == [paper.pages for paper in first.documents]
