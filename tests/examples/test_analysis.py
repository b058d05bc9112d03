"""`rkyc analyze` on the example dossiers, as a user without any key runs it, held against `expected.json`.

Each run is a process of its own on a database of its own: an earlier run of the same company would
stand in for `previous/`. The plain run of a dossier is made once and shared.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
from lxml import html

from tests.support.database import fresh_database
from tests.support.dossiers import (
    HANBIT,
    SAEBOM,
    copy_dossier,
    set_bank_value,
    set_figure,
    swap_words,
    write_in_whole_units,
)
from tests.support.expected import identity, judge, reported
from tests.support.sources import evidence_file, quote_is_verbatim

# Seconds: two analyses, each a cold process with its own embedded worker, on a busy machine.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

Result: TypeAlias = dict[str, Any]
Analyze: TypeAlias = Callable[[Path], Awaitable[Result]]
# The report of a dossier that `Analyze` has analysed, as a document.
Pages: TypeAlias = Callable[[Path], Any]
BOTH = pytest.mark.parametrize("dossier", [HANBIT, SAEBOM], ids=lambda dossier: dossier.name)
HANBIT_AND_NAMESAKE = [
    ("한빛정밀", "한빛정밀화학"),
    ("Hanbit Precision", "Hanbit Precision Chemical"),
    ("서도윤", "남궁혁"),
    ("999-81-27464", "999-86-31584"),
    ("안산", "울산"),
]
SAEBOM_AND_NAMESAKE = [
    ("새봄식품", "새봄식품산업"),
    ("문지아", "길태호"),
    ("999-81-73255", "999-86-55117"),
    ("전주", "부산"),
]


@pytest.fixture(scope="session")
def plain_results() -> dict[Path, Result]:
    """Results of the unchanged dossiers, filled by the first test that asks."""
    return {}


@pytest.fixture(scope="session")
def plain_reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reports of the unchanged dossiers."""
    return tmp_path_factory.mktemp("reports")


@pytest.fixture
def analyze(
    admin_dsn: str, template: str, tmp_path: Path, plain_results: dict[Path, Result], plain_reports: Path
) -> Analyze:
    async def run(dossier: Path) -> Result:
        if dossier not in plain_results:
            is_plain = dossier in (HANBIT, SAEBOM)
            folder = plain_reports if is_plain else tmp_path
            async with fresh_database(admin_dsn, template) as dsn:
                result = await _run_cli(dossier, dsn, folder / f"{dossier.name}-out")
            if not is_plain:
                return result
            plain_results[dossier] = result
        return plain_results[dossier]

    return run


@pytest.fixture
def pages(plain_reports: Path) -> Pages:
    def read(dossier: Path) -> Any:
        return html.document_fromstring((plain_reports / f"{dossier.name}-out" / "report.html").read_bytes())

    return read


async def _run_cli(dossier: Path, dsn: str, out: Path) -> Result:
    file = out.with_suffix(".json")
    options = [str(dossier), "--json", str(file), "--out", str(out), "--dsn", dsn]
    done = await anyio.run_process([sys.executable, "-m", "rkyc", "analyze", *options], check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-4000:]
    assert {path.name for path in out.iterdir()} >= {"report.html", "report.md", "result.json"}
    result: Result = json.loads(file.read_text("utf-8"))
    assert result["status"] == "completed"
    return result


@BOTH
async def test_all_expected_signals_are_found_and_no_forbidden_one(dossier: Path, analyze: Analyze) -> None:
    verdict = judge(await analyze(dossier), dossier)
    assert verdict.missing == ()
    assert verdict.forbidden == ()
    assert len(verdict.others) <= verdict.others_max, verdict.others


@BOTH
async def test_every_quote_stands_in_its_source_at_its_offsets(dossier: Path, analyze: Analyze) -> None:
    signals = reported(await analyze(dossier))
    assert all(signal["evidence"] for signal in signals)
    places = [place for signal in signals for place in signal["evidence"]]
    assert [place for place in places if not quote_is_verbatim(place, dossier)] == []


@pytest.mark.parametrize("file", ["events/fire.jsonl", "events/wages.jsonl", "events/order.jsonl"])
async def test_odd_characters_before_a_quote_do_not_move_it(file: str, analyze: Analyze) -> None:
    places = [place for signal in reported(await analyze(HANBIT)) for place in signal["evidence"]]
    found = [place for place in places if evidence_file(place, HANBIT) == file]
    assert found
    assert all(quote_is_verbatim(place, HANBIT) for place in found)


async def test_copies_of_one_story_are_one_signal(analyze: Analyze) -> None:
    signals = reported(await analyze(HANBIT))
    stories = [s for s in signals if "events/lawsuit.jsonl" in identity(s, HANBIT)[3]]
    # The report in English may stand beside the Korean story; three Korean copies never do.
    assert 1 <= len(stories) <= 2


@BOTH
async def test_without_keys_all_steps_run_for_nothing_and_every_sentence_cites(
    dossier: Path, analyze: Analyze
) -> None:
    result = await analyze(dossier)
    assert result["usage"]["cost_usd"] == 0
    assert {step["step"] for step in result["steps"]} == {
        "snapshot",
        "doc_ingest",
        "external",
        "context",
        "signal",
        "validation",
        "index",
        "insight",
    }
    sentences = [s for section in result["insight"]["sections"] for s in section["sentences"]]
    assert sentences and all(sentence["citations"] for sentence in sentences)
    cited = [citation for sentence in sentences for citation in sentence["citations"]]
    assert {one for one in cited if isinstance(one, int)} == {signal["id"] for signal in reported(result)}
    assert {one.partition(":")[0] for one in cited if isinstance(one, str)} == {"snapshot", "doc", "url"}


@BOTH
async def test_each_step_names_the_provider_that_it_used(dossier: Path, analyze: Analyze) -> None:
    steps = {step["step"]: step.get("provider") for step in (await analyze(dossier))["steps"]}
    assert {name: provider for name, provider in steps.items() if provider} == {
        "external": "recorded",
        "signal": "rules",
        "index": "lexical-hash",
        "insight": "template",
    }


@BOTH
async def test_every_link_of_the_report_has_its_place(dossier: Path, analyze: Analyze, pages: Pages) -> None:
    await analyze(dossier)
    root = pages(dossier)
    targets = {str(href)[1:] for href in root.xpath("//a/@href") if str(href).startswith("#")}
    assert targets <= {str(one) for one in root.xpath("//@id")}
    assert root.xpath("//section[@id='insight']//a[contains(@class, 'cite')]")
    assert not root.xpath("//*[contains(@class, 'none') or @class='unconfirmed']")


@BOTH
async def test_every_evidence_of_the_report_opens_at_its_quote(
    dossier: Path, analyze: Analyze, pages: Pages
) -> None:
    signals, root = reported(await analyze(dossier)), pages(dossier)
    for number, signal in enumerate(signals, start=1):
        links = root.xpath(f"//article[@id='signal-{number}']//a[@class='quote-link']/@href")
        assert len(links) == len(signal["evidence"])
        for link, evidence in zip(links, signal["evidence"], strict=True):
            (place,) = root.xpath(f"//*[@id='{link[1:]}']")
            if evidence["ref_type"] == "SNAPSHOT_KEYPATH":
                assert evidence["quote"] in "".join(place.itertext()).replace(",", "")
            else:
                marks = root.xpath(f"//mark[@data-quote='{link[1:]}']")
                assert "".join("".join(mark.itertext()) for mark in marks) == evidence["quote"]
                assert evidence["ref"] in "".join(place.xpath("ancestor::article")[0].itertext())


async def test_scan_is_reported_as_unread(analyze: Analyze) -> None:
    documents = {Path(row["name"]).name: row for row in (await analyze(HANBIT))["documents"]}
    assert "ocr_unavailable" in json.dumps(documents["shareholders_scan.png"]["warnings"])
    assert documents["audit_report_fy2024.pdf"]["pages"] == 3


@pytest.mark.parametrize(
    ("dossier", "concept", "value", "gone", "come"),
    [
        (HANBIT, "유동자산", 54_150, "F-LIQ", None),  # 71.7 % -> 150.0 %
        (HANBIT, "매출액", 90_000, "F-REV", None),  # -24.7 % -> -1.6 %
        (HANBIT, "영업이익(손실)", 1_100, "F-OP", None),  # -637 % -> -4.3 %; cover 0.37 stays below 1.5
        (SAEBOM, "current_assets", 9_900_000, None, "F-LIQ"),  # 167.3 % -> 90.0 %
        (SAEBOM, "interest_expense", 2_600_000, None, "F-COVER"),  # 9.62 -> 1.28
    ],
)
async def test_ratio_moved_across_its_threshold_flips_exactly_one_signal(
    dossier: Path,
    concept: str,
    value: int,
    gone: str | None,
    come: str | None,
    analyze: Analyze,
    tmp_path: Path,
) -> None:
    changed = copy_dossier(dossier, tmp_path)
    set_figure(changed, 2024, concept, value)
    assert await _flipped(dossier, changed, analyze) == ([gone] * bool(gone), [come] * bool(come))


@pytest.mark.parametrize(
    ("dossier", "pointer", "value", "gone", "come"),
    [
        (HANBIT, "/kyc_status/last_updated", "2024-12-02", "D-KYC", None),
        (SAEBOM, "/kyc_status/last_updated", "2023-10-05", None, "D-KYC"),
        (SAEBOM, "/credit/loan_summary/overdue_days", 45, None, "D-OVERDUE"),
    ],
)
async def test_bank_value_moved_across_its_threshold_flips_exactly_one_signal(
    dossier: Path,
    pointer: str,
    value: Any,
    gone: str | None,
    come: str | None,
    analyze: Analyze,
    tmp_path: Path,
) -> None:
    changed = copy_dossier(dossier, tmp_path)
    set_bank_value(changed, pointer, value)
    assert await _flipped(dossier, changed, analyze) == ([gone] * bool(gone), [come] * bool(come))


@BOTH
async def test_other_units_of_the_same_figures_flip_nothing(
    dossier: Path, analyze: Analyze, tmp_path: Path
) -> None:
    changed = copy_dossier(dossier, tmp_path)
    write_in_whole_units(changed)
    assert await _flipped(dossier, changed, analyze) == ([], [])


async def test_names_swapped_with_the_namesake_move_the_event_signals(
    analyze: Analyze, tmp_path: Path
) -> None:
    changed = copy_dossier(HANBIT, tmp_path)
    swap_words(changed, HANBIT_AND_NAMESAKE)
    files = _risk_files(await analyze(changed), changed)
    assert "events/namesake.jsonl" in files
    assert not files & {
        "events/lawsuit.jsonl",
        "events/fire.jsonl",
        "events/wages.jsonl",
        "events/rumour.jsonl",
    }


async def test_healthy_company_gets_the_namesakes_news_once_names_are_swapped(
    analyze: Analyze, tmp_path: Path
) -> None:
    changed = copy_dossier(SAEBOM, tmp_path)
    swap_words(changed, SAEBOM_AND_NAMESAKE)
    result = await analyze(changed)
    assert _risk_files(result, changed) == {"events/namesake.jsonl"}
    assert not [s for s in reported(result) if "events/contract.jsonl" in identity(s, changed)[3]]


def _risk_files(result: Result, dossier: Path) -> set[str]:
    risks = [signal for signal in reported(result) if signal["direction"] == "RISK"]
    return {file for signal in risks for file in identity(signal, dossier)[3]}


async def _flipped(dossier: Path, changed: Path, analyze: Analyze) -> tuple[list[str], list[str]]:
    """Return the rules (or event types) of the signals that went and of those that came."""
    before = Counter(identity(signal, dossier) for signal in reported(await analyze(dossier)))
    after = Counter(identity(signal, changed) for signal in reported(await analyze(changed)))
    return sorted(key[0] for key in before - after), sorted(key[0] for key in after - before)
