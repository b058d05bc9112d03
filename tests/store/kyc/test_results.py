"""A run's result in the shape of result.json, and the sources that its evidence points into."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from rkyc.providers.embedding.build import EmbeddingOptions, build_embedder
from rkyc.steps.kyc import index as index_step
from rkyc.steps.kyc.rules.evaluate import evaluate
from rkyc.steps.kyc.schemas import ValidationOut
from rkyc.steps.kyc.vocabulary import EvidenceCheck, RefType
from rkyc.store.kyc.documents import (
    AnalysisDocumentRow,
    DocumentRow,
    PageRow,
    add_analysis_documents,
    add_document,
    find_document,
    read_pages,
)
from rkyc.store.kyc.events import (
    AnalysisEventRow,
    EventRow,
    TargetRow,
    add_analysis_events,
    add_events,
    add_targets,
    read_events,
)
from rkyc.store.kyc.insights import add_insight, reserve_id
from rkyc.store.kyc.results import load_analysis, load_evidence_pages
from rkyc.store.kyc.snapshots import read_version
from rkyc.store.pool import Pool
from tests.support.context import InlineContext
from tests.support.dossiers import HANBIT
from tests.support.kyc import make_draft, take_snapshot, upload_dossier

pytestmark = pytest.mark.anyio

URL = "https://news.example/1"
TEXT = "🚨 거래처가 소송을 제기\r\n했다"


async def test_whole_result_of_a_run(pool: Pool) -> None:
    snapshot, ctx = await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    async with pool.connection() as conn:
        now = await read_version(conn, snapshot.corp_id, 2)
        before = await read_version(conn, snapshot.corp_id, 1)
    assert now is not None and before is not None
    rules = [
        draft.model_copy(
            update={
                "evidence": [
                    item.model_copy(update={"check": EvidenceCheck.EXACT}) for item in draft.evidence
                ]
            }
        )
        for draft in evaluate(now.doc, before.doc, snapshot.as_of)
    ]
    page_draft = make_draft(ref="documents/a.txt:2", quote="계속기업", source="x")
    page_draft.evidence[0].ref_type = RefType.DOC_PAGE
    await add_sources(pool, snapshot.corp_id, ctx)
    step = InlineContext(pool, build_embedder(EmbeddingOptions()), job_id=ctx.job_id)
    report = ValidationOut(kept=[make_draft(), page_draft, *rules[:3]], below_cut=rules[3:])
    output = await index_step.run(step, report, snapshot)
    async with pool.transaction() as conn:
        await index_step.save(conn, output)
        insight_id = await reserve_id(conn)
        cited = [f"signal:{output.inserted[0]}", "doc:documents/a.txt:1", f"url:{URL}", "snapshot:/corp"]
        await add_insight(
            conn, insight_id=insight_id, job_id=ctx.job_id, corp_id=snapshot.corp_id, stance="CAUTION", headline="주의",
            sections=[{"title": "요약", "sentences": [{"text": "소송", "citations": cited}]}],
            cited_signal_ids=output.inserted[:1], quality_score=80.5, coverage=0.1, provider="template",
            published=True, needs_review=False,
        )  # fmt: skip
        result = await load_analysis(conn, ctx.job_id)
        sources = await load_evidence_pages(conn, ctx.job_id)

    assert result["corp"] == {"id": snapshot.corp_id, "name": "한빛정밀 주식회사"}
    assert len(result["signals"]) == 5
    assert {item["rule_id"] for item in result["signals"][2:] + result["below_cut"]} == {
        draft.rule_id for draft in rules
    }
    first = result["signals"][0]
    assert (first["status"], first["change"], first["needs_review"]) == ("NEW", "NEW", False)
    assert "rule_id" not in first
    assert first["evidence"] == [
        {
            "evidence_type": "EXTERNAL",
            "ref_type": "URL",
            "ref": URL,
            "quote": "소송을 제기",
            "char_start": 3,
            "char_end": 9,
            "check": "EXACT",
            "source_grade": "B",
            "published_at": "2025-03-01T00:00:00Z",
        }
    ]
    assert (result["insight"]["stance"], result["insight"]["coverage"]) == ("CAUTION", 0.1)
    (sentence,) = result["insight"]["sections"][0]["sentences"]
    assert sentence["citations"] == [first["id"], *cited[1:]]
    assert result["lang"] == "ko"
    assert [(item["name"], item["status"], item.get("error_code")) for item in result["documents"]] == [
        ("documents/a.txt", "DONE", None),
        ("documents/b.pdf", "FAILED", "INVALID_FILE"),
    ]
    assert [(page["ref"], page["text"]) for page in sources["pages"]] == [
        ("documents/a.txt:1", "첫 쪽"),
        ("documents/a.txt:2", "계속기업 불확실"),
        (URL, TEXT),
    ]
    series = {item["concept"]: item for item in sources["figures"]}
    assert series["equity"] == {
        "concept": "equity",
        "currency": "KRW",
        "points": [("FY2022", "29400000000"), ("FY2023", "25250000000"), ("FY2024", "13800000000")],
    }
    assert sources["snapshot"]["corp"]["ceo_name"] == "서도윤"
    assert sources["previous"]["corp"]["ceo_name"] == "한기범"
    assert sources["lang"] == "ko"


async def add_sources(pool: Pool, corp_id: int, ctx: InlineContext) -> None:
    document = DocumentRow(
        corp_id=corp_id, sha256="d" * 64, parser="text/1", filename="a.txt", media_type="text/plain", size_bytes=9,
        pages=(PageRow(1, "첫 쪽"), PageRow(2, "계속기업 불확실", 4)),
    )  # fmt: skip
    event = EventRow(URL, "소송", TEXT, "s", "NEWS", "B", datetime(2025, 3, 2, tzinfo=UTC))
    async with pool.transaction() as conn:
        document_id = await add_document(conn, document)
        assert await add_document(conn, document) == document_id
        rows = [
            AnalysisDocumentRow(ctx.job_id, "documents/a.txt", "INTERNAL", "DONE", document_id, 2),
            AnalysisDocumentRow(
                ctx.job_id,
                "documents/b.pdf",
                "INTERNAL",
                "FAILED",
                error_code="INVALID_FILE",
                message="damaged",
            ),
        ]
        await add_analysis_documents(conn, rows)
        await add_analysis_documents(conn, rows)
        event_ids = await add_events(conn, [event, event])
        assert len(set(event_ids)) == 1
        await add_targets(conn, [TargetRow(event_ids[0], corp_id, 0.9, "NAME", "SUBJECT", ("name",))])
        await add_analysis_events(conn, [AnalysisEventRow(ctx.job_id, event_ids[0], 0, 2)])


async def test_documents_and_events_of_a_run(pool: Pool) -> None:
    snapshot, ctx = await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    await add_sources(pool, snapshot.corp_id, ctx)
    async with pool.connection() as conn:
        found = await find_document(conn, corp_id=snapshot.corp_id, sha256="d" * 64, parser="text/1")
        assert await find_document(conn, corp_id=snapshot.corp_id, sha256="d" * 64, parser="text/2") is None
        pages = await read_pages(conn, ctx.job_id)
        events = await read_events(conn, ctx.job_id)
    assert found is not None
    assert found["pages"] == 2
    assert [(row["name"], row["page_no"], row["text"]) for row in pages] == [
        ("documents/a.txt", 1, "첫 쪽"),
        ("documents/a.txt", 2, "계속기업 불확실"),
    ]
    assert [(row["url"], row["text"], row["role"], row["copies"]) for row in events] == [
        (URL, TEXT, "SUBJECT", 2)
    ]


async def test_same_url_with_another_text_is_another_event(pool: Pool) -> None:
    fetched_at = datetime(2025, 3, 2, tzinfo=UTC)
    async with pool.connection() as conn:
        ids = await add_events(
            conn, [EventRow(URL, "t", text, "s", "NEWS", "C", fetched_at) for text in ("a", "b", "a")]
        )
    assert ids[0] == ids[2] != ids[1]


async def test_unknown_job_has_an_empty_result(pool: Pool) -> None:
    async with pool.connection() as conn:
        result = await load_analysis(conn, uuid4())
        sources = await load_evidence_pages(conn, uuid4())
    assert (result["corp"], result["signals"], result["insight"]) == (None, [], None)
    assert sources["pages"] == []
