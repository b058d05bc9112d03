"""The steps one after another on the example dossiers, with a real database and without any key."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rkyc.steps.kyc.schemas import RiskSignalDraft
from rkyc.steps.kyc.vocabulary import ChangeKind
from rkyc.store.kyc import cases, context_packs, risk_signals
from rkyc.store.pool import Pool
from tests.support.context import NOW
from tests.support.dossiers import HANBIT, SAEBOM, copy_dossier, swap_words
from tests.support.expected import judge
from tests.support.kyc_run import KycRun, run_kyc
from tests.support.sources import quote_is_verbatim

pytestmark = pytest.mark.anyio


def result_of(run: KycRun) -> dict[str, Any]:
    return {
        "signals": [draft.model_dump(mode="json") for draft in run.validation.kept],
        "below_cut": [draft.model_dump(mode="json") for draft in run.validation.below_cut],
    }


def all_drafts(run: KycRun) -> list[RiskSignalDraft]:
    return [*run.validation.kept, *run.validation.below_cut]


def rule_ids(run: KycRun) -> set[str | None]:
    return {draft.rule_id for draft in all_drafts(run)}


def titles(run: KycRun) -> set[str]:
    return {draft.title for draft in all_drafts(run)}


@pytest.mark.parametrize("lang", ["ko", "en"])
@pytest.mark.parametrize("folder", [HANBIT, SAEBOM])
async def test_example_yields_what_is_expected_of_it(pool: Pool, folder: Path, lang: str) -> None:
    run = await run_kyc(pool, folder, lang=lang)
    result = result_of(run)
    verdict = judge(result, folder)
    assert verdict.is_met, verdict
    assert run.validation.dropped == []
    evidence = [item for signal in (*result["signals"], *result["below_cut"]) for item in signal["evidence"]]
    assert evidence
    assert all(quote_is_verbatim(item, folder) for item in evidence)


@pytest.mark.parametrize("folder", [HANBIT, SAEBOM])
async def test_every_sentence_of_the_insight_cites_what_exists(pool: Pool, folder: Path) -> None:
    run = await run_kyc(pool, folder)
    insight = run.insight.insight
    known = {f"signal:{indexed.id}" for indexed in run.index.indexed}
    cited = {
        citation for section in insight.sections for each in section.sentences for citation in each.citations
    }
    assert {citation for citation in cited if citation.startswith("signal:")} == known
    assert insight.coverage == 1.0
    assert run.insight.published
    assert insight.provider == "template"


async def test_second_run_reports_everything_unchanged(pool: Pool) -> None:
    first = await run_kyc(pool, HANBIT)
    second = await run_kyc(pool, HANBIT, now=NOW + timedelta(days=1))
    assert {indexed.change for indexed in first.index.indexed} == {ChangeKind.NEW}
    assert {indexed.change for indexed in second.index.indexed} == {ChangeKind.UNCHANGED}
    assert titles(first) == titles(second)


async def dismiss(pool: Pool, run: KycRun, rule_id: str) -> int:
    reported = zip(all_drafts(run), run.index.indexed, strict=True)
    (signal_id,) = [indexed.id for draft, indexed in reported if draft.rule_id == rule_id]
    async with pool.connection() as conn:
        await risk_signals.move_risk_signal(
            conn, signal_id, "DISMISSED", actor="analyst", reason_code="NOT_MATERIAL"
        )
    return signal_id


def add_event(folder: Path, file: str, **event: str) -> None:
    path = folder / "events" / file
    path.write_text(path.read_text("utf-8") + json.dumps(event, ensure_ascii=False) + "\n", encoding="utf-8")


async def test_dismissed_risk_signal_stays_away_until_a_better_source_tells_it(
    pool: Pool, tmp_path: Path
) -> None:
    folder = copy_dossier(HANBIT, tmp_path)
    first = await run_kyc(pool, folder)
    await dismiss(pool, first, "E-ACCIDENT")
    second = await run_kyc(pool, folder, now=NOW + timedelta(days=1))
    assert "E-ACCIDENT" not in rule_ids(second)
    assert [item.reason for item in second.validation.dropped] == ["DISMISSED_BEFORE"]

    (fire,) = [
        json.loads(line) for line in (folder / "events" / "fire.jsonl").read_text("utf-8").splitlines()
    ]
    add_event(
        folder,
        "fire.jsonl",
        url="https://disclosure.example/filing/1",
        title="생산중단",
        text=fire["text"],
        published_at="2025-02-21T09:00:00+09:00",
        source_type="DISCLOSURE",
        lang="ko",
    )
    third = await run_kyc(pool, folder, now=NOW + timedelta(days=2))
    assert "E-ACCIDENT" in rule_ids(third)


async def test_decided_case_is_remembered_beside_alike_news(pool: Pool) -> None:
    first = await run_kyc(pool, HANBIT)
    assert first.context.similar_cases == []
    signal_id = await dismiss(pool, first, "E-LAWSUIT")
    async with pool.connection() as conn:
        case_id = await cases.add_case(conn, signal_id, decided_at=NOW)
    second = await run_kyc(pool, HANBIT, now=NOW + timedelta(days=1))
    assert second.context.similar_cases == [case_id]
    async with pool.connection() as conn:
        parts = await context_packs.read_context_parts(conn, second.job_id, second.context.sha256)
    assert parts is not None
    assert [part["data_class"] for part in parts if part["ref"] == f"case:{case_id}"] == ["INTERNAL"]


async def test_new_source_of_a_story_changes_it_and_adds_none(pool: Pool, tmp_path: Path) -> None:
    folder = copy_dossier(HANBIT, tmp_path)
    first = await run_kyc(pool, folder)
    (fire,) = [
        json.loads(line) for line in (folder / "events" / "fire.jsonl").read_text("utf-8").splitlines()
    ]
    add_event(folder, "fire.jsonl", **{**fire, "url": "https://other.example/fire"})
    second = await run_kyc(pool, folder, now=NOW + timedelta(days=1))
    assert titles(first) == titles(second)
    changes = {
        draft.rule_id: indexed.change
        for draft, indexed in zip(all_drafts(second), second.index.indexed, strict=True)
    }
    assert changes.pop("E-ACCIDENT") is ChangeKind.CHANGED
    assert set(changes.values()) == {ChangeKind.UNCHANGED}
    assert second.index.gone == []


@pytest.mark.parametrize(
    ("dossier", "pairs", "wanted"),
    [
        (
            HANBIT,
            [
                ("한빛정밀", "한빛정밀화학"),
                ("Hanbit Precision", "Hanbit Precision Chemical"),
                ("서도윤", "남궁혁"),
                ("999-81-27464", "999-86-31584"),
                ("안산", "울산"),
            ],
            {"events/namesake.jsonl", "events/industry.jsonl", "events/policy.jsonl"},
        ),
        (
            SAEBOM,
            [
                ("새봄식품", "새봄식품산업"),
                ("문지아", "길태호"),
                ("999-81-73255", "999-86-55117"),
                ("전주", "부산"),
            ],
            {"events/namesake.jsonl"},
        ),
    ],
)
async def test_swapped_names_move_the_event_signals(
    pool: Pool, tmp_path: Path, dossier: Path, pairs: list[tuple[str, str]], wanted: set[str]
) -> None:
    folder = copy_dossier(dossier, tmp_path)
    swap_words(folder, pairs)
    run = await run_kyc(pool, folder)
    files = {evidence.source_file for draft in all_drafts(run) for evidence in draft.evidence}
    assert {file for file in files if file and file.startswith("events/")} == wanted


async def test_events_alone_without_anything_else_are_enough(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    corp = {"name": "다온금속", "ceo_name": "남도일", "industry_code": "C24"}
    (tmp_path / "corp.json").write_text(json.dumps(corp), encoding="utf-8")
    event = {"url": "https://a.example/1", "title": "소송", "text": "다온금속(대표 남도일)이 소송을 당했다."}
    (tmp_path / "events" / "a.json").write_text(json.dumps([event, {"url": 3}]), encoding="utf-8")
    run = await run_kyc(pool, tmp_path)
    assert rule_ids(run) == {"E-LAWSUIT"}
    assert [warning["code"] for warning in run.warnings] == ["event_unusable"]


async def test_news_that_may_be_about_another_is_shown_as_dropped(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "corp.json").write_text('{"name": "다온금속"}', encoding="utf-8")
    event = {"url": "https://a.example/1", "title": "소송", "text": "다온금속이 소송을 당했다."}
    (tmp_path / "events" / "a.json").write_text(json.dumps([event]), encoding="utf-8")
    run = await run_kyc(pool, tmp_path)
    assert all_drafts(run) == []
    assert [item.reason for item in run.validation.dropped] == ["ENTITY_UNCERTAIN"]


async def test_company_without_anything_comes_out_calm_and_says_so(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "corp.json").write_text('{"name": "다온금속"}', encoding="utf-8")
    run = await run_kyc(pool, tmp_path)
    insight = run.insight.insight
    assert (insight.stance, all_drafts(run)) == ("STABLE", [])
    assert all(_cites(insight.sections))


def _cites(sections: Iterable[Any]) -> Iterable[bool]:
    return (bool(sentence.citations) for section in sections for sentence in section.sentences)
