"""The life cycle of a risk signal, and what the database itself refuses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import asyncpg
import pytest

import rkyc.store.migrate as migrate_module
from rkyc.errors import ConflictError, InvalidInputError, NotFoundError
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.embedding.lexical import LexicalEmbedding
from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc import index as index_step
from rkyc.steps.kyc import vocabulary
from rkyc.steps.kyc.schemas import KycInput, ValidationOut
from rkyc.store.kyc.cases import add_case, list_cases
from rkyc.store.kyc.risk_signals import move_risk_signal
from rkyc.store.pool import Pool
from tests.support.context import InlineContext
from tests.support.kyc import make_draft, take_snapshot

pytestmark = pytest.mark.anyio


@pytest.fixture
async def signal_id(pool: Pool) -> int:
    """A risk signal with status NEW, without a vector."""
    manifest = KycInput.model_validate({"corp": {"name": "가나", "industry_code": "C30"}})
    snapshot, ctx = await take_snapshot(pool, manifest)
    step = InlineContext(pool, Embedder(LexicalEmbedding()), job_id=ctx.job_id)
    output = await index_step.run(step, ValidationOut(), snapshot)
    pending = output.pending
    draft = make_draft()
    signature = "a" * 64
    row = index_step.ReportedRow(
        900, 0, "NEW", False, draft.model_dump(mode="json") | {"signature": signature}, "x"
    )
    async with pool.transaction() as conn:
        await index_step.upsert_risk_signal(
            conn, row, corp_id=pending.corp_id, snapshot_version=1, job_id=ctx.job_id
        )
    return 900


async def test_life_cycle_to_confirmed(pool: Pool, signal_id: int) -> None:
    async with pool.transaction() as conn:
        assert await move_risk_signal(conn, signal_id, "REVIEWED", actor="kim") == "NEW"
        assert (
            await move_risk_signal(conn, signal_id, "CONFIRMED", actor="lee", comment="checked") == "REVIEWED"
        )
        actions = await conn.fetch("SELECT actor, from_status, to_status FROM rkyc.signal_action ORDER BY id")
    assert [tuple(row) for row in actions] == [("kim", "NEW", "REVIEWED"), ("lee", "REVIEWED", "CONFIRMED")]


@pytest.mark.parametrize("path", [["CONFIRMED"], ["REVIEWED", "CONFIRMED", "NEW"], ["REVIEWED", "REVIEWED"]])
async def test_moves_that_the_life_cycle_does_not_have(pool: Pool, signal_id: int, path: list[str]) -> None:
    async with pool.transaction() as conn:
        for status in path[:-1]:
            await move_risk_signal(conn, signal_id, status, actor="kim")
        with pytest.raises(ConflictError, match=f"can not become {path[-1]}"):
            await move_risk_signal(conn, signal_id, path[-1], actor="kim")


async def test_dismissal_is_final_and_needs_a_reason(pool: Pool, signal_id: int) -> None:
    async with pool.connection() as conn:
        with pytest.raises(InvalidInputError, match="reason"):
            await move_risk_signal(conn, signal_id, "DISMISSED", actor="kim")
        await move_risk_signal(conn, signal_id, "DISMISSED", actor="kim", reason_code="DUPLICATE")
        with pytest.raises(ConflictError):
            await move_risk_signal(conn, signal_id, "REVIEWED", actor="kim")
        with pytest.raises(NotFoundError):
            await move_risk_signal(conn, 1, "REVIEWED", actor="kim")


async def test_database_refuses_bad_moves_and_bare_signals(pool: Pool, signal_id: int) -> None:
    async with pool.connection() as conn:
        for statement in (
            "UPDATE rkyc.risk_signal SET status = 'CONFIRMED'",
            "UPDATE rkyc.risk_signal SET status = 'DISMISSED'",
            "UPDATE rkyc.risk_signal SET status = 'OPEN'",
            "DELETE FROM rkyc.evidence",
            "UPDATE rkyc.evidence SET verified = 'FAILED'",
        ):
            with pytest.raises(asyncpg.CheckViolationError):
                await conn.execute(statement)


async def test_decided_signal_becomes_a_case(pool: Pool, signal_id: int) -> None:
    decided_at = datetime(2025, 4, 1, tzinfo=UTC)
    async with pool.connection() as conn:
        assert await add_case(conn, signal_id, decided_at=decided_at) is None
        await move_risk_signal(conn, signal_id, "DISMISSED", actor="kim", reason_code="FALSE_ENTITY")
        case_id = await add_case(conn, signal_id, decided_at=decided_at)
        assert await add_case(conn, signal_id, decided_at=decided_at) == case_id
        cases = await list_cases(conn, corp_id=-1, industry_code="C30", model="any")
    assert [(row["id"], row["outcome"], row["reason"], row["vector"]) for row in cases] == [
        (case_id, "DISMISSED", "FALSE_ENTITY", None)
    ]


@pytest.mark.parametrize(
    ("column", "vocabulary_class"),
    [
        ("signal_type", vocabulary.SignalType),
        ("event_type", vocabulary.EventType),
        ("category", vocabulary.RiskCategory),
        ("direction", vocabulary.ImpactDirection),
        ("strength", vocabulary.Level),
        ("dismissed_reason", vocabulary.DismissReason),
        ("evidence_type", vocabulary.EvidenceType),
        ("ref_type", vocabulary.RefType),
        ("verified", vocabulary.EvidenceCheck),
        ("source_grade", vocabulary.SourceGrade),
        ("source_type", vocabulary.SourceType),
        ("event_class", vocabulary.EventClass),
        ("basis", vocabulary.MatchBasis),
        ("role", vocabulary.EntityRole),
        ("doc_type", vocabulary.DocType),
        ("ingest_status", vocabulary.IngestStatus),
        ("data_class", DataClass),
        ("stance", vocabulary.Stance),
        ("change", vocabulary.ChangeKind),
    ],
)
def test_database_allows_just_the_vocabulary(column: str, vocabulary_class: type[StrEnum]) -> None:
    sql = (Path(migrate_module.__file__).parent / "migrations" / "0002_kyc.sql").read_text(encoding="utf-8")
    found = re.search(rf"CHECK \({column} IN \(([^)]*)\)", sql)
    assert found is not None
    assert re.findall(r"'(\w+)'", found[1]) == [item.value for item in vocabulary_class]
