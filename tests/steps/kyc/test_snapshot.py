"""The first step: versions, what changed, and two runs at once, on a real database."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from rkyc.errors import CorpNotFoundError, RetryableException, SnapshotInvalidError, StorageDownloadError
from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc import snapshot as snapshot_step
from rkyc.steps.kyc.schemas import FileRef, KycInput, SnapshotOut
from rkyc.store.blobs import write_blob
from rkyc.store.kyc.snapshots import read_analysis, read_latest, read_statements, read_version
from rkyc.store.pool import Pool
from tests.support.context import InlineContext
from tests.support.dossiers import HANBIT, copy_dossier, set_figure, write_in_whole_units
from tests.support.kyc import take_snapshot, upload_dossier

pytestmark = pytest.mark.anyio


async def test_first_run_keeps_previous_as_version_one(pool: Pool) -> None:
    output, ctx = await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    assert (output.snapshot_version, output.previous_version) == (2, 1)
    assert output.corp_name == "한빛정밀 주식회사"
    assert output.statements_class is DataClass.INTERNAL
    assert output.periods == ["FY2022", "FY2023", "FY2024"]
    assert "/corp/ceo_name" in output.changed_paths
    assert "/statements/FY2024/liabilities" in output.changed_paths
    assert "/statements/FY2023/liabilities" not in output.changed_paths
    assert ctx.warnings == []
    assert ctx.metadata_values == {"corp_id": output.corp_id, "corp_name": "한빛정밀 주식회사"}
    async with pool.connection() as conn:
        first = await read_version(conn, output.corp_id, 1)
        latest = await read_latest(conn, output.corp_id)
        analysis = await read_analysis(conn, ctx.job_id)
        rows = await read_statements(conn, output.snapshot_id)
    assert first is not None and latest is not None and analysis is not None
    assert (first.source, latest.source) == ("previous", "current")
    assert latest.doc["statements"]["FY2024"]["liabilities"] == 57_000_000_000
    assert latest.doc["sources"]["/statements/FY2024/liabilities"] == "statements.csv:46"
    assert (analysis["corp_id"], analysis["snapshot_version"]) == (output.corp_id, 2)
    assert {(row["fiscal_year"], row["concept"]): row["value"] for row in rows}[2024, "equity"] == Decimal(
        13_800_000_000
    )


async def test_checkpoint_holds_no_rows(pool: Pool) -> None:
    output, _ = await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    stored = output.model_dump_json()
    assert "pending" not in stored
    assert SnapshotOut.model_validate_json(stored).snapshot_id == output.snapshot_id


async def test_same_content_adds_no_version_and_tells_the_same_changes(pool: Pool, tmp_path: Path) -> None:
    first, _ = await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    again, _ = await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    rescaled = copy_dossier(HANBIT, tmp_path)
    write_in_whole_units(rescaled)
    same_amounts, _ = await take_snapshot(pool, await upload_dossier(pool, rescaled))
    assert again.model_dump() == first.model_dump() == same_amounts.model_dump()


async def test_changed_content_adds_a_version_and_previous_no_longer_counts(
    pool: Pool, tmp_path: Path
) -> None:
    await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    changed = copy_dossier(HANBIT, tmp_path)
    set_figure(changed, 2024, "매출액", 70000)
    output, _ = await take_snapshot(pool, await upload_dossier(pool, changed))
    assert (output.snapshot_version, output.previous_version) == (3, 2)
    assert output.changed_paths == ["/statements/FY2024/revenue"]


async def test_first_run_without_previous_has_nothing_to_compare(pool: Pool, tmp_path: Path) -> None:
    alone = copy_dossier(HANBIT, tmp_path)
    shutil.rmtree(alone / "previous")
    output, _ = await take_snapshot(pool, await upload_dossier(pool, alone))
    assert (output.snapshot_version, output.previous_version, output.changed_paths) == (1, None, [])


async def test_two_runs_of_one_new_company_at_once(pool: Pool) -> None:
    manifest = await upload_dossier(pool, HANBIT)
    first, second = InlineContext(pool), InlineContext(pool)
    one = await snapshot_step.run(first, manifest)
    other = await snapshot_step.run(second, manifest)
    assert one.corp_id == other.corp_id
    async with pool.transaction() as conn:
        await snapshot_step.save(conn, one)
    with pytest.raises(RetryableException, match="same moment"):
        async with pool.transaction() as conn:
            await snapshot_step.save(conn, other)
    second.next_attempt()
    other = await snapshot_step.run(second, manifest)
    async with pool.transaction() as conn:
        await snapshot_step.save(conn, other)
    assert (other.snapshot_id, other.snapshot_version) == (one.snapshot_id, 2)


async def test_public_statements_need_a_listing(pool: Pool) -> None:
    manifest = KycInput.model_validate({"corp": {"name": "상장", "listed_code": "005930", "country": "KR"}})
    output, _ = await take_snapshot(pool, manifest)
    assert output.statements_class is DataClass.PUBLIC


@pytest.mark.parametrize(("name", "text"), [("bank.json", "{"), ("statements.csv", "no,header\n")])
async def test_unreadable_part_is_permanent_and_named(pool: Pool, name: str, text: str) -> None:
    async with pool.connection() as conn:
        sha256 = await write_blob(conn, text.encode())
    part = FileRef(name=name, sha256=sha256, size=len(text))
    manifest = KycInput.model_validate({"corp": {"name": "가나"}})
    with pytest.raises(SnapshotInvalidError, match=name):
        await snapshot_step.run(InlineContext(pool), manifest.model_copy(update={"files": [part]}))
    with pytest.raises(SnapshotInvalidError, match=f"previous/{name}"):
        await snapshot_step.run(InlineContext(pool), manifest.model_copy(update={"previous": [part]}))


async def test_missing_upload_is_tried_again(pool: Pool) -> None:
    part = FileRef(name="bank.json", sha256="0" * 64, size=1)
    manifest = KycInput.model_validate({"corp": {"name": "가나"}}).model_copy(update={"files": [part]})
    with pytest.raises(StorageDownloadError):
        await snapshot_step.run(InlineContext(pool), manifest)


async def test_unknown_concept_warns_and_the_job_is_not_partial(pool: Pool) -> None:
    text = b"fiscal_year,period,concept,value,currency,unit,source\n2024,FY,mystery,1,KRW,1,x\n"
    async with pool.connection() as conn:
        sha256 = await write_blob(conn, text)
    part = FileRef(name="statements.csv", sha256=sha256, size=len(text))
    manifest = KycInput.model_validate({"corp": {"name": "가나"}}).model_copy(update={"files": [part]})
    _, ctx = await take_snapshot(pool, manifest)
    assert [(warning["code"], warning["partial"]) for warning in ctx.warnings] == [("unknown_concept", False)]


async def test_removed_company_ends_the_job(pool: Pool) -> None:
    ctx = InlineContext(pool)
    output = await snapshot_step.run(ctx, KycInput.model_validate({"corp": {"name": "가나"}}))
    async with pool.connection() as conn:
        await conn.execute("DELETE FROM rkyc.corp")
    with pytest.raises(CorpNotFoundError):
        async with pool.transaction() as conn:
            await snapshot_step.save(conn, output)


async def test_snapshots_are_append_only(pool: Pool) -> None:
    await take_snapshot(pool, await upload_dossier(pool, HANBIT))
    async with pool.connection() as conn:
        for statement in ("UPDATE rkyc.snapshot SET source = 'current'", "DELETE FROM rkyc.snapshot"):
            with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                await conn.execute(statement)


async def test_exact_numbers_come_back_exact(pool: Pool) -> None:
    bank = json.dumps(
        {"trade": [{"top_country_pct": 38.10}], "credit": {"loan_summary": {"total_exposure_krw": 10**18}}}
    )
    async with pool.connection() as conn:
        sha256 = await write_blob(conn, bank.encode())
    part = FileRef(name="bank.json", sha256=sha256, size=len(bank))
    manifest = KycInput.model_validate({"corp": {"name": "가나"}}).model_copy(update={"files": [part]})
    output, _ = await take_snapshot(pool, manifest)
    async with pool.connection() as conn:
        stored = await read_latest(conn, output.corp_id)
    assert stored is not None
    assert stored.doc["trade"][0]["top_country_pct"] == "38.1"
    assert stored.doc["credit"]["loan_summary"]["total_exposure_krw"] == str(10**18)
