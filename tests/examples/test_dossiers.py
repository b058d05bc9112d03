"""What the example dossiers are made of, checked without the analysis: their files, figures and traps."""

from __future__ import annotations

import io
import itertools
import json
import unicodedata
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from docx import Document
from openpyxl import load_workbook

from examples import paper_texts
from rkyc.providers.documents.parse import parse_document
from rkyc.steps.kyc.schemas import CorpIn
from tests.support.dossiers import HANBIT, SAEBOM
from tests.support.expected import read_expected
from tests.support.sources import read_events, read_statements

BOTH = pytest.mark.parametrize("dossier", [HANBIT, SAEBOM], ids=lambda dossier: dossier.name)
HEADER = "fiscal_year,period,concept,value,currency,unit,source"
BYTES_MAX = 200_000


def read_json(dossier: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((dossier / name).read_text("utf-8"))
    return content


def percent(part: Decimal, whole: Decimal) -> Decimal:
    return (100 * part / whole).quantize(Decimal("0.1"))


def change(before: Decimal, now: Decimal) -> Decimal:
    return percent(now - before, abs(before))


def why(dossier: Path, rule_id: str) -> str:
    entries = (*read_expected(dossier)["expected"], *read_expected(dossier)["must_not"])
    return next(str(entry["why"]) for entry in entries if entry.get("rule_id") == rule_id)


@BOTH
def test_corp_json_is_a_valid_input_with_an_as_of_date(dossier: Path) -> None:
    for folder in (dossier, dossier / "previous"):
        corp = CorpIn(**read_json(folder, "corp.json"))
        assert corp.as_of is not None
        assert corp.listed_code is None
    assert read_json(dossier, "corp.json")["biz_no"] == read_json(dossier / "previous", "corp.json")["biz_no"]


@BOTH
def test_registration_numbers_have_valid_check_digits(dossier: Path) -> None:
    corp = read_json(dossier, "corp.json")
    *digits, check = map(int, corp["biz_no"].replace("-", ""))
    weighted = (
        sum(d * w for d, w in zip(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=True)) + digits[8] * 5 // 10
    )
    assert check == -weighted % 10
    *digits, check = map(int, corp["corp_reg_no"].replace("-", ""))
    assert check == -sum(digit * (1 + number % 2) for number, digit in enumerate(digits)) % 10


@BOTH
@pytest.mark.parametrize("folder", ["", "previous"])
def test_balance_sheets_balance_and_losses_pass_through_to_earnings(dossier: Path, folder: str) -> None:
    figures = read_statements(dossier / folder)
    assert (dossier / folder / "statements.csv").read_text("utf-8").splitlines()[0] == HEADER
    years = sorted({year for year, _ in figures})
    assert len(years) == 3
    for year in years:
        assert figures[year, "assets"] == figures[year, "liabilities"] + figures[year, "equity"]
        assert figures[year, "current_assets"] <= figures[year, "assets"]
    for before, year in itertools.pairwise(years):
        kept = figures[year, "retained_earnings"] - figures[before, "retained_earnings"]
        assert kept <= figures[year, "net_income"]


@BOTH
def test_earlier_years_were_not_restated(dossier: Path) -> None:
    now, before = read_statements(dossier), read_statements(dossier / "previous")
    assert all(now[key] == before[key] for key in now.keys() & before.keys())
    assert {year for year, _ in before} == {2021, 2022, 2023}


def test_figures_of_the_troubled_company_give_the_ratios_stated() -> None:
    figures = read_statements(HANBIT)
    now = {concept: value for (year, concept), value in figures.items() if year == 2024}
    before = {concept: value for (year, concept), value in figures.items() if year == 2023}
    debt = percent(now["liabilities"], now["equity"])
    assert debt > 350 and f"{debt} %" in why(HANBIT, "F-DEBT")
    liquidity = percent(now["current_assets"], now["current_liabilities"])
    assert liquidity < 80 and f"{liquidity} %" in why(HANBIT, "F-LIQ")
    cover = (now["operating_income"] / now["interest_expense"]).quantize(Decimal("0.01"))
    assert cover < 1 and f"{cover} " in why(HANBIT, "F-COVER")
    revenue = change(before["revenue"], now["revenue"])
    assert revenue < -22 and f"{revenue} %" in why(HANBIT, "F-REV")
    operating = change(before["operating_income"], now["operating_income"])
    assert operating < -40 and f"{operating} %" in why(HANBIT, "F-OP")
    assert now["net_income"] < 0 < figures[2022, "net_income"]
    assert now["equity"] > 2 * now["paid_in_capital"]


def test_bank_data_of_the_troubled_company_give_the_ratios_stated() -> None:
    now, before = read_json(HANBIT, "bank.json"), read_json(HANBIT / "previous", "bank.json")
    exposure = Decimal(now["credit"]["loan_summary"]["total_exposure_krw"])
    grown = change(Decimal(before["credit"]["loan_summary"]["total_exposure_krw"]), exposure)
    assert grown > 35 and f"+{grown} %" in why(HANBIT, "D-EXPOSURE")
    assert (
        now["credit"]["loan_summary"]["overdue_flag"] and not before["credit"]["loan_summary"]["overdue_flag"]
    )
    value = Decimal(now["collateral"]["total_value_krw"])
    ltv = percent(Decimal(now["collateral"]["secured_exposure_krw"]), value)
    fall = change(Decimal(before["collateral"]["total_value_krw"]), value)
    assert ltv > 85 and f"{ltv} %" in why(HANBIT, "D-COLLATERAL")
    assert fall < -15 and f"{fall} %" in why(HANBIT, "D-COLLATERAL")
    age = date.fromisoformat(read_json(HANBIT, "corp.json")["as_of"]) - date.fromisoformat(
        now["kyc_status"]["last_updated"]
    )
    assert age.days > 400 and f"{age.days} days" in why(HANBIT, "D-KYC")
    balances = [Decimal(row["average_balance_krw"]) for row in now["deposit"]]
    share = percent(balances[-1], sum(balances, Decimal(0)) / len(balances))
    assert share < 60 and f"{share} %" in why(HANBIT, "D-DEPOSIT")
    unsecured = percent(
        sum((Decimal(x["balance_krw"]) for x in now["loan"] if not x["secured"]), Decimal(0)), exposure
    )
    assert unsecured < 40 and f"{unsecured} %" in why(HANBIT, "D-UNSECURED")
    foreign = percent(
        sum((Decimal(x["balance_krw"]) for x in now["loan"] if x["currency"] != "KRW"), Decimal(0)), exposure
    )
    assert foreign < 20 and f"{foreign} %" in why(HANBIT, "D-FX")


def test_figures_of_the_healthy_company_stay_clear_of_every_threshold() -> None:
    figures = read_statements(SAEBOM)
    now = {concept: value for (year, concept), value in figures.items() if year == 2024}
    before = {concept: value for (year, concept), value in figures.items() if year == 2023}
    calm = next(entry["why"] for entry in read_expected(SAEBOM)["must_not"] if "rule_id" not in entry)
    debt, liquidity = (
        percent(now["liabilities"], now["equity"]),
        percent(now["current_assets"], now["current_liabilities"]),
    )
    assert debt < 150 and f"debt ratio {debt} %" in calm
    assert liquidity > 150 and f"current ratio {liquidity} %" in calm
    cover = (now["operating_income"] / now["interest_expense"]).quantize(Decimal("0.01"))
    assert cover > 5 and f"interest cover {cover}" in calm
    revenue, operating = (change(before[name], now[name]) for name in ("revenue", "operating_income"))
    assert 12 < revenue < 18 and f"+{revenue} %" in why(SAEBOM, "O-REV")
    assert operating < 25 and f"+{operating} %" in why(SAEBOM, "O-OP")


@BOTH
@pytest.mark.parametrize("folder", ["", "previous"])
def test_bank_totals_are_the_sums_of_their_parts(dossier: Path, folder: str) -> None:
    bank = read_json(dossier / folder, "bank.json")
    loans, items = bank["loan"], bank["collateral"]["items"]
    assert sum(x["balance_krw"] for x in loans) == bank["credit"]["loan_summary"]["total_exposure_krw"]
    assert sum(x["value_krw"] for x in items) == bank["collateral"]["total_value_krw"]
    secured = sum(x["balance_krw"] for x in loans if x["secured"])
    assert secured == bank["collateral"]["secured_exposure_krw"] == sum(x["secured_krw"] for x in items)
    assert all(len(bank[name]) == 6 for name in ("deposit", "card", "trade"))


@BOTH
def test_expectations_point_at_files_that_are_there(dossier: Path) -> None:
    expected = read_expected(dossier)
    for entry in (*expected["expected"], *expected["must_not"]):
        if file := entry.get("evidence_file"):
            assert (dossier / file).is_file(), file


@BOTH
def test_every_event_is_dated_before_as_of_and_lies_on_a_reserved_domain(dossier: Path) -> None:
    as_of = date.fromisoformat(read_json(dossier, "corp.json")["as_of"])
    events = [row for rows in read_events(dossier).values() for row in rows]
    assert len({row["url"] for row in events}) == len(events)
    for row in events:
        assert 0 <= (as_of - date.fromisoformat(row["published_at"][:10])).days <= 90
        assert row["url"].split("/")[2].endswith(".example")


def test_news_of_the_troubled_company_hold_copies_namesakes_and_odd_characters() -> None:
    events = read_events(HANBIT)
    text = {file: rows[0]["text"] for file, rows in events.items()}
    assert sum(map(len, events.values())) >= 12
    copies = [
        row for row in events["events/lawsuit.jsonl"] if row["source_type"] == "NEWS" and row["lang"] == "ko"
    ]
    assert len(copies) == 3 and len({row["source"] for row in copies}) == 3
    assert {row["source_type"] for rows in events.values() for row in rows} == {
        "NEWS",
        "DISCLOSURE",
        "POLICY",
    }
    assert text["events/fire.jsonl"].index("🔥") < text["events/fire.jsonl"].index("화재가 발생")
    assert not unicodedata.is_normalized("NFC", text["events/wages.jsonl"])
    assert "\r\n" in text["events/order.jsonl"]


@pytest.mark.parametrize(
    ("dossier", "file"),
    [
        (HANBIT, "events/namesake.jsonl"),
        (HANBIT, "events/same_name.jsonl"),
        (SAEBOM, "events/namesake.jsonl"),
    ],
)
def test_namesakes_carry_another_number_and_another_chief(dossier: Path, file: str) -> None:
    corp, rows = read_json(dossier, "corp.json"), read_events(dossier)[file]
    assert "999-8" in rows[0]["text"]
    for row in rows:
        assert corp["biz_no"] not in row["text"]
        assert corp["ceo_name"] not in row["text"]


@BOTH
def test_pdf_text_is_the_committed_text_and_shows_on_the_page(dossier: Path) -> None:
    pages = paper_texts.HANBIT_AUDIT_REPORT if dossier == HANBIT else paper_texts.SAEBOM_AUDIT_REPORT
    path = dossier / "documents" / "audit_report_fy2024.pdf"
    parsed = parse_document(path.name, path.read_bytes())
    assert [_squeezed(page.text) for page in parsed.pages] == [_squeezed(page) for page in pages]
    with pypdfium2.PdfDocument(path) as pdf:
        for page in pdf:
            pixels = page.render(scale=0.5, grayscale=True).to_numpy()
            assert pixels.min() < 100 and pixels.max() > 200


@BOTH
def test_docx_holds_the_committed_fields_and_agrees_with_corp_json(dossier: Path) -> None:
    heading, fields = paper_texts.HANBIT_REGISTRY if dossier == HANBIT else paper_texts.SAEBOM_REGISTRY
    document = Document(str(dossier / "documents" / "registry.docx"))
    assert document.paragraphs[0].text == heading
    rows = tuple((row.cells[0].text, row.cells[1].text) for row in document.tables[0].rows)
    assert rows == fields
    corp, held = read_json(dossier, "corp.json"), dict(rows)
    assert held["등록번호"] == corp["corp_reg_no"] and held["사업자등록번호"] == corp["biz_no"]
    assert held["상호"] == corp["name"] and held["대표이사"].startswith(corp["ceo_name"])
    capital = int(held["자본금"].removesuffix("원").replace(",", ""))
    assert capital == read_statements(dossier)[2024, "paid_in_capital"]


def test_xlsx_adds_up_to_the_receivables_of_the_balance_sheet() -> None:
    data = (HANBIT / "documents" / "receivables_aging.xlsx").read_bytes()
    rows = list(load_workbook(io.BytesIO(data)).worksheets[0].iter_rows(values_only=True))
    assert rows[1][:-1] == paper_texts.HANBIT_RECEIVABLES_AGING[0]
    assert [row[:-1] for row in rows[2:-1]] == list(paper_texts.HANBIT_RECEIVABLES_AGING[1:])
    assert Decimal(str(rows[-1][-1])) * 1_000_000 == read_statements(HANBIT)[2024, "receivables"]


def test_scan_has_no_text_layer() -> None:
    path = HANBIT / "documents" / "shareholders_scan.png"
    parsed = parse_document(path.name, path.read_bytes())
    assert [page.has_text_layer for page in parsed.pages] == [False]
    assert "ocr_unavailable" in {warning.code for warning in parsed.warnings}


def test_scan_shows_the_shareholders_of_corp_json() -> None:
    _, _, rows, _ = paper_texts.HANBIT_SHAREHOLDERS
    shown = {name: share for name, _, share in rows}
    for holder in read_json(HANBIT, "corp.json")["shareholders"]:
        assert shown[holder["name"]] == f"{holder['share_pct']}%"


@BOTH
def test_files_are_small(dossier: Path) -> None:
    assert all(path.stat().st_size < BYTES_MAX for path in dossier.rglob("*") if path.is_file())


def _squeezed(text: str) -> str:
    """The text without white space and table bars: lay-out is not what is compared."""
    return "".join(text.replace("|", "").split())
