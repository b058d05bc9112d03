"""No text of an analysis tells a number that the input does not hold and that does not follow from it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.dossiers import HANBIT, SAEBOM
from tests.support.hosts import open_hosts
from tests.support.numbers_in_texts import find_unaccounted
from tests.support.papers import make_xbrl
from tests.support.sources import read_numbers, read_value

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

# A maker of ceramic grit whose sales came back and whose losses did not end: thousands of dollars.
FIGURES: dict[str, dict[int, int]] = {
    "Revenues": {2022: 254_310, 2023: 118_420, 2024: 197_630},
    "OperatingIncomeLoss": {2022: -141_250, 2023: -98_770, 2024: -214_930},
    "InterestExpense": {2022: 1_310, 2023: 5_240, 2024: 8_160},
    "NetIncomeLoss": {2022: -96_480, 2023: -73_150, 2024: -228_640},
    "Assets": {2023: 801_900, 2024: 561_300},
    "AssetsCurrent": {2023: 231_700, 2024: 187_400},
    "LiabilitiesCurrent": {2023: 52_900, 2024: 40_700},
    "StockholdersEquity": {2023: 610_200, 2024: 421_600},
    "LiabilitiesAndStockholdersEquity": {2023: 801_900, 2024: 561_300},
    "CashAndCashEquivalentsAtCarryingValue": {2023: 91_700, 2024: 70_100},
}
AT_AN_INSTANT = {"Assets", "AssetsCurrent", "LiabilitiesCurrent", "StockholdersEquity", "LiabilitiesAndStockholdersEquity", "CashAndCashEquivalentsAtCarryingValue"}  # fmt: skip
CONCEPTS = {
    "revenue": "Revenues",
    "operating_income": "OperatingIncomeLoss",
    "interest_expense": "InterestExpense",
    "net_income": "NetIncomeLoss",
    "assets": "Assets",
    "current_assets": "AssetsCurrent",
    "current_liabilities": "LiabilitiesCurrent",
    "equity": "StockholdersEquity",
    "cash": "CashAndCashEquivalentsAtCarryingValue",
}


@pytest.fixture
def filing(tmp_path: Path) -> Path:
    """A dossier of a listed company: its name and one XBRL instance."""
    folder = tmp_path / "larkfield"
    folder.mkdir()
    corp = {"name": "Larkfield Grit Inc.", "country": "US", "listed_code": "LKFG", "currency": "USD"}
    (folder / "corp.json").write_text(json.dumps(corp))
    facts = [
        (element, f"{year}-12-31" if element in AT_AN_INSTANT else f"{year}-01-01/{year}-12-31", value * 1000)
        for element, values in FIGURES.items()
        for year, value in values.items()
    ]
    dei = {
        "DocumentFiscalYearFocus": "2024",
        "DocumentFiscalPeriodFocus": "FY",
        "DocumentPeriodEndDate": "2024-12-31",
    }
    (folder / "larkfield.xbrl.xml").write_bytes(make_xbrl(facts, dei=dei))
    return folder


async def analyze(dossier: Path, dsn: str, folder: Path, *options: str) -> dict[str, Any]:
    async with open_hosts(folder, {"RKYC_DSN": dsn}) as hosts:
        done = await hosts[0].run("analyze", dossier, "--json", "-", "--out", folder / "out", *options)
    assert done.code == 0, done
    result: dict[str, Any] = json.loads(done.out)
    return result


@pytest.mark.parametrize("lang", ["ko", "en"])
async def test_filing_with_losses_fires_its_rules_and_tells_its_numbers_alone(
    lang: str, filing: Path, dsn: str, tmp_path: Path
) -> None:
    result = await analyze(filing, dsn, tmp_path, "--lang", lang)
    rules = {signal["rule_id"] for signal in (*result["signals"], *result["below_cut"])}
    assert {"F-LOSS", "F-COVER", "F-OP"} <= rules
    assert not rules & {"F-DEBT", "F-LIQ"}  # 33.1 % and 460.4 %
    given = [Decimal(value * 1000) for values in FIGURES.values() for value in values.values()]
    years = [Decimal(year) for year in range(2022, 2025)]
    assert find_unaccounted(result, given=[*given, *years], look_up=look_up_filing) == []
    assert (result["partial"], result["warnings"]) == (False, [])


@pytest.mark.parametrize("dossier", [HANBIT, SAEBOM], ids=lambda dossier: dossier.name)
async def test_examples_tell_numbers_of_their_files_alone(dossier: Path, dsn: str, tmp_path: Path) -> None:
    result = await analyze(dossier, dsn, tmp_path)
    given = list(read_numbers(dossier))
    assert find_unaccounted(result, given=given, look_up=look_up_in(dossier)) == []
    # The check itself: a number that is nowhere, and one whose computation is wrong, are found.
    changed = copy.deepcopy(result)
    changed["signals"][0]["summary"] += " 1,234,567,891"
    changed["insight"]["headline"] += " 987.6%"
    found = find_unaccounted(changed, given=given, look_up=look_up_in(dossier))
    assert [each.number for each in found] == ["1,234,567,891", "987.6"]


def look_up_filing(pointer: str) -> Decimal | date | None:
    _, part, period, concept = pointer.split("/")
    assert part == "statements"
    if concept == "liabilities":
        year = int(period.removeprefix("FY"))
        return Decimal((FIGURES["Assets"][year] - FIGURES["StockholdersEquity"][year]) * 1000)
    return Decimal(FIGURES[CONCEPTS[concept]][int(period.removeprefix("FY"))] * 1000)


def look_up_in(dossier: Path) -> Callable[[str], Decimal | date | None]:
    def look_up(pointer: str) -> Decimal | date | None:
        value = read_value("/corp/as_of" if pointer == "as_of" else pointer, dossier)
        if isinstance(value, str):
            return date.fromisoformat(value)
        return value if isinstance(value, Decimal) else None

    return look_up
